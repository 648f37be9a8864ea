"""SID, See-in-the-Dark (Chen et al. 2018): short exposures of a scene and a long one, RAW or developed."""

from __future__ import annotations

import re
from pathlib import Path

from ucdir.data.pair import Pair
from ucdir.errors import DataError
from ucdir.images import find_images
from ucdir.limits import MAX_PAIR_LIST_BYTES

NAME = re.compile(r"(?P<scene>\d{5})_(?P<shot>\d{2})_(?P<seconds>\d+(\.\d+)?)s")
"""Names of its files: 00001_00_0.04s.ARW is shot 00 of scene 00001, exposed for 0.04 s."""

MAX_RATIO = 300.0
"""Exposure ratios above it are taken as it, as the data set's authors do."""


def exposure_ratio(short: str, long: str) -> float:
    """How many times longer the long exposure is, by the names of the files: 100, 250 or 300.

    Raises:
        DataError: a name contains no exposure time.
    """
    seconds = []
    for name in (short, long):
        found = NAME.match(Path(name).name)
        if found is None or float(found["seconds"]) == 0:
            raise DataError(f"{name}: is not named like a file of SID (00001_00_0.04s.ARW).")
        seconds.append(float(found["seconds"]))
    return min(seconds[1] / seconds[0], MAX_RATIO)


def sid_pairs(place: Path, split: str | None = None) -> list[Pair]:
    """Pairs of `Sony` (or `Fuji`) or of the folder above it: …/short/*.ARW, each with the scene's file in …/long.

    Args:
        place: the folder.
        split: train, val or test, by the data set's own list `Sony_<split>_list.txt`; by default all pairs.

    Raises:
        DataError: there is no such pair, or no such list.
    """
    pairs = []
    for folder in sorted({place, *(child for child in place.iterdir() if child.is_dir())}):
        if not ((folder / "short").is_dir() and (folder / "long").is_dir()):
            continue
        clean: dict[str, Path] = {}
        for file in find_images(folder / "long", raw=True):
            found = NAME.match(file.name)
            if found is not None:
                clean.setdefault(found["scene"], file)
        for file in find_images(folder / "short", raw=True):
            found = NAME.match(file.name)
            if found is not None and found["scene"] in clean:
                long = clean[found["scene"]]
                ratio = exposure_ratio(file.name, long.name)
                pairs.append(Pair(file, long, {"exposure_ratio": ratio}, file.stem))
    if split is not None:
        wanted = {Path(short).stem for short, _, _ in listed(_list_file(place, split))}
        pairs = [pair for pair in pairs if pair.name in wanted]
    if not pairs:
        raise DataError(
            f"{place}: no short/ and long/ with files like 00001_00_0.04s.ARW are here, as in SID."
        )
    return pairs


def listed(file: Path) -> list[tuple[str, str, float]]:
    """A list file of SID: (short, long, exposure ratio) of each line, whose further columns are left alone.

    Raises:
        DataError: it cannot be read, naming the line.
    """
    try:
        if file.stat().st_size > MAX_PAIR_LIST_BYTES:
            raise DataError(
                f"{file}: more than {MAX_PAIR_LIST_BYTES} bytes are too many for a list of pairs."
            )
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as a list of SID ({error}).") from None
    entries = []
    for number, line in enumerate(lines, start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) < 2:
            raise DataError(
                f"{file}, line {number}: expected a short and a long exposure, found {line[:80]!r}."
            )
        try:
            entries.append((parts[0], parts[1], exposure_ratio(parts[0], parts[1])))
        except DataError as error:
            raise DataError(f"{file}, line {number}: {error}") from None
    return entries


def _list_file(place: Path, split: str) -> Path:
    found = sorted([*place.glob(f"*_{split}_list.txt"), *place.parent.glob(f"*_{split}_list.txt")])
    if not found:
        raise DataError(
            f"{place}: no list Sony_{split}_list.txt is here; leave out the split or copy the list."
        )
    return found[0]
