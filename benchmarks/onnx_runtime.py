"""The engine onnx beside the engine torch, on this machine's CPUs, everything in one run and in turns.

    python benchmarks/onnx_runtime.py [--sizes 512x512 1024x1024] [--runs 5] [--threads 1]

Prints medians, wall-clock and CPU seconds (which other programs disturb less), and their ratios:

- start to exit of `ucdir restore` of a JPEG file of 64x64 pixels, of a model in ONNX form and of the same model as it
  came with the package, beside `python -c "import torch, pyvips"`;
- a restoration of each size in fp32, and the diffusion model with its AKGM as `slices` and `grouped`;
- peak memory of each engine for each size, in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

MODEL = "jpeg_restoration"

Times = tuple[float, float]  # wall clock, CPU


def in_turns(calls: dict[str, Callable[[], Times]], runs: int) -> dict[str, Times]:
    """Medians of calls that are made in turns, the first turn left out."""
    times: dict[str, list[Times]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            took = call()
            if run:
                times[name].append(took)
    return {name: tuple(map(statistics.median, zip(*all_, strict=True))) for name, all_ in times.items()}


def table(title: str, medians: dict[str, Times]) -> None:
    """Print times, and their ratios to the first row's."""
    print(title)
    first = next(iter(medians.values()))
    for name, took in medians.items():
        ratios = [one / base for one, base in zip(took, first, strict=True)]
        print(f"  {name:36s}{took[0]:8.3f} s ({ratios[0]:.2f}x){took[1]:8.3f} CPU s ({ratios[1]:.2f}x)")


def program(*command: str) -> Times:
    """Run a program from start to exit."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(f"{' '.join(command)}: failed")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


def called(function: Callable[[], object]) -> Callable[[], Times]:
    """A function of the times of a call."""

    def call() -> Times:
        began, cpu = time.perf_counter(), time.process_time()
        function()
        return time.perf_counter() - began, time.process_time() - cpu

    return call


def start(folder: Path, exported: Path, runs: int) -> None:
    """Start to exit."""
    photo = folder / "small.jpg"
    Image.fromarray(image(64, 64)).save(photo, quality=10)
    restore = (
        sys.executable,
        "-m",
        "ucdir.cli",
        "restore",
        str(photo),
        "-o",
        str(folder / "out.png"),
        "--overwrite",
    )
    commands = {
        "import torch, pyvips": (sys.executable, "-c", "import torch, pyvips"),
        "restore, a model in ONNX form": (*restore, "--model", str(exported)),
        "restore --engine onnx": (*restore, "--engine", "onnx"),
        "restore --engine torch, fp32": (*restore, "--engine", "torch", "--precision", "fp32"),
    }
    calls = {name: (lambda command=command: program(*command)) for name, command in commands.items()}
    table("start to exit, 64x64", in_turns(calls, runs))


def image(width: int, height: int) -> np.ndarray:
    """A smooth image with some noise, uint8."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)
    return (pixels + rng.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)


def sizes(exported: Path, shapes: list[tuple[int, int]], runs: int) -> None:
    """Whole restorations in memory."""
    import ucdir

    engines = {"torch": ucdir.load(MODEL, "cpu", "fp32", engine="torch"), "onnx": ucdir.load(exported)}
    for width, height in shapes:
        pixels = image(width, height)
        results = {name: pipe(pixels, scalars={"jpeg_quality": 10}) for name, pipe in engines.items()}
        apart = np.abs(results["torch"].astype(int) - results["onnx"]).max()
        calls = {
            name: called(lambda pipe=pipe, pixels=pixels: pipe(pixels, scalars={"jpeg_quality": 10}))
            for name, pipe in engines.items()
        }
        table(f"a restoration of {width}x{height}, fp32 (apart by {apart} levels)", in_turns(calls, runs))


def forms(side: int, runs: int) -> None:
    """The diffusion model with both forms of the AKGM."""
    import onnxruntime
    from safetensors.numpy import load_file

    from ucdir.config import DiffusionModelConfig
    from ucdir.engines.onnx_engine import threads
    from ucdir.model.folder import CONFIG_FILE, WEIGHTS_FILE, read_network_config
    from ucdir.model.onnx_graph import AKGM, diffusion_model_graph
    from ucdir.model.pretrained import model_folder

    folder = model_folder(MODEL) / "diffusion_model"
    config = read_network_config(folder / CONFIG_FILE, DiffusionModelConfig)
    images = np.random.default_rng(0).normal(0, 0.5, (3, 1, 3, side, side)).astype(np.float32)
    inputs = dict(zip(("noisy", "degraded", "guidance"), images, strict=True))
    inputs |= {"noise_level": np.full(1, 0.6, np.float32), "jpeg_quality": np.full(1, 10, np.float32)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    calls = {}
    for form in AKGM:
        graph = diffusion_model_graph(config, load_file(folder / WEIGHTS_FILE), akgm_form=form)
        session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
        calls[form] = called(lambda session=session: session.run(None, inputs))
    table(f"the diffusion model, {side}x{side}, fp32, by the form of its AKGM", in_turns(calls, runs))


PEAK = """
import resource, sys, ucdir, numpy as np
model, engine, width, height = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
pipe = ucdir.load(model, "cpu", "fp32", engine=engine)
pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
pipe(pixels[:64, :64], scalars={"jpeg_quality": 10})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pipe(pixels, scalars={"jpeg_quality": 10})
print(before * 1024 / 1e6, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
"""


def memory(exported: Path, shapes: list[tuple[int, int]]) -> None:
    """Peak memory in all, and how much more than of a small image."""
    for width, height in shapes:
        for engine, model in (("torch", MODEL), ("onnx", str(exported))):
            command = (sys.executable, "-c", PEAK, model, engine, str(width), str(height))
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            before, peak = map(float, out.split())
            more = (peak - before) * 1e6 / (width * height)
            print(
                f"memory of {width}x{height}, {engine:6s}{peak:8.0f} MB, {more:.0f} bytes a pixel beyond 64x64"
            )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["512x512", "1024x1024"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # before either library is loaded
    shapes = [tuple(map(int, size.split("x"))) for size in arguments.sizes]
    sys.stdout.reconfigure(line_buffering=True)
    print(f"{arguments.threads} threads, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        from ucdir.model.pretrained import model_folder
        from ucdir.workflows.export import export

        exported = Path(folder) / "exported"
        export(model_folder(MODEL), exported)
        start(Path(folder), exported, arguments.runs)
        forms(256, arguments.runs)
        sizes(exported, shapes, arguments.runs)
        memory(exported, shapes)


if __name__ == "__main__":
    main()
