"""Real pairs: degraded photos and the clean image of each, however their data set is laid out."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ucdir.data.gopro import gopro_pairs
from ucdir.data.pair import Pair
from ucdir.data.photos import PhotoStore, decode_groups, split_off
from ucdir.data.polyu import polyu_pairs
from ucdir.data.sid import sid_pairs
from ucdir.errors import DataError
from ucdir.images import find_images
from ucdir.limits import MAX_PAIR_LIST_BYTES
from ucdir.tasks.scalars import SCALARS

logger = logging.getLogger(__name__)

DEGRADED_NAMES = ("blur", "blurred", "degraded", "input", "noisy", "low", "lq", "short", "jpeg")
CLEAN_NAMES = ("sharp", "clean", "truth", "gt", "target", "hq", "high", "long")
"""What the two folders of pairs are called, in lower case."""


def pair_folders(degraded: Path, clean: Path) -> list[Pair]:
    """Pairs of files of the same relative name in two folders; the suffix may differ.

    Raises:
        DataError: a folder is missing, both are one, or nothing in one has its like in the other.
    """
    if os.path.realpath(degraded) == os.path.realpath(clean):
        raise DataError(
            f"{degraded} and {clean} are one folder, so there is nothing to restore; name that of the clean images."
        )
    left, right = (_by_name(folder) for folder in (degraded, clean))
    pairs = [Pair(left[name], right[name], name=name) for name in sorted(left.keys() & right.keys())]
    if not pairs:
        raise DataError(
            f"{degraded} and {clean}: no file in one has a file of the same name in the other "
            f"({len(left)} and {len(right)} images)."
        )
    alone = [left[name] for name in sorted(left.keys() - right.keys())]
    alone += [right[name] for name in sorted(right.keys() - left.keys())]
    warn_of_unpaired(alone)
    return pairs


def folder_pairs(place: Path) -> list[Pair]:
    """A folder with one folder of degraded and one of clean photographs in it; see `DEGRADED_NAMES`, `CLEAN_NAMES`."""
    found = {child.name.lower(): child for child in place.iterdir() if child.is_dir()}
    degraded = [found[name] for name in DEGRADED_NAMES if name in found]
    clean = [found[name] for name in CLEAN_NAMES if name in found]
    if len(degraded) != 1 or len(clean) != 1:
        raise DataError(
            f"{place}: expected one folder of degraded photographs ({', '.join(DEGRADED_NAMES)}) and one of clean ones "
            f"({', '.join(CLEAN_NAMES)}), found {', '.join(sorted(found)) or 'none'}."
        )
    return pair_folders(degraded[0], clean[0])


def listed_pairs(place: Path) -> list[Pair]:
    """A text file: on each line a degraded and a clean file, and perhaps scalars of `tasks.scalars` as `name=value`.

    Tabs or commas separate, else spaces; paths are relative to the list's folder; `#` begins a comment.
    """
    try:
        size = place.stat().st_size
        if size > MAX_PAIR_LIST_BYTES:
            raise DataError(
                f"{place}: {size} bytes are too many for a list of pairs; at most {MAX_PAIR_LIST_BYTES} are read."
            )
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{place}: cannot be read as a list of pairs ({error}).") from None
    pairs = []
    for number, line in enumerate(lines, start=1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        separator = "\t" if "\t" in text else "," if "," in text else None
        degraded, *rest = (part.strip() for part in text.split(separator))
        if not rest:
            raise DataError(
                f"{place}, line {number}: expected a degraded and a clean file, found {text[:80]!r}."
            )
        scalars = dict(_scalar(place, number, part) for part in rest[1:] if part)
        pairs.append(Pair(place.parent / degraded, place.parent / rest[0], scalars, degraded))
    if not pairs:
        raise DataError(f"{place}: contains no pair; write a degraded and a clean file on each line.")
    return pairs


LAYOUTS: dict[str, Callable[[Path], list[Pair]]] = {
    "folders": folder_pairs,
    "list": listed_pairs,
    "gopro": gopro_pairs,
    "sid": sid_pairs,
    "polyu": polyu_pairs,
}
"""How a data set of pairs may be laid out."""


def find_pairs(place: Path, layout: str = "auto") -> list[Pair]:
    """The pairs of a data set.

    Args:
        place: its folder, or a text file that lists them.
        layout: a name in `LAYOUTS`, or auto: the first that fits.

    Raises:
        DataError: nothing is there, or it is not laid out so.
    """
    if not place.exists():
        raise DataError(f"{place}: there is no such folder or file; name pairs of photographs.")
    if layout != "auto":
        if layout not in LAYOUTS:
            raise DataError(
                f"layout {layout!r} of pairs is unknown; choose auto or one of {', '.join(LAYOUTS)}."
            )
        if (layout == "list") == place.is_dir():
            raise DataError(f"{place}: layout {layout} is of a {'file' if layout == 'list' else 'folder'}.")
        return LAYOUTS[layout](place)
    if not place.is_dir():
        return listed_pairs(place)
    reasons = []
    for name in ("folders", "gopro", "sid", "polyu"):
        try:
            return LAYOUTS[name](place)
        except DataError as error:
            reasons.append(f"as {name}: {str(error).removeprefix(f'{place}: ')}")
    raise DataError(f"{place}: no pairs are found here ({' '.join(reasons)})")


def warn_of_unpaired(files: Sequence[Path]) -> None:
    """Name the first few files that have no partner."""
    if files:
        named = ", ".join(file.name for file in files[:3])
        logger.warning(
            "left out: %d files without a partner (%s%s)", len(files), named, ", …" if len(files) > 3 else ""
        )


# ------------------------------------------------------------------------------------------------- decoded pairs


@dataclass(frozen=True)
class PairStore:
    """Decoded pairs: `store[i]` is (degraded, clean), uint8 [H,W,3] each and of one size, mapped from disk."""

    photos: PhotoStore
    """Degraded and clean by turns."""
    names: tuple[str, ...]
    scalars: tuple[Mapping[str, float], ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return self.photos[2 * index], self.photos[2 * index + 1]

    def held_out_split(self, hold_out: int | Sequence[str]) -> tuple[list[int], list[int]]:
        """Indices to train on and indices set aside, as `PhotoStore.held_out_split`."""
        return split_off(self.names, hold_out, "pairs")


def open_pairs(pairs: Sequence[Pair], cache: Path, smallest_side: int) -> PairStore:
    """Open pairs, decoding them into `cache` the first time.

    Pairs of which one is unreadable or too small, or whose sizes differ, are left out with a warning.

    Raises:
        DataError: no pair can be used.
        OutputError: the cache cannot be written.
    """
    groups = [(pair.degraded, pair.clean) for pair in pairs]
    ratios = [pair.scalars.get("exposure_ratio") for pair in pairs]
    found = decode_groups(groups, cache, smallest_side, ratios)
    if found is None:
        raise DataError(f"none of the {len(pairs)} pairs can be used; the warnings above say why.")
    store, kept = found
    return PairStore(store, tuple(pairs[i].name for i in kept), tuple(dict(pairs[i].scalars) for i in kept))


def _by_name(folder: Path) -> dict[str, Path]:
    """The images below a folder by their names without suffix; refused where two have one name."""
    found: dict[str, Path] = {}
    for file in find_images(folder, raw=True):
        other = found.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
        if other is not file:
            raise DataError(
                f"{other} and {file.name} have one name, so pairs are not clear: take one of them away."
            )
    return found


def _scalar(place: Path, number: int, text: str) -> tuple[str, float]:
    found = re.fullmatch(r"(\w+)=([-+.0-9eE]+)", text)
    try:
        if found is None:
            raise ValueError
        name, value = found[1], float(found[2])
    except ValueError:
        raise DataError(
            f"{place}, line {number}: expected a scalar as name=value, found {text[:80]!r}."
        ) from None
    if name not in SCALARS:
        raise DataError(
            f"{place}, line {number}: scalar {name[:80]!r} is unknown; choose one of {', '.join(SCALARS)}."
        )
    low, high = SCALARS[name].range
    if not low <= value <= high:
        raise DataError(
            f"{place}, line {number}: {name} {value:g} is out of range; it goes from {low:g} to {high:g}."
        )
    return name, value
