"""RAW files restored at full size against half size, and by which model: dark exposures made of clean photos.

    python benchmarks/raw_size.py LIVE1 --limit 6

A clean photo, softened a little as lenses do, becomes the light of a Bayer mosaic, a pixel for each of its own. That is
darkened by a ratio, counted in electrons, read out by a Sony A7S II at a gain, and written as a DNG, which is developed
at either size, amplified by the ratio, and restored by either model of low light, which is told the ratio. Half size is
enlarged (Lanczos) for the figures at full size, and full size binned for those at half size.

Columns: PSNR and LPIPS at full size, PSNR and LPIPS at half size, seconds.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ucdir.degradations.sensors import SENSORS, tukey_lambda
from ucdir.evaluation.measure import load_metrics, measure
from ucdir.images import Photo, find_images, read
from ucdir.images.camera import SPAN, camera_to_srgb, linear_to_srgb, srgb_to_linear, undevelop
from ucdir.images.pixels import to_uint8
from ucdir.images.raw_light import halved
from ucdir.images.srgb import from_srgb_signal, to_srgb_signal
from ucdir.pipeline import load

BLACK = 512
CASES = ((2.0, 1.5), (2.0, 6.0), (8.0, 6.0), (30.0, 3.0), (100.0, 1.0), (300.0, 1.0))
"""Exposure ratios and gains (digital numbers per electron; 0.09 is ISO 100)."""
XYZ_TO_CAMERA = ((0.6629, -0.1900, -0.0483), (-0.4618, 1.2349, 0.2550), (-0.0622, 0.1381, 0.6514))
TO_SRGB = camera_to_srgb(XYZ_TO_CAMERA)
BALANCE = np.array([2.0, 1.0, 1.6])

Pixels = NDArray[np.uint8]


def mosaic(clean: Pixels) -> NDArray[np.float32]:
    """Light [H,W] in [0,1] that a sensor of the pattern RGGB sees of sRGB [H,W,3]."""
    light = undevelop((clean / 255).astype(np.float32), BALANCE, TO_SRGB)
    seen = np.empty(light.shape[:2], np.float32)
    for site, colour in (((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((1, 1), 3)):
        seen[site[0] :: 2, site[1] :: 2] = light[site[0] :: 2, site[1] :: 2, colour]
    return seen


def dng(light: NDArray[np.float32]) -> bytes:
    """A Bayer DNG of 14 bits, of light [H,W] in [0,1]."""

    def fractions(numbers: Any) -> list[int]:
        return [part for number in np.ravel(numbers) for part in (round(float(number) * 10_000), 10_000)]

    tags = [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes((0, 1, 1, 2)), True),
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),
        (50708, "s", 0, "Benchmark", True),
        (50714, "H", 1, BLACK, True),
        (50717, "I", 1, BLACK + SPAN, True),
        (50721, "2i", 9, fractions(XYZ_TO_CAMERA), True),
        (50728, "2I", 3, fractions(1 / BALANCE), True),
        (50778, "H", 1, 21, True),
    ]
    numbers = np.clip(np.rint(BLACK + light * SPAN), 0, BLACK + SPAN).astype(np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(file, numbers, photometric=32803, extratags=tags, metadata=None)
    return file.getvalue()


def darkened(light: NDArray[np.float32], ratio: float, gain: float, seed: int) -> NDArray[np.float32]:
    """One exposure of a sensor, as `degradations.LowLightNoise` has it."""
    rng, sensor = np.random.default_rng(seed), SENSORS["sony_a7s2"]
    read_scale, row_std = (np.exp(fit[0] * np.log(gain) + fit[1]) for fit in (sensor.read, sensor.row))
    numbers = gain * rng.poisson(light.clip(0) * SPAN / ratio / gain)
    numbers = numbers + read_scale * tukey_lambda(rng.random(light.shape, dtype=np.float32), -0.08)
    numbers += rng.normal(0, row_std, (len(light), 1))
    return (numbers / SPAN).astype(np.float32)


def pixels8(photo: Photo) -> Pixels:
    """RGB of 8 bits a sample."""
    pixels = to_uint8(photo.pixels)
    return pixels.repeat(3, axis=2) if photo.is_grey else pixels


def softened(pixels: Pixels, std: float) -> Pixels:
    """As soft as photos are at the pixels of a sensor, which small copies of larger photos are not."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(std)))


def binned(pixels: Pixels) -> Pixels:
    """The mean light of each 2x2 pixels."""
    return np.rint(linear_to_srgb(halved(srgb_to_linear(pixels / np.float32(255)))) * 255).astype(np.uint8)


def enlarged(pixels: Pixels) -> Pixels:
    """Twice the size."""
    height, width, _ = pixels.shape
    return np.asarray(Image.fromarray(pixels).resize((2 * width, 2 * height), Image.Resampling.LANCZOS))


def main() -> None:
    """Measure and print a table for each exposure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, help="folder of clean photos")
    parser.add_argument("--limit", type=int, help="number of photos")
    parser.add_argument("--crop", type=int, default=256, help="side of the middle of photos")
    parser.add_argument("--softness", type=float, default=0.7, help="standard deviation of a blur, in pixels")
    parser.add_argument("--models", nargs="+", default=["low_light", "low_light_small"])
    parser.add_argument(
        "--cases", type=int, nargs="+", default=range(len(CASES)), help="numbers of exposures"
    )
    parser.add_argument("--pictures", type=Path, help="folder for pictures")
    given = parser.parse_args()
    psnr, lpips = load_metrics(["psnr", "lpips"])
    pipelines = {name: load(name, device="cpu") for name in given.models}
    photos = find_images(given.photos)[: given.limit]
    for ratio, gain in (CASES[number] for number in given.cases):
        rows: dict[str, list[list[float]]] = defaultdict(list)
        for number, path in enumerate(photos):
            whole = pixels8(read(path))
            top, left = (max(0, side - given.crop) // 4 * 2 for side in whole.shape[:2])
            clean = softened(
                whole[top : top + given.crop // 2 * 2, left : left + given.crop // 2 * 2], given.softness
            )
            dark = dng(darkened(mosaic(clean), ratio, gain, number))
            for size in ("half", "full"):
                photo = read(dark, raw_size=size, exposure_ratio=ratio)  # type: ignore[arg-type]
                results = {f"{size}, not restored": (pixels8(photo), 0.0)}
                for name, pipeline in pipelines.items():
                    for fidelity in (1.0, 0.0):
                        began = time.perf_counter()
                        signal = pipeline.restore_signal(
                            to_srgb_signal(photo), scalars={"exposure_ratio": ratio}, fidelity=fidelity
                        )
                        seconds = time.perf_counter() - began
                        pixels = np.rint(from_srgb_signal(signal, photo) / 257).astype(np.uint8)
                        results[f"{size}, {name}{', prediction' * (fidelity == 1)}"] = pixels, seconds
                for label, (pixels, seconds) in results.items():
                    full, half = (enlarged(pixels), pixels) if size == "half" else (pixels, binned(pixels))
                    rows[label].append(
                        [
                            *(measure(metric, full, clean) for metric in (psnr, lpips)),
                            *(measure(metric, half, binned(clean)) for metric in (psnr, lpips)),
                            seconds,
                        ]
                    )
                    if given.pictures is not None:
                        given.pictures.mkdir(parents=True, exist_ok=True)
                        stem = f"{path.stem}_{ratio:g}_{gain:g}_{label.replace(', ', '_')}"
                        Image.fromarray(full).save(given.pictures / f"{stem}.png")
        print(f"\nratio {ratio:g}, gain {gain:g}, {len(photos)} photos\n")
        print(
            "| | PSNR↑ | LPIPS↓ | PSNR↑ at half size | LPIPS↓ at half size | seconds |\n|---|---|---|---|---|---|"
        )
        for label, found in rows.items():
            numbers = [fmean(column) for column in zip(*found, strict=True)]
            print("| {} | {:.2f} | {:.4f} | {:.2f} | {:.4f} | {:.1f} |".format(label, *numbers), flush=True)


if __name__ == "__main__":
    main()
