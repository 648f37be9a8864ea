"""Restores RAW files at half size and at full size, and says what that took and gave.

    python scripts/measure_raw.py FILE… [--picture PICTURE.webp --box LEFT TOP SIDE]

`seconds` (of processors) and `memory` (most at a time) are those of a process of its own, `ucdir restore FILE
--raw-size …`, with all that it loads. `roughness` is that of the flattest tenth of the photo: the standard deviation of
the luma of its blocks of 8x8 pixels, in 8-bit levels; NIQE is lower for what looks natural (it needs 192 pixels a
side; UCDIR_WEIGHTS). Both are of the file as developed, and restored, and of different sizes hardly comparable.

The picture shows a square part of the first file: half size as developed and restored, twice enlarged; full size.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ucdir.evaluation.measure import load_metrics, measure
from ucdir.images import Photo, read
from ucdir.images.pixels import to_rgb8
from ucdir.images.raw import RAW_SIZES, RawSize

BLOCK = 8
GAP = 8


def restored(photo: Path, output: Path, size: str, options: list[str]) -> tuple[float, float]:
    """Processor seconds, and most megabytes at a time."""
    command = [
        sys.executable,
        "-m",
        "ucdir.cli",
        "restore",
        photo,
        "-o",
        output,
        "--raw-size",
        size,
        *options,
    ]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    if status:
        raise SystemExit(f"{photo}: could not be restored")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def roughness(pixels: NDArray[np.uint8]) -> float:
    """Median roughness of the flattest tenth of the blocks."""
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    height, width = (side // BLOCK * BLOCK for side in luma.shape)
    blocks = luma[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    inside = blocks.mean(axis=(1, 3))
    roughness = blocks.std(axis=(1, 3))[(inside > 10) & (inside < 245)]
    return float(np.median(np.sort(roughness)[: max(1, roughness.size // 10)]))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help="RAW files")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--box", nargs=3, type=int, default=(0, 0, 256), help="left, top, side at full size")
    given, options = parser.parse_known_args()
    (niqe,) = load_metrics(["niqe"])
    parts: list[Image.Image] = []
    print("| file | size | seconds | memory, MB | roughness | restored | NIQE | restored |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(given.files):
            for size in RAW_SIZES:
                output = Path(folder) / f"{number}_{size}.png"
                seconds, memory = restored(path, output, size, options)
                both = [to_rgb8(photo.pixels) for photo in (developed(path, size), read(output))]
                height, width = both[0].shape[:2]
                numbers = [roughness(pixels) for pixels in both] + [
                    measure(niqe, pixels, pixels) for pixels in both
                ]
                print(
                    f"| {path.name} | {size}, {width} x {height} | {seconds:.1f} | {memory:.0f} | "
                    + " | ".join(f"{value:.2f}" for value in numbers) + " |",
                    flush=True,
                )  # fmt: skip
                if number == 0 and given.picture is not None:
                    parts += [part(pixels, size, *given.box) for pixels in both]
    if given.picture is not None:
        side = given.box[2]
        sheet = Image.new("RGB", (len(parts) * (side + GAP) - GAP, side), "white")
        for column, image in enumerate(parts):
            sheet.paste(image, (column * (side + GAP), 0))
        sheet.save(given.picture, quality=88, method=6)
        print(f"{given.picture}  {sheet.width}x{sheet.height}  {given.picture.stat().st_size:,} bytes")


def developed(path: Path, size: RawSize) -> Photo:
    """The file before it is restored."""
    return read(path, raw_size=size)


def part(pixels: NDArray[np.uint8], size: str, left: int, top: int, side: int) -> Image.Image:
    """A part of it, at full size."""
    scale = 2 if size == "half" else 1
    box = tuple(value // scale for value in (left, top, left + side, top + side))
    return Image.fromarray(pixels).crop(box).resize((side, side), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
