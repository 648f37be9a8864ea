"""LPIPS, PSNR and SSIM of JPEG restoration on whole images: of the JPEG, the initial prediction, the result.

    UCDIR_WEIGHTS=weights python benchmarks/jpeg_restoration.py FOLDER [--quality 10] [--model NAME] [--json FILE]

FOLDER holds clean images that the model was not trained on; UCDIR_WEIGHTS is explained in `ucdir.metrics.lpips`. Each
image is compressed by Pillow (4:2:0), and restored images are rounded to 8 bits before they are measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

import ucdir
from ucdir.data.photos import find_photos
from ucdir.degradations import JpegCompression
from ucdir.images import read
from ucdir.inputs import to_tensor
from ucdir.metrics import Lpips, psnr, ssim
from ucdir.pipeline import Pipeline

METRICS = ("lpips", "psnr", "ssim")


def rounded(image: Tensor) -> Tensor:
    """The image [B,3,H,W] in [-1,1] as an 8-bit file would hold it."""
    return image.add(1).mul(127.5).round().div(127.5).sub(1)


def rows(
    pipeline: Pipeline, folder: Path, quality: int, variants: dict[str, dict[str, float]], limit: int | None
) -> Iterator[dict[str, float | str]]:
    """One row for each image and variant."""
    lpips = Lpips()
    for file in find_photos(folder)[:limit]:
        pixels = read(file).pixels
        clean = pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
        degraded = JpegCompression(quality)(clean)
        truth = to_tensor(clean)
        results = {"jpeg": (to_tensor(degraded), 0.0)}
        for name, options in variants.items():
            began = time.perf_counter()
            image = pipeline(degraded, scalars={"jpeg_quality": quality}, output_type="pt", **options).images
            results[name] = (rounded(image), time.perf_counter() - began)
        for name, (image, seconds) in results.items():
            values = (lpips(image, truth), psnr(image, truth), ssim(image, truth))
            row = {metric: float(v) for metric, v in zip(METRICS, values, strict=True)}
            yield {"image": file.name, "variant": name, **row, "seconds": seconds}


def main() -> None:
    """Measure, print one line for each variant, and write every value to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", type=int, default=10)
    parser.add_argument("--model", default="jpeg_restoration")
    parser.add_argument("--limit", type=int, help="only the first so many images")
    parser.add_argument(
        "--variants", type=json.loads, default={}, help='{"name": {"num_inference_steps": 8}} in JSON'
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    pipeline = ucdir.load(arguments.model, "cpu")
    variants = {"predictor": {"start": 0}, "restored": {}, **arguments.variants}
    table = list(rows(pipeline, arguments.folder, arguments.quality, variants, arguments.limit))
    print(f"{arguments.folder.name}, quality {arguments.quality}, torch {torch.__version__}")
    print(f"{'':28}" + "".join(f"{metric:>9}" for metric in METRICS) + f"{'seconds':>9}")
    for name in ("jpeg", *variants):
        chosen = [row for row in table if row["variant"] == name]
        means = [sum(float(row[key]) for row in chosen) / len(chosen) for key in (*METRICS, "seconds")]
        print(f"{name:28}" + "".join(f"{mean:9.4f}" for mean in means))
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
