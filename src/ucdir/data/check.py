"""A look through training data before hours of training are spent on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ucdir.data.pair import Pair
from ucdir.data.pairs import CLEAN_NAMES, DEGRADED_NAMES, find_pairs, pair_folders
from ucdir.data.photos import rgb8
from ucdir.data.polyu import polyu_pairs
from ucdir.errors import DataError, ImageError
from ucdir.images import find_images

UNRELATED_DB = 8.0
"""Below this PSNR two images hardly show the same scene: black against white is 0 dB, two noises are 7.7 dB."""


@dataclass(frozen=True)
class Report:
    """What was found: how many photos (or pairs) can be used, how large they are, and what is wrong with others."""

    what: str
    """photographs or pairs."""
    found: int
    usable: int
    megapixels: float
    """Of the usable ones; a pair counts once."""
    sizes: dict[str, int]
    """How many there are of each width x height."""
    psnr: tuple[float, float, float] | None
    """Lowest, mean and highest PSNR in dB of degraded against clean, where there are pairs."""
    problems: tuple[str, ...]
    """One sentence for each file or pair that cannot be used or looks wrong."""

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [f"{self.usable} of {self.found} {self.what} can be used, {self.megapixels:.1f} megapixels"]
        if self.sizes:
            common = sorted(self.sizes.items(), key=lambda item: -item[1])
            listed = ", ".join(f"{count} of {size}" for size, count in common[:5])
            more = f", and {len(common) - 5} other sizes" if len(common) > 5 else ""
            lines.append(f"sizes: {listed}{more}")
        if self.psnr is not None:
            low, mean, high = self.psnr
            lines.append(f"PSNR of degraded against clean: {low:.1f} to {high:.1f} dB, mean {mean:.1f} dB")
        return [*lines, *(f"problem: {problem}" for problem in self.problems)]

    def as_dict(self) -> dict[str, Any]:
        """The report for programs: JSON's types."""
        return asdict(self)


def check_place(place: Path, clean: Path | None = None, layout: str = "auto", crop: int = 1) -> Report:
    """Look through clean photographs or pairs.

    Args:
        place: a folder of photographs, a data set of pairs, or with `clean` the folder of the degraded ones.
        clean: the folder of the clean ones.
        layout: of pairs, see `data.pairs.find_pairs`; auto takes a folder without any pairs for photographs.
        crop: side of a training crop in pixels.

    Raises:
        DataError: there is nothing to look at.
    """
    if clean is not None:
        pairs = pair_folders(place, clean)
        return check_pairs(
            pairs, crop, _alone(pairs, [*find_images(place, raw=True), *find_images(clean, raw=True)])
        )
    if layout == "auto" and place.is_dir() and not _looks_like_pairs(place):
        return check_photos(place, crop)
    pairs = find_pairs(place, layout)
    return check_pairs(pairs, crop, _alone(pairs, find_images(place, raw=True)) if place.is_dir() else ())


def check_photos(folder: Path, crop: int = 1) -> Report:
    """Decode every photograph of a folder.

    Raises:
        DataError: there is none.
    """
    files = find_images(folder, raw=True)
    if not files:
        raise DataError(f"{folder}: contains no photo.")
    problems, shapes = [], []
    for file in files:
        try:
            pixels = rgb8(file)
        except ImageError as error:
            problems.append(str(error))
            continue
        if min(pixels.shape[:2]) < crop:
            problems.append(f"{file}: {_size(pixels)} is smaller than a crop of {crop} pixels.")
            continue
        shapes.append(pixels.shape[:2])
    return Report("photographs", len(files), len(shapes), *_sizes(shapes), None, tuple(problems))


def check_pairs(pairs: Sequence[Pair], crop: int = 1, alone: Sequence[Path] = ()) -> Report:
    """Decode every pair and compare its images; `alone` are files that have no partner."""
    problems = [f"{file}: has no partner." for file in alone]
    shapes, values = [], []
    for pair in pairs:
        try:
            degraded, clean = pair.read()
        except (ImageError, DataError) as error:
            problems.append(str(error))
            continue
        if min(clean.shape[:2]) < crop:
            problems.append(f"{pair.degraded}: {_size(clean)} is smaller than a crop of {crop} pixels.")
            continue
        shapes.append(clean.shape[:2])
        db = _psnr(degraded, clean)
        if math.isinf(db):
            problems.append(f"{pair.degraded}: is the same image as {pair.clean}.")
        else:
            values.append(db)
        if db < UNRELATED_DB:
            problems.append(
                f"{pair.degraded}: has hardly anything in common with {pair.clean} ({db:.1f} dB)."
            )
    psnr = (min(values), sum(values) / len(values), max(values)) if values else None
    return Report("pairs", len(pairs), len(shapes), *_sizes(shapes), psnr, tuple(problems))


def _looks_like_pairs(place: Path) -> bool:
    names = {child.name.lower() for child in place.iterdir() if child.is_dir()}
    scenes = any(child.name.startswith("GOPR") for child in (*place.glob("*"), *place.glob("*/*")))
    deeper = {child.name.lower() for child in place.glob("*/*") if child.is_dir()}
    if scenes or any(found & set(DEGRADED_NAMES) and found & set(CLEAN_NAMES) for found in (names, deeper)):
        return True
    try:
        return bool(polyu_pairs(place))
    except DataError:
        return False


def _alone(pairs: Sequence[Pair], files: Iterable[Path]) -> list[Path]:
    used = {file for pair in pairs for file in (pair.degraded, pair.clean)}
    return [file for file in files if file not in used]


def _psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    mse = np.square(a.astype(np.float32) - b).mean(dtype=np.float64)
    return 10 * math.log10(255**2 / mse) if mse else math.inf


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _sizes(shapes: Sequence[tuple[int, ...]]) -> tuple[float, dict[str, int]]:
    counted = Counter(f"{width}x{height}" for height, width in shapes)
    return sum(h * w for h, w in shapes) / 1e6, dict(counted)
