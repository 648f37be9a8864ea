"""GoPro (Nah et al. 2017): frames of a film, and the mean of some frames around each."""

from __future__ import annotations

from pathlib import Path

from ucdir.data.pair import Pair
from ucdir.errors import DataError
from ucdir.images import find_images


def gopro_pairs(place: Path, blur: str = "blur") -> list[Pair]:
    """Pairs of the data set's folder, of `train` or `test` in it, or of one scene: …/GOPRxxxx_xx_xx/{blur,sharp}/*.png.

    Args:
        place: the folder.
        blur: `blur`, whose frames were averaged as they are and which most papers measure on, or `blur_gamma`, whose
            frames were averaged in estimated light (gamma 2.2).

    Raises:
        DataError: there is no such pair.
    """
    pairs = []
    for folder in sorted({place, *place.glob("GOPR*"), *place.glob("*/GOPR*")}):
        blurred, sharp = folder / blur, folder / "sharp"
        if not (blurred.is_dir() and sharp.is_dir()):
            continue
        clean = {file.stem: file for file in find_images(sharp, raw=True)}
        for file in find_images(blurred, raw=True):
            if file.stem in clean:
                name = file.relative_to(place).with_suffix("").as_posix()
                pairs.append(Pair(file, clean[file.stem], name=name))
    if not pairs:
        raise DataError(f"{place}: no GOPR…/{blur} and GOPR…/sharp are here, as in the GoPro data set.")
    return pairs
