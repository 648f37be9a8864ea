"""The engine onnx beside the engine torch, on this machine's CPUs, everything in one run and in turns.

    python benchmarks/onnx_runtime.py [--sizes 512x512 1024x1024] [--runs 5] [--threads 1 2]

Prints medians, wall-clock and CPU seconds (which other programs disturb less), and their ratios:

- start to exit of `ucdir restore` of a JPEG file of 64x64 pixels, of a model in ONNX form and of the same model as it
  came with the package, beside `python -c "import torch, pyvips"`;
- the diffusion model with its AKGM as `slices` and `grouped`;
- a restoration of each size by each engine in each precision, its peak memory, and how far the picture is from the
  first one's. Each has a process of its own. The first turn is left out but of more than 2 megapixels.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

MODEL = "jpeg_restoration_small"
KINDS = ["torch fp32", "torch bf16", "onnx fp32", "onnx fp16"]

Times = tuple[float, float]  # wall clock, CPU


def in_turns(calls: dict[str, Callable[[], Times]], runs: int, *, warm_up: bool = True) -> dict[str, Times]:
    """Medians of calls that are made in turns, after one turn that is left out."""
    times: dict[str, list[Times]] = {name: [] for name in calls}
    for run in range(runs + warm_up):
        for name, call in calls.items():
            took = call()
            if run >= warm_up:
                times[name].append(took)
    return {name: tuple(map(statistics.median, zip(*all_, strict=True))) for name, all_ in times.items()}


def table(title: str, medians: dict[str, Times], notes: dict[str, str] | None = None) -> None:
    """Print times, and their ratios to the first row's."""
    print(title)
    first = next(iter(medians.values()))
    for name, took in medians.items():
        ratios = [one / base for one, base in zip(took, first, strict=True)]
        print(
            f"  {name:32s}{took[0]:8.3f} s ({ratios[0]:.2f}x){took[1]:8.3f} CPU s ({ratios[1]:.2f}x) "
            + (notes or {}).get(name, "")
        )


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


def start(folder: Path, runs: int) -> None:
    """Start to exit."""
    from ucdir.model.pretrained import model_folder
    from ucdir.workflows.export import export

    exported = folder / "exported"
    export(model_folder(MODEL), exported)
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


WORKER = """
import json, sys, time, numpy as np, ucdir
from pathlib import Path
from onnx_runtime import image
from ucdir.memory import trim_heap

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10

model, engine, precision = sys.argv[1:]
pipe = ucdir.load(model, "cpu", precision, engine=engine)
for line in sys.stdin:
    width, height, file = line.split()
    pixels = image(int(width), int(height))
    trim_heap()
    Path("/proc/self/clear_refs").write_text("5")
    began, cpu = time.perf_counter(), time.process_time()
    result = pipe(pixels, scalars={"jpeg_quality": 10})
    took = time.perf_counter() - began, time.process_time() - cpu
    np.save(file, result)
    print(json.dumps([*took, peak()]), flush=True)
"""
"""Restores images of the sizes that it is sent, in a process of its own, whose peak memory can be told."""


def sizes(folder: Path, shapes: list[tuple[int, int]], runs: int, threads: int, kinds: list[str]) -> None:
    """Whole restorations in memory: each kind, an engine and a precision, in a process of its own, in turns."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(sys.path)}
    workers = {
        kind: subprocess.Popen(
            [sys.executable, "-c", WORKER, MODEL, *kind.split()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )
        for kind in kinds
    }  # fmt: skip
    for width, height in shapes:
        peaks = dict.fromkeys(kinds, 0)

        def call(kind: str, peaks: dict[str, int] = peaks, size: str = f"{width} {height}") -> Times:
            stdin, stdout = workers[kind].stdin, workers[kind].stdout
            stdin.write(f"{size} {folder / kind.replace(' ', '_')}.npy\n")
            stdin.flush()
            wall, cpu, peak = json.loads(stdout.readline())
            peaks[kind] = max(peaks[kind], peak)
            return wall, cpu

        calls = {kind: partial(call, kind) for kind in kinds}
        medians = in_turns(calls, runs, warm_up=width * height < 2_000_000)
        results = {kind: np.load(f"{folder / kind.replace(' ', '_')}.npy").astype(int) for kind in kinds}
        apart = {kind: np.abs(result - results[kinds[0]]) for kind, result in results.items()}
        notes = {
            kind: f"{peaks[kind] / 1e6:6.0f} MB, apart {a.max()} levels at most, {a.mean():.4f} on average"
            for kind, a in apart.items()
        }
        load = os.getloadavg()[0]
        table(f"a restoration of {width}x{height}, {threads} threads, load {load:.1f}", medians, notes)
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()


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
        session = onnxruntime.InferenceSession(graph, options)
        calls[form] = called(lambda session=session: session.run(None, inputs))
    table(f"the diffusion model, {side}x{side}, fp32, by the form of its AKGM", in_turns(calls, runs))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["512x512", "1024x1024"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count()])
    parser.add_argument("--kinds", nargs="+", default=KINDS, metavar="'ENGINE PRECISION'")
    parser.add_argument("--only", choices=("start", "forms", "sizes"))
    arguments = parser.parse_args()
    shapes = [tuple(map(int, size.split("x"))) for size in arguments.sizes]
    sys.stdout.reconfigure(line_buffering=True)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only in (None, "start"):
            start(Path(folder), arguments.runs)
        for threads in arguments.threads:
            os.environ["OMP_NUM_THREADS"] = str(threads)
            if arguments.only in (None, "forms"):
                forms(256, arguments.runs)
            if arguments.only in (None, "sizes"):
                sizes(Path(folder), shapes, arguments.runs, threads, arguments.kinds)


if __name__ == "__main__":
    main()
