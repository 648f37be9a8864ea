"""PolyU (Xu et al. 2018): a noisy photo of a still scene, and the mean of hundreds of them."""

from __future__ import annotations

import re
from pathlib import Path

from ucdir.data.pair import Pair
from ucdir.errors import DataError
from ucdir.images import find_images

NAME = re.compile(r"(?P<scene>.+)_(?P<kind>real|mean)", re.IGNORECASE)
"""Names of its files: Sony_4_200_3200_door_10_real.JPG is by a Sony, at f/4, 1/200 s and ISO 3200."""


def polyu_pairs(place: Path) -> list[Pair]:
    """Pairs of the data set's folder `CroppedImages`: …_real.JPG, noisy, with …_mean.JPG beside it.

    Raises:
        DataError: there is no such pair.
    """
    found: dict[str, dict[Path, Path]] = {"real": {}, "mean": {}}
    for file in find_images(place):
        if name := NAME.fullmatch(file.stem):
            found[name["kind"].lower()][file.parent / name["scene"]] = file
    noisy, clean = found["real"], found["mean"]
    pairs = [
        Pair(noisy[scene], clean[scene], name=scene.relative_to(place).as_posix())
        for scene in sorted(noisy.keys() & clean.keys())
    ]
    if not pairs:
        raise DataError(f"{place}: no …_real.JPG with …_mean.JPG are here, as in the PolyU data set.")
    return pairs
