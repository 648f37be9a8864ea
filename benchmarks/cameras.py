"""Low light by camera: photos darkened by one ratio with the noise of each of the five sensors, restored by each model.

    UCDIR_WEIGHTS=weights python benchmarks/cameras.py low_light low_light_small --clean LIVE1 [--limit 8] [--crop 192]

Models are told all scalars. `in place` is the PSNR once the mean of each colour is that of the clean image: what a
sensor's own bias, which cannot be seen in a photo, takes from the PSNR is left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ucdir.degradations import LowLightGenerator
from ucdir.degradations.sensors import SENSORS
from ucdir.images import find_images, read
from ucdir.images.pixels import middle, to_rgb8, to_signal
from ucdir.images.srgb import as_srgb
from ucdir.metrics.lpips import Lpips
from ucdir.pipeline import load
from ucdir.tasks.low_light import LowLight


def figures(lpips: Lpips, image: NDArray[np.uint8], clean: NDArray[np.uint8]) -> tuple[float, float, float]:
    """PSNR, LPIPS and PSNR in place of uint8 [H,W,3]."""
    error = image.astype(np.float64) - clean
    biased, rest = (np.mean(e**2) for e in (error, error - error.mean((0, 1))))
    with torch.no_grad():
        distance = lpips.batched(*(torch.from_numpy(to_signal(x)) for x in (image, clean))).mean()
    return 10 * np.log10(255**2 / biased), float(distance), 10 * np.log10(255**2 / rest)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--ratios", type=float, nargs="+", default=[100, 300])
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--crop", type=int, default=192)
    given = parser.parse_args()
    files = find_images(given.clean)
    files = files[:: max(1, len(files) // given.limit)][: given.limit]
    clean = [np.ascontiguousarray(middle(to_rgb8(as_srgb(read(f)).pixels), given.crop)) for f in files]
    models = {
        model: load(model if Path(model).name == model else Path(model), "cpu", "fp32")
        for model in given.models
    }
    lpips = Lpips()
    print("| ratio | camera | | PSNR↑ | LPIPS↓ | in place↑ |\n|---|---|---|---|---|---|")
    for ratio in given.ratios:
        of_all: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ("input", *models)}
        for camera in SENSORS:
            task = LowLight(
                LowLightGenerator(
                    ratios=(ratio, ratio), cameras=(camera,), srgb_probability=0, developed_probability=0,
                    portrait_probability=0, unknown_probability=0,
                )
            )  # fmt: skip
            found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in of_all}
            for number, image in enumerate(clean):
                example = task.degrade(image, np.random.default_rng(number))
                found["input"].append(figures(lpips, example.degraded, example.clean))
                for name, pipeline in models.items():
                    restored = pipeline(example.degraded, scalars=dict(example.scalars))
                    found[name].append(figures(lpips, restored, example.clean))
            for name, rows in found.items():
                of_all[name] += rows
                _print(ratio, camera, name, rows)
        for name, rows in of_all.items():
            _print(ratio, "all", name, rows)


def _print(ratio: float, camera: str, name: str, rows: list[tuple[float, float, float]]) -> None:
    psnr, lpips, in_place = np.mean(rows, axis=0)
    print(f"| {ratio:g} | {camera} | {name} | {psnr:.2f} | {lpips:.3f} | {in_place:.2f} |", flush=True)


if __name__ == "__main__":
    main()
