"""What `--consistent` costs and gives: identical coefficients, LPIPS and PSNR before and after, seconds a megapixel.

    python benchmarks/consistency.py --clean FOLDER [--limit 8] [--qualities 5 10 20 40 80] [--sheet FILE.png]

Each image is compressed, restored, and moved to the nearest image that is consistent with the file. Coefficients are
compared with those of a real encoder: Pillow's, with the file's own tables and subsampling.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ucdir.degradations import JpegCompression, Subsampling
from ucdir.degradations.jpeg_consistency import nearest_consistent
from ucdir.evaluation.measure import load_metrics, measure
from ucdir.images import find_images, read
from ucdir.images.jpeg_coefficients import JpegCoefficients, jpeg_coefficients
from ucdir.images.pixels import to_rgb8
from ucdir.pipeline import RestorationPipeline, load

METRICS = ("lpips", "psnr")


def compressed_again(image: NDArray[np.uint8], like: bytes, subsampling: Subsampling) -> JpegCoefficients:
    """The coefficients that Pillow writes for an image with the tables of a file."""
    file, tables = io.BytesIO(), Image.open(io.BytesIO(like)).quantization
    Image.fromarray(image).save(file, "JPEG", qtables=tables, subsampling=subsampling)
    return jpeg_coefficients(file.getvalue())


def identical(one: JpegCoefficients, other: JpegCoefficients) -> float:
    """Share of the coefficients that are the same."""
    pairs = list(zip(one.planes, other.planes, strict=True))
    same = sum(np.count_nonzero(a.levels == b.levels) for a, b in pairs)
    return same / sum(a.levels.size for a, _ in pairs)


def row(
    pipeline: RestorationPipeline, clean: NDArray[np.uint8], quality: int, subsampling: Subsampling
) -> tuple[list[float], list[NDArray[np.uint8]]]:
    """Figures of one image: identical coefficients, LPIPS, PSNR before and after; seconds; and both images."""
    data = JpegCompression(quality, subsampling).encode(clean)
    before = pipeline(read(data).pixels, scalars={"jpeg_quality": quality})
    began = time.perf_counter()
    file = jpeg_coefficients(data)
    decoded = time.perf_counter()
    after = nearest_consistent(before, file)
    seconds = decoded - began, time.perf_counter() - decoded
    figures: list[float] = []
    for measured in (
        lambda image: identical(file, compressed_again(image, data, subsampling)),
        *(lambda image, m=m: measure(m, image, clean) for m in load_metrics(METRICS)),
    ):
        figures += [measured(before), measured(after)]
    figures.append(float(np.abs(after.astype(float) - before).mean()))
    return figures + [s / clean[..., 0].size * 1e6 for s in seconds], [before, after]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--qualities", type=int, nargs="+", default=[5, 10, 20, 40, 80])
    parser.add_argument("--model", default="jpeg_restoration")
    parser.add_argument("--sheet", type=Path, help="file for the first image at quality 10, before and after")
    given = parser.parse_args()
    pipeline = load(given.model, "cpu")
    cleans = [to_rgb8(read(path).pixels) for path in find_images(given.clean)[: given.limit]]
    settings: list[tuple[int, Subsampling]] = [(quality, "4:2:0") for quality in given.qualities]
    print(f"{len(cleans)} images, {given.model}, before -> after")
    print("quality        identical coefficients      LPIPS          PSNR      change   s/MP: read, project")
    for quality, subsampling in [*settings, (10, "4:4:4")]:
        rows = [row(pipeline, clean, quality, subsampling) for clean in cleans]
        m = np.mean([figures for figures, _ in rows], axis=0)
        print(
            f"{quality:3} {subsampling}  {m[0]:9.4%} -> {m[1]:9.4%}  {m[2]:.4f} -> {m[3]:.4f} ({m[3] / m[2] - 1:+.1%})"
            f"  {m[4]:.2f} -> {m[5]:.2f}  {m[6]:.2f}  {m[7]:.2f}  {m[8]:.2f}",
            flush=True,
        )
        if given.sheet and quality == 10 and subsampling == "4:2:0":
            Image.fromarray(np.hstack(rows[0][1])).save(given.sheet)


if __name__ == "__main__":
    main()
