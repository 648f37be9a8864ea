"""Fig. 6 in numbers: per-image splitting, the same with more overlap, inter-step splitting, the whole image.

    python benchmarks/splitting.py --task jpeg_restoration --clean FOLDER --strength 10 --image fig6.png

The jump is the mean difference of neighbouring pixels across the borders of patches, relative to that of the pairs
one pixel to either side: 1 means no seam. It is taken at the borders of the per-image patches in every variant, so that
all are measured at the same places. `from whole` is the mean difference from the whole image in 8-bit levels.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ucdir.evaluation.cases import Case, Cases
from ucdir.images import Photo, write
from ucdir.images.pixels import Signal, from_signal, to_signal
from ucdir.patches import restore_per_image
from ucdir.patches.split import round_up, split
from ucdir.pipeline import RestorationPipeline, load
from ucdir.tasks import TASKS

ENLARGED = 3
"""Times that the crop of the image is enlarged."""
CROP = 128
GAP = 8
"""Pixels between the rows of the image."""


def borders(height: int, width: int, patch: int, overlap: int) -> tuple[list[int], list[int]]:
    """Rows and columns that a patch begins at, but the first."""
    patches = list(split(height, width, patch, round_up(overlap, 8), 8))
    rows = sorted({p.kept_rows.start for p in patches} - {0})
    columns = sorted({p.kept_columns.start for p in patches} - {0})
    return rows, columns


def jump(image: Signal, rows: list[int], columns: list[int]) -> float:
    """Mean difference across the borders over that of the pairs beside them."""
    across, beside = [], []
    for dim, places in ((2, rows), (3, columns)):
        steps = np.abs(np.diff(image, axis=dim)).mean(axis=(0, 1, 5 - dim))  # step i is from pixel i to i + 1
        across += [float(steps[b - 1]) for b in places]
        beside += [float(steps[b + k]) for b in places for k in (-2, 0)]
    return statistics.fmean(across) / statistics.fmean(beside)


def variants(
    pipeline: RestorationPipeline,
    case: Case,
    patch: int,
    overlaps: tuple[int, int],
    options: dict[str, float | int],
) -> dict[str, Callable[[], Signal]]:
    """Name -> a function that restores the case so."""
    degraded = to_signal(case.degraded)
    scalars = {name: value for name, value in case.scalars.items() if name in pipeline.engine.scalars}

    def restore(image: Signal, seed: int, patch_size: int | None = None) -> Signal:
        return pipeline.restore_signal(image, seed=seed, scalars=scalars, patch_size=patch_size, **options)

    def per_image(overlap: int) -> Signal:
        return restore_per_image(restore, degraded, patch_size=patch + 2 * overlap, overlap=overlap)

    whole = max(degraded.shape[2:]) + 8
    return {
        "per-image": lambda: per_image(overlaps[0]),
        "per-image, more overlap": lambda: per_image(overlaps[1]),
        "inter-step": lambda: restore(degraded, 0, 320),
        "whole image": lambda: restore(degraded, 0, whole),
    }


def enlarged(image: Signal, row: int, column: int) -> np.ndarray:
    """The place around the crossing of two borders: uint8 [H,W,3]."""
    top, left = max(row - CROP // 2, 0), max(column - CROP // 2, 0)
    crop = image[..., top : top + CROP, left : left + CROP]
    pixels = from_signal(crop, np.empty((1, 1, 3), np.uint8))
    return pixels.repeat(ENLARGED, 0).repeat(ENLARGED, 1)


def main() -> None:
    """Measure, print a line for each variant, and write the image if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=TASKS, default="jpeg_restoration")
    parser.add_argument("--clean", type=Path, required=True, help="folder of clean images")
    parser.add_argument("--strength", type=float)
    parser.add_argument("--model", help="name or folder of a model; by default the task's")
    parser.add_argument("--limit", type=int, default=4, help="only the first so many images")
    parser.add_argument("--patch", type=int, default=128, help="what is kept of a per-image patch, in pixels")
    parser.add_argument(
        "--overlaps", type=int, nargs=2, default=(0, 32), help="of per-image patches, in pixels"
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument(
        "--start-fraction", type=float, help="fraction of T; 1 is pure noise, as in the paper"
    )
    parser.add_argument("--eta", type=float)
    parser.add_argument("--image", type=Path, help="PNG file for the crossing of two borders, enlarged")
    arguments = parser.parse_args()

    pipeline = load(arguments.model or arguments.task, "cpu", "fp32")
    named = {"steps": arguments.steps, "start_fraction": arguments.start_fraction, "eta": arguments.eta}
    options = {name: value for name, value in named.items() if value is not None}
    cases = Cases(arguments.task, arguments.clean, strength=arguments.strength, limit=arguments.limit)
    found: dict[str, list[tuple[float, float]]] = {}
    strips = []
    for source in cases:
        case = source.read()
        height, width = case.clean.shape[:2]
        rows, columns = borders(height, width, arguments.patch, 0)
        images = {
            name: restore()
            for name, restore in variants(
                pipeline, case, arguments.patch, tuple(arguments.overlaps), options
            ).items()
        }
        for name, image in {**images, "clean": to_signal(case.clean)}.items():
            difference = float(np.abs(image - images["whole image"]).mean()) * 127.5
            found.setdefault(name, []).append((jump(image, rows, columns), difference))
        strips.append(np.concatenate([enlarged(i, rows[0], columns[0]) for i in images.values()], axis=1))

    print(
        f"{arguments.task}, {len(strips)} images, {options or 'default settings'}, torch {torch.__version__}"
    )
    print(f"{'':26}{'jump':>8}{'from whole':>12}")
    for name, values in found.items():
        print(
            f"{name:26}{statistics.fmean(v[0] for v in values):8.3f}{statistics.fmean(v[1] for v in values):12.4f}"
        )
    if arguments.image:
        gap = np.full((GAP, max(s.shape[1] for s in strips), 3), 255, dtype=np.uint8)
        rows_of_it = [part for strip in strips for part in (strip, gap[:, : strip.shape[1]])]
        write(Photo(np.concatenate(rows_of_it)), arguments.image, force=True)


if __name__ == "__main__":
    main()
