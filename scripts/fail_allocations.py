"""Lets the n-th large allocation of a restoration fail: the picture must be the same, or a sentence said.

    python scripts/fail_allocations.py                      n = 1 … 20, and 40 more from all of them

Allocations of Python, NumPy, PyTorch or ONNX Runtime, and libvips are counted alike. The picture may differ by one
level where smaller patches were taken. Exits with 1 if it differs more, if the process ends otherwise, or with a
traceback.
"""

from __future__ import annotations

import argparse
import ctypes
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import faults
import numpy as np
import numpy.typing as npt


def make_photo(inputs: Path) -> None:
    """One that is split into patches if it must be."""
    from ucdir.degradations import JpegCompression

    rng = np.random.default_rng(1)
    pixels = np.repeat(np.repeat(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8), 8, axis=0), 8, axis=1)
    (inputs / "photo.jpg").write_bytes(JpegCompression(20).encode(pixels))


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=20, help="n = 1 to this")
    parser.add_argument("--spread", type=int, default=40, help="so many n more, evenly spread over all")
    parser.add_argument("--engine", default="torch", help="torch or onnx")
    parser.add_argument("--bytes", type=int, default=200_000, help="what counts as large")
    options = parser.parse_args()
    faults.preload()
    ends, bad = Counter[str](), 0

    def arm(number: int) -> Callable[[ctypes.CDLL], None]:
        return lambda library: library.faults_arm_allocations(
            ctypes.c_size_t(options.bytes), ctypes.c_long(number)
        )

    with faults.scratch() as folder:
        command = faults.Command(
            "restore",
            faults.program(
                "restore", "{inputs}/photo.jpg", "-o", "{work}/out.tif", "--model", "{inputs}/model",
                "--precision", "fp32", "--device", "cpu", "--engine", options.engine,
            ),
        )  # fmt: skip
        bench = faults.Bench(Path(folder), [command])
        faults.fork(lambda: make_photo(Path(folder) / "inputs"))
        total = bench.run(command, bench.fresh(command), arm(10**9)).allocations
        bench.reference[command.name] = faults.files_of(Path(folder) / "work")
        expected = picture(Path(folder) / "work" / "out.tif")

        spread = np.linspace(options.first + 1, total, options.spread).astype(int).tolist()
        for number in [*range(1, options.first + 1), *spread]:
            work = bench.fresh(command)
            done = bench.run(command, work, arm(number))
            output, wrong = work / "out.tif", bench.judge(command, work)
            if done.status == 0:
                found = picture(output)
                difference = (
                    np.abs(found.astype(int) - expected).max() if found.shape == expected.shape else 256
                )
                wrong = [] if difference <= 1 else [f"the picture differs by {difference} levels"]
                ends["smaller patches, the picture" if "memory" in done.stderr else "the picture"] += 1
            else:
                lines = [line for line in done.stderr.splitlines() if line.startswith("ucdir: ")]
                if (
                    done.status != 2
                    or len(lines) != 1
                    or "Traceback" in done.stderr
                    or "memory" not in lines[0]
                ):
                    wrong.append(f"status {done.status}: {done.stderr.strip()[-1500:]}")
                ends["a sentence"] += 1
            if wrong:
                bad += 1
                print(f"allocation {number}: {'; '.join(wrong)}")
    listed = ", ".join(f"{count} x {end}" for end, count in ends.items())
    print(
        f"{date.today()}: of {total} allocations of {options.bytes:,} bytes or more, {ends.total()} failed in turn: "
        f"{listed}; {bad} wrong"
    )
    return int(bad > 0)


def picture(file: Path) -> npt.NDArray[np.uint8]:
    """The pixels, by Pillow."""
    from PIL import Image

    return np.asarray(Image.open(file))


if __name__ == "__main__":
    raise SystemExit(main())
