"""LPIPS, PSNR, SSIM and NIQE of a restoration: of damaged pictures, the initial prediction, the result, variants.

    export UCDIR_WEIGHTS=weights
    python benchmarks/restoration.py jpeg_restoration --clean FOLDER --strength 10
    python benchmarks/restoration.py low_light --clean FOLDER --strength 300 --held-out 16 --crop 512
    python benchmarks/restoration.py deblurring --pairs FOLDER --baseline MODEL_FOLDER

Clean pictures are damaged with the given strength (of the task, see `ucdir degrade --help`), seed by seed; pairs are
taken as they are. UCDIR_WEIGHTS is explained in `ucdir.metrics.lpips`. Results are rounded to 8 bits before they are
measured. `--scalars` tells the model other values: what the right ones are worth shows against unknown and wrong ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import ucdir
from ucdir.config import parse_config
from ucdir.data.pairs import find_pairs
from ucdir.data.photos import find_photos, rgb8, split
from ucdir.data.sources import Example
from ucdir.degradations import JpegCompression
from ucdir.inputs import to_tensor
from ucdir.metrics import Lpips, Niqe, psnr, ssim
from ucdir.pipeline import Pipeline
from ucdir.tasks import TASKS

METRICS = ("lpips", "psnr", "ssim", "niqe")


def rounded(image: Tensor) -> Tensor:
    """The image [B,3,H,W] in [-1,1] as an 8-bit file would hold it."""
    return image.add(1).mul(127.5).round().div(127.5).sub(1)


def middle(pixels: np.ndarray, side: int | None) -> np.ndarray:
    """The middle of a picture, at most `side` pixels a side."""
    if side is None:
        return pixels
    height, width = (min(side, size) for size in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def examples(arguments: argparse.Namespace) -> Iterator[tuple[str, Example]]:
    """Name, truth, damaged picture and true scalars of each picture."""
    if arguments.pairs:
        for pair in find_pairs(arguments.pairs)[: arguments.limit]:
            clean, degraded = rgb8(pair.clean, 1.0), rgb8(pair.degraded, pair.scalars.get("exposure_ratio"))
            yield (
                pair.name,
                Example(middle(clean, arguments.crop), middle(degraded, arguments.crop), pair.scalars),
            )
        return
    files = find_photos(arguments.clean)
    if arguments.held_out:
        files = [files[i] for i in split(len(files), arguments.held_out, "photographs")[1]]
    name = arguments.task
    settings = {"task": name, "data": {"photos": "."}, **TASKS[name].settings(arguments.strength)}
    task = TASKS[name](parse_config(settings, "--strength"))
    for number, file in enumerate(files[: arguments.limit]):
        clean = middle(rgb8(file), arguments.crop)
        if (
            name == "jpeg_restoration" and arguments.strength is not None
        ):  # always 4:2:0, as the field measures
            quality = int(arguments.strength)
            yield file.name, Example(clean, JpegCompression(quality)(clean), {"jpeg_quality": float(quality)})
        else:
            yield file.name, task.degrade(clean, np.random.default_rng(number))


def restored(
    pipeline: Pipeline, example: Example, scalars: Mapping[str, float], options: Mapping[str, float]
) -> tuple[Tensor, float]:
    """The result rounded to 8 bits, and the seconds it took."""
    began = time.perf_counter()
    image = pipeline(example.degraded, scalars=dict(scalars), output_type="pt", **options).images
    return rounded(image), time.perf_counter() - began


def rows(
    arguments: argparse.Namespace, pipeline: Pipeline, baseline: Pipeline | None
) -> Iterator[dict[str, float | str]]:
    """One row for each picture and variant."""
    lpips, niqe = Lpips(), Niqe()
    for name, example in examples(arguments):
        truth = to_tensor(example.clean)
        results = {"truth": (truth, 0.0), "input": (to_tensor(example.degraded), 0.0)}
        results["predictor"] = restored(pipeline, example, {}, {"start": 0})
        if baseline is not None:
            results["regression"] = restored(baseline, example, example.scalars, {})
        results["restored"] = restored(pipeline, example, example.scalars, {})
        for variant, options in arguments.variants.items():
            results[variant] = restored(pipeline, example, example.scalars, options)
        for variant, told in arguments.scalars.items():
            results[variant] = restored(pipeline, example, told, {})
        for variant, (image, seconds) in results.items():
            values = (lpips(image, truth), psnr(image, truth), ssim(image, truth), niqe(image)[0])
            row = {metric: float(v) for metric, v in zip(METRICS, values, strict=True)}
            yield {"image": name, "variant": variant, **row, "seconds": seconds}


def main() -> None:
    """Measure, print one line for each variant, and write every value to a file if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--clean", type=Path, help="folder of clean pictures that the model was not trained on"
    )
    source.add_argument("--pairs", type=Path, help="data set of pairs")
    parser.add_argument(
        "--strength", type=float, help="of the damage; by default drawn anew for each picture"
    )
    parser.add_argument(
        "--held-out", type=int, help="only the pictures that so large a data.hold_out sets aside"
    )
    parser.add_argument("--crop", type=int, help="only the middle of each picture")
    parser.add_argument("--model", help="name or folder of a model; by default the task's")
    parser.add_argument(
        "--baseline", type=Path, help="folder of a regression baseline, to be measured beside it"
    )
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument(
        "--variants", type=json.loads, default={}, help='{"8 steps": {"num_inference_steps": 8}} in JSON'
    )
    parser.add_argument(
        "--scalars",
        type=json.loads,
        default={},
        help='{"unknown": {}, "wrong": {"jpeg_quality": 60}} in JSON',
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    pipeline = ucdir.load(arguments.model or arguments.task, "cpu")
    baseline = ucdir.load(arguments.baseline, "cpu") if arguments.baseline else None
    table = list(rows(arguments, pipeline, baseline))
    count = len({row["image"] for row in table})
    print(f"{arguments.task}, {count} pictures, strength {arguments.strength}, torch {torch.__version__}")
    print(f"{'':28}" + "".join(f"{metric:>9}" for metric in METRICS) + f"{'seconds':>9}")
    for name in dict.fromkeys(row["variant"] for row in table):
        chosen = [row for row in table if row["variant"] == name]
        means = [statistics.fmean(float(row[key]) for row in chosen) for key in (*METRICS, "seconds")]
        print(f"{name:28}" + "".join(f"{mean:9.4f}" for mean in means))
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
