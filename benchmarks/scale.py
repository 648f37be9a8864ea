"""How fast photographs are restored by several workers, and which share of a core's time each part of the work takes.

    python benchmarks/scale.py [PHOTO] [--megapixels 1 12] [--workers 1 2] [--photos 3] [OPTIONS OF restore, --jobs=2]

The photograph is repeated and cropped to 3:2 images of each size, saved as JPEG of --quality. First the parts of the
way of one of them are timed one after the other in this process: the median of --rounds, in seconds of CPU and of the
clock. Then each number of workers, processes of one thread each, restores its own folder of --photos copies at the same
time, all numbers taking turns, the first of them twice. The first photo of a process loads its model and does not count
in the megapixels a second, which where other programs keep the machine busy are those of what was left of it. `core
s/MP` are the CPU seconds of the whole processes for each megapixel, start and first photo included. At the end: what a
million photographs cost.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["VIPS_CONCURRENCY"] = "1"  # before the libraries read them

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from end_to_end import enlarged

from ucdir.degradations import JpegCompression
from ucdir.images import encode_photo, read
from ucdir.images.atomic import atomic_write
from ucdir.images.srgb import from_srgb_signal, to_srgb_signal
from ucdir.inspection import inspect
from ucdir.pipeline import load
from ucdir.workflows.records import digest

MILLION = 1_000_000


def timed(
    times: dict[str, list[tuple[float, float]]], name: str, function: Callable[..., Any], *arguments: Any
) -> Any:
    """The function's result; its seconds of CPU and of the clock are noted."""
    cpu, clock = time.process_time(), time.perf_counter()
    result = function(*arguments)
    times.setdefault(name, []).append((time.process_time() - cpu, time.perf_counter() - clock))
    return result


def parts(file: Path, folder: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds of CPU and of the clock of each part of the way of one photo."""
    pipeline, times = load("jpeg_restoration_small"), {}
    for _ in range(rounds):
        timed(times, "digest of the photo", digest, file)
        photo = timed(times, "decode", read, file)
        timed(times, "inspection", inspect, photo)
        signal = timed(times, "to floating point", to_srgb_signal, photo)
        restored = timed(times, "networks", pipeline.restore_signal, signal)
        pixels = timed(times, "to 8 bits", from_srgb_signal, restored, photo)
        result = replace(photo, pixels=pixels)
        for suffix in ("png", "jpg"):
            pieces, _ = timed(times, f"encode {suffix}", encode_photo, result, suffix)
            output = folder / f"result.{suffix}"
            timed(times, f"write {suffix}", lambda p=pieces, o=output: atomic_write(p, o, force=True))
            timed(times, f"digest of the {suffix}", digest, output)
    return {
        name: tuple(statistics.median(column) for column in zip(*seen, strict=True))
        for name, seen in times.items()
    }


def run_workers(folders: list[Path], output: Path, options: list[str]) -> tuple[float, float]:
    """Photos a second of workers that restore a folder each, without the first of each; CPU seconds of all."""
    command = [sys.executable, "-m", "ucdir.cli", "restore", "--json", "--overwrite", *options]
    processes, rate, cpu = [], 0.0, 0.0
    for number, folder in enumerate(folders):
        report = (output / f"{number}.jsonl").open("w")
        processes.append(
            subprocess.Popen([*command, str(folder), "-o", str(output / str(number))], stdout=report)
        )
    for number, process in enumerate(processes):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit("ucdir restore failed")
        lines = [json.loads(line) for line in (output / f"{number}.jsonl").read_text().splitlines()]
        rate += (len(lines) - 1) / sum(line["seconds"] for line in lines[1:])
        cpu += usage.ru_utime + usage.ru_stime
    return rate, cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path, nargs="?", default=Path("examples/coffee.jpg"))
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 12])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--photos", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quality", type=int, default=50)
    arguments, options = parser.parse_known_args()  # what is unknown here is passed on to ucdir restore
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; one thread a worker",
        flush=True,
    )
    for megapixels in arguments.megapixels:
        width = 12 * round((1.5 * megapixels * 1e6) ** 0.5 / 12)
        height = round(width / 1.5)
        size = width * height / 1e6
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folders = [folder / f"in{number}" for number in range(max(arguments.workers))]
            data = JpegCompression(arguments.quality).encode(enlarged(arguments.photo, width, height))
            for one in folders:
                one.mkdir()
                for number in range(arguments.photos):
                    (one / f"{number}.jpg").write_bytes(data)
            print(f"\n{width}x{height}, {size:.1f} megapixels, {len(data) / 1e6:.2f} MB as JPEG")
            if arguments.rounds:
                print_parts(parts(folders[0] / "0.jpg", folder, arguments.rounds), folder, size)
            alone = None
            for count in [*arguments.workers, *arguments.workers[:1]]:
                rate, cpu = run_workers(folders[:count], folder, options)
                core = cpu / (count * arguments.photos * size)
                alone = alone or rate
                print(
                    f"{count} workers: {rate * size:.3f} MP/s, {rate / alone:.2f} times the first line; {core:.2f} "
                    f"core s/MP; a million: {core * size * MILLION / 3600:,.0f} core hours",
                    flush=True,
                )


def print_parts(found: dict[str, tuple[float, float]], folder: Path, size: float) -> None:
    """Each part's seconds a megapixel, and its share for each format of results."""
    for suffix, other in (("png", "jpg"), ("jpg", "png")):
        own = {name: times for name, times in found.items() if not name.endswith(other)}
        total, networks = sum(cpu for cpu, _ in own.values()), own["networks"][0]
        written = (folder / f"result.{suffix}").stat().st_size
        print(f"to {suffix}, {written / 1e6:.2f} MB:")
        for name, (cpu, clock) in own.items():
            print(f"{name:>22}: {cpu / size:7.4f} core s/MP, {clock / size:7.4f} s/MP, {cpu / total:.1%}")
        for what, seconds in (("all", total), ("without the networks", total - networks)):
            print(f"{what:>22}: {seconds:.2f} core s; a million: {seconds * MILLION / 3600:,.0f} core hours")


if __name__ == "__main__":
    main()
