"""Runs of consecutive sharp frames of films, whose mean is what a longer exposure would have seen."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ucdir.data.photos import PhotoStore, decode_groups, find_photos, of_held_out
from ucdir.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrameStore:
    """Decoded frames: `store[i]` are those of run i in their order, uint8 [H,W,3] each and of one size."""

    photos: PhotoStore
    runs: tuple[range, ...]

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, index: int) -> list[NDArray[np.uint8]]:
        return [self.photos[i] for i in self.runs[index]]

    def without(self, folder: Path, patterns: Sequence[str]) -> FrameStore:
        """Without the runs of which a frame, by its name below a folder, is of a scene that is held out.

        Raises:
            DataError: none is left.
        """
        names = [Path(name).relative_to(folder).as_posix() for name in self.photos.names]
        runs = [run for run in self.runs if not any(of_held_out(names[i], patterns) for i in run)]
        if not runs:
            raise DataError(f"data.hold_out_names sets all {len(self)} runs of frames in {folder} aside.")
        return replace(self, runs=tuple(runs))


def open_frames(folder: Path, cache: Path, smallest_side: int, fewest: int) -> FrameStore:
    """Open the frames below a folder, decoding them into `cache` the first time.

    Frames whose names end in consecutive numbers (`a_0007.png`, `a_0008.png`) are a run.

    Args:
        folder: with a folder for each film, or all frames in one.
        cache: folder of the decoded pixels.
        smallest_side: in pixels.
        fewest: frames of a run; shorter ones are left out.

    Raises:
        DataError: there is no such run.
        OutputError: the cache cannot be written.
    """
    files = sorted(find_photos(folder), key=_by_numbers)
    found = decode_groups([(file,) for file in files], cache, smallest_side)
    runs = [] if found is None else runs_of(found[0].names, found[0].shapes)
    long = tuple(run for run in runs if len(run) >= fewest)
    if found is None or not long:
        raise DataError(
            f"{folder}: no {fewest} frames of one film follow each other here; their names end in consecutive numbers, "
            f"as in frame_0007.png, frame_0008.png."
        )
    if (short := len(runs) - len(long)) > 0:
        logger.warning("left out: %d runs of fewer than %d frames in %s", short, fewest, folder)
    return FrameStore(found[0], long)


def _by_numbers(file: Path) -> list[list[str | int]]:
    """A key that sorts a_9.png before a_10.png; numbers of one width sort as text does."""
    return [[int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", part)] for part in file.parts]


def runs_of(names: Sequence[str], shapes: Sequence[tuple[int, int]]) -> list[range]:
    """The places of consecutive frames of one size in a list that is in the order of their numbers."""
    runs: list[range] = []
    before: tuple[str, int, tuple[int, int]] | None = None
    for place, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        parts = re.fullmatch(r"(.*?)(\d+)(\.\w+)?", name, flags=re.DOTALL)
        this = None if parts is None else (parts[1], int(parts[2]), shape)
        if this is not None and before is not None and this == (before[0], before[1] + 1, before[2]):
            runs[-1] = range(runs[-1].start, place + 1)
        else:
            runs.append(range(place, place + 1))
        before = this
    return runs
