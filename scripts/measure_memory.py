"""Peak memory of forward passes beside what is counted on, and of whole restorations under limits.

    python scripts/measure_memory.py                        each model, engine and size of patch in a new process
    python scripts/measure_memory.py --photo PHOTO          a photo under several limits

A forward pass is measured by the kernel: the peak of the resident set, reset before it. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

LIMITS = (
    ("ulimit -v", "800MB"), ("ulimit -v", "900MB"), ("ulimit -v", "1.2GB"), ("ulimit -v", "2GB"), ("ulimit -v", "3GB"),
    ("ulimit -d", "1GB"), ("--max-memory", "500MB"), ("--max-memory", "1.1GB"), ("--max-memory", "2GB"), ("none", ""),
)  # fmt: skip


def status(name: str) -> int:
    """A number of bytes in /proc/self/status."""
    found = re.search(rf"^{name}:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def peak(run: Callable[[], object]) -> int:
    """Bytes by which the resident set grows."""
    from ucdir.memory import trim_heap

    trim_heap()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = status("VmRSS")
    run()
    return status("VmHWM") - before


def measure(model: str, engine_name: str, precision: str, side: int) -> dict[str, int]:
    """Peak of a pass of both networks on a square patch, and what is counted on, in bytes."""
    import numpy as np

    from ucdir.patches import TileRunner
    from ucdir.pipeline import load

    engine = load(model, "cpu", precision, engine=engine_name).engine
    image = np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32) * 2 - 1
    with engine.session(1):
        found = {
            "predict": peak(lambda: engine.predict(image)),
            "denoise": peak(lambda: engine.denoise(image, image, image, level=0.7, scalars={})),
        }
    return {**found, "counted": TileRunner(engine).needed(1, side, side, side)}


def passes(models: list[str], sides: list[int]) -> None:
    """The table of forward passes."""
    print(f"{date.today()}, {os.cpu_count()} cores: MB beside the images and the program itself")
    print("| model | engine | patch | predict | denoise | counted on |\n|---|---|---|---|---|---|")
    for model in models:
        for kind in ("torch fp32", "torch bf16", "onnx fp32"):
            for side in sides:
                command = [sys.executable, __file__, "--one", json.dumps([model, *kind.split(), side])]
                text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                mb = {name: f"{size / 1e6:.0f}" for name, size in json.loads(text).items()}
                print(f"| {model} | {kind} | {side} | {mb['predict']} | {mb['denoise']} | {mb['counted']} |")


def restorations(photo: Path, limits: list[tuple[str, str]], seconds: int) -> None:
    """The table of restorations under limits."""
    from ucdir.memory import bytes_of

    print(
        f"{date.today()}: {photo.name}\n| limit | status | seconds | peak, MB | what it says |\n|---|---|---|---|---|"
    )
    for kind, size in limits:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                *(sys.executable, "-m", "ucdir.cli", "restore", photo, "--task", "jpeg_restoration"),
                *("-o", f"{folder}/out.png", *(["--max-memory", size] if kind == "--max-memory" else [])),
            ]
            which = {"ulimit -v": resource.RLIMIT_AS, "ulimit -d": resource.RLIMIT_DATA}.get(kind)

            def limit(which: int | None = which, size: str = size) -> None:
                if which is not None:
                    resource.setrlimit(which, (bytes_of(size),) * 2)

            began = time.monotonic()
            with tempfile.TemporaryFile("w+") as said:
                process = subprocess.Popen(command, stdout=said, stderr=said, preexec_fn=limit)  # noqa: PLW1509
                while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
                    if time.monotonic() - began > seconds:
                        process.kill()
                    time.sleep(0.05)
                said.seek(0)
                lines = [
                    line.replace(folder, "").replace(str(photo), photo.name)
                    for line in said.read().splitlines()
                ]
            code = os.waitstatus_to_exitcode(ended[1])
            print(
                f"| {kind} {size} | {code} | {time.monotonic() - began:.0f} | {ended[2].ru_maxrss / 1e3:.0f} "
                f"| {' / '.join(lines[-2:])[:330]} |",
                flush=True,
            )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="jpeg_restoration,deblurring,low_light")
    parser.add_argument("--sides", default="288,448,896,1184")
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--seconds", type=int, default=600, help="a restoration that takes longer is ended")
    parser.add_argument("--limits", default="", help="only those that contain this")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*json.loads(options.one))))
    elif options.photo:
        limits = [limit for limit in LIMITS if options.limits in " ".join(limit)]
        restorations(options.photo, limits, options.seconds)
    else:
        passes(options.models.split(","), [int(side) for side in options.sides.split(",")])


if __name__ == "__main__":
    main()
