"""Kills a small training again and again, resumes it, and proves that it ends as if nothing had happened.

    python scripts/kill_training.py --kills 100
    python scripts/kill_training.py --kills 30 --death "in a step"

Each training is `ucdir train` in a process of its own, of one objective after the other. It is killed at an arbitrary
moment, or exactly while a checkpoint or
the decoded photos are half written, or stopped by Ctrl-C or SIGTERM with all its workers; then the same training is
started again. When it reaches its end, its checkpoint must be bit-equal to that of an undisturbed training, and no
unfinished files may be left. The next training follows, until there were enough kills. Exits with 1 at the first
difference.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from ucdir.cli import main as ucdir
from ucdir.data import photos as photos_module
from ucdir.training import loop, state
from ucdir.training.export import export

OBJECTIVES = ("noise", "sampler_aware", "regression")


def kill_itself(*_: object) -> None:
    """As `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def after(module: ModuleType, name: str, calls: int, then: Callable[..., None]) -> None:
    """Let a function of a module do its work `calls` times, and hand its last arguments to `then`."""
    function = getattr(module, name)
    count = 0

    def counting(*arguments: Any, **keywords: Any) -> Any:
        nonlocal count
        result = function(*arguments, **keywords)
        count += 1
        if count == calls:
            then(*arguments)
        return result

    setattr(module, name, counting)


def cut_and_die(tensors: object, path: Path) -> None:
    """Leave half of a file, as a kill in the midst of writing does."""
    os.truncate(path, path.stat().st_size // 2)
    kill_itself()


# How a training run dies: each arms the process before it starts, given a random number generator.
DEATHS: dict[str, Callable[[random.Random], None]] = {
    "at any moment": lambda rng: None,  # from outside
    "in a step": lambda rng: after(loop, "learning_rate", rng.randint(1, 20), kill_itself),
    "in half a checkpoint": lambda rng: after(state, "save_file", rng.randint(1, 3), cut_and_die),
    "before a checkpoint's renaming": lambda rng: after(state, "save_file", rng.randint(1, 3), kill_itself),
    "after a checkpoint's renaming": lambda rng: after(loop, "save_state", rng.randint(1, 3), kill_itself),
    "in half the photos": lambda rng: after(photos_module, "rgb8", rng.randint(1, 12), kill_itself),
    "by Ctrl-C": lambda rng: after(
        loop, "learning_rate", rng.randint(1, 4), lambda *_: os.killpg(0, signal.SIGINT)
    ),
    "by SIGTERM": lambda rng: after(
        loop, "learning_rate", rng.randint(1, 4), lambda *_: os.killpg(0, signal.SIGTERM)
    ),
}


def start(config: Path, output: Path, death: str = "at any moment", seed: int = 0) -> int:
    """Start a training run in a process of its own; its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setpgrp()
        DEATHS[death](random.Random(seed))  # noqa: S311 (moments, no secrets)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        with output.with_suffix(".log").open("a") as log:
            os.dup2(log.fileno(), 2)
        sys.argv = ["ucdir", "train", str(config), "-o", str(output)]
        ucdir()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os._exit(code)


def wait(process: int, seconds: float | None = None) -> int:
    """Wait for its end, killing it after so many seconds; its exit status, -9 after a kill."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, 0 if end is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() > end:
            os.kill(process, signal.SIGKILL)
            end = None
        time.sleep(0.002)


def contents(checkpoint: Path) -> dict[str, Any]:
    """Everything in a checkpoint, comparable with ==."""
    with safe_open(checkpoint, framework="np") as file:
        tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118 (no dict)
        return tensors | {"metadata": file.metadata()}


def make_photos(folder: Path) -> None:
    """A dozen photos of noise."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(12):
        pixels = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")


def write_config(file: Path, photos: Path, workers: int, objective: str, initial: Path | None) -> None:
    """A training run that takes a second."""
    size = {"multipliers": [1, 2], "blocks": [1, 1]}
    values = {
        "model": {
            "predictor": {"channels": 4, **size},
            "diffusion_model": {"channels": 8, "kernel_bases": 2, "scalar_channels": 8, **size},
        },
        "data": {"photos": str(photos), "crop": 16, "hold_out": 0},
        "sampling": {"steps": 2},
        "training": {
            "objective": objective,
            "initial": None if initial is None else str(initial),
            "perceptual_weight": 0.0,
            "steps": 20,
            "decay_steps": 0,
            "batch_size": 2,
            "checkpoint_every": 2,
            "workers": workers,
        },
    }
    file.write_text(json.dumps(values))  # which is YAML, too


def run(kills: int, seed: int, workers: int, folder: Path, deaths: list[str]) -> None:
    """Kill training runs of each objective until there were enough kills."""
    make_photos(folder / "photos")
    rng = random.Random(seed)  # noqa: S311 (moments, no secrets)
    for number, objective in enumerate(OBJECTIVES):
        share = kills // 3 + (number < kills % 3)
        own = folder / objective
        own.mkdir()
        config = own / "config.yaml"
        initial = folder / "initial" if objective == "sampler_aware" else None  # which fine-tunes a model
        write_config(config, folder / "photos", workers, objective, initial)
        begin = time.monotonic()
        unbroken = own / "unbroken"
        if wait(start(config, unbroken)) != 0:
            raise SystemExit(f"the unbroken training failed: {unbroken.with_suffix('.log').read_text()}")
        duration = time.monotonic() - begin
        expected = contents(unbroken / state.FILE_NAME)
        killed: dict[str, int] = dict.fromkeys(DEATHS, 0)
        trainings = 0
        while sum(killed.values()) < share:
            output = own / f"training_{trainings}"
            resume_until_done(config, output, rng, killed, duration, deaths)
            if contents(output / state.FILE_NAME) != expected:
                raise SystemExit(f"{output}: ended with other weights than the unbroken training")
            left = sorted(
                str(p.relative_to(output)) for p in output.rglob("*") if p.suffix in (".part", ".tmp")
            )
            if left:
                raise SystemExit(f"{output}: unfinished files were left: {', '.join(left)}")
            trainings += 1
        check_control(expected, unbroken)
        if objective == "noise":
            export(unbroken / state.FILE_NAME, folder / "initial")
        listed = ", ".join(f"{count} {death}" for death, count in killed.items() if count)
        print(
            f"{date.today()}, {objective}: {trainings} runs ended bit-equal to the unbroken one after "
            f"{sum(killed.values())} kills: {listed}"
        )


def check_control(expected: dict[str, Any], folder: Path) -> None:
    """A checkpoint in which one bit of one weight differs must be found to differ."""
    with safe_open(folder / state.FILE_NAME, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
        metadata = file.metadata()
    bits = next(iter(tensors.values())).reshape(-1).view(np.uint32)
    bits[0] ^= 1
    save_file(tensors, folder / "other.safetensors", metadata=metadata)
    if contents(folder / "other.safetensors") == expected:
        raise SystemExit("a checkpoint that differs by a bit was found equal")


def resume_until_done(
    config: Path,
    output: Path,
    rng: random.Random,
    killed: dict[str, int],
    duration: float,
    deaths: list[str],
) -> None:
    """Start, kill, start again, until the training has reached its end."""
    step = 0
    while True:
        others = [d for d in deaths if not output.exists() or d != "in half the photos"]
        death = "at any moment" if "at any moment" in deaths and rng.random() < 0.4 else rng.choice(others)
        process = start(config, output, death, rng.randrange(2**32))
        status = wait(process, rng.uniform(0, duration) if death == "at any moment" else None)
        if status not in (0, -signal.SIGKILL, 130, 143):
            raise SystemExit(
                f"{output}: the training failed when resumed after step {step}: "
                + output.with_suffix(".log").read_text()[-1000:]
            )
        checkpoint = output / state.FILE_NAME
        reached = state.read_metadata(checkpoint).step if checkpoint.exists() else 0
        if reached < step:
            raise SystemExit(f"{output}: a kill threw the checkpoint back from step {step} to {reached}")
        step = reached
        if status == 0:
            return
        killed[death] += 1


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of death")
    parser.add_argument("--death", action="append", choices=DEATHS, help="how; every way by default")
    parser.add_argument("--workers", type=int, default=1, help="data workers of each training")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run(arguments.kills, arguments.seed, arguments.workers, Path(folder), arguments.death or list(DEATHS))


if __name__ == "__main__":
    main()
