"""Seconds and peak memory of `ucdir restore`, the whole program from start to exit, for photographs of some sizes.

    python benchmarks/end_to_end.py PHOTO [--sizes 512x512 4000x3000] [--runs 3] [--released] [OPTIONS OF ucdir restore]

The photograph is repeated and cropped to each size and saved as a JPEG of quality 10 first. Prints the median time of
the runs and the largest memory of any. With --released also what the authors' network takes for its 50 steps (random
weights, which cost the same): reckoned from one run of 1 and one of 2 steps, as all steps are alike.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ucdir.degradations import JpegCompression
from ucdir.images import read
from ucdir.model.release import (
    ReleaseDiffusionModel,
    ReleaseDiffusionModelConfig,
    ReleasePredictor,
    ReleasePredictorConfig,
)
from ucdir.model.weights import save_model
from ucdir.workflows.convert import release_config

RELEASED_STEPS = 50


def run(command: list[str]) -> tuple[float, float]:
    """Wall-clock seconds and peak memory in MB of one run of a program."""
    began = time.perf_counter()
    process = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(command)}: failed")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def enlarged(photo: Path, width: int, height: int) -> np.ndarray:
    """A photograph as uint8 RGB of any size: repeated and cropped."""
    pixels = read(photo).pixels
    repeats = (-(-height // pixels.shape[0]), -(-width // pixels.shape[1]), 3 // pixels.shape[2])
    return np.ascontiguousarray(np.tile(pixels, repeats)[:height, :width])


def released(folder: Path, photo: Path) -> tuple[float, float]:
    """Seconds of 50 steps of the authors' network, and its peak memory in MB."""
    model = folder / "released"
    if not model.exists():
        betas = torch.linspace(1e-6, 0.4, RELEASED_STEPS, dtype=torch.float64)
        predictor = ReleasePredictor(ReleasePredictorConfig())
        diffusion_model = ReleaseDiffusionModel(ReleaseDiffusionModelConfig())
        save_model(model, predictor, diffusion_model, release_config(betas, "jpeg_restoration"))
    command = [sys.executable, "-m", "ucdir.cli", "restore", str(photo), "--force", "--model", str(model)]
    (one, _), (two, peak) = (run([*command, "--steps", steps]) for steps in ("1", "2"))
    return one + (RELEASED_STEPS - 1) * (two - one), peak


def main() -> None:
    """Measure and print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["512x512", "4000x3000"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--released", action="store_true")
    arguments, options = parser.parse_known_args()  # what is unknown here is passed on to ucdir restore
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"{'size':>10} {'seconds':>8} {'peak MB':>8} {'s/MP':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for size in arguments.sizes:
            width, height = (int(n) for n in size.split("x"))
            photo = Path(folder) / f"{size}.jpg"
            photo.write_bytes(JpegCompression(10).encode(enlarged(arguments.photo, width, height)))
            command = [sys.executable, "-m", "ucdir.cli", "restore", str(photo), "--force", *options]
            results = [run(command) for _ in range(arguments.runs)]
            seconds = statistics.median(r[0] for r in results)
            peak = max(r[1] for r in results)
            megapixels = width * height / 1e6
            print(f"{size:>10} {seconds:8.1f} {peak:8.0f} {seconds / megapixels:6.2f}", flush=True)
            if arguments.released:
                slow, peak = released(Path(folder), photo)
                print(
                    f"{'released':>10} {slow:8.1f} {peak:8.0f} {slow / megapixels:6.0f}  {slow / seconds:.0f} x"
                )


if __name__ == "__main__":
    main()
