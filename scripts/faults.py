"""Commands of ucdir in processes in which a call that writes fails, or that die in one, and a judge of what they leave.

Used by `fail_writing.py`, `kill_writing.py` and `fail_allocations.py`. Calls are caught in the C library (faults.c,
built with `cc` and preloaded), which Python, safetensors' Rust and libvips' C all pass through. Linux only.
"""

from __future__ import annotations

import ctypes
import io
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COUNT, FAIL_ONCE, FAIL_FROM, DIE = range(4)
TEMPORARY = (".tmp", ".part")
Files = dict[str, bytes]


def preload() -> None:
    """Start this program again with faults.c preloaded and one thread, as forked processes need it."""
    if "UCDIR_FAULTS" in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="ucdir_faults_")
    library = Path(folder) / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    status = subprocess.run(
        [sys.executable, *sys.argv],
        env={**os.environ, "LD_PRELOAD": str(library), "UCDIR_FAULTS": folder, "OMP_NUM_THREADS": "1"},
        check=False,
    ).returncode
    shutil.rmtree(folder)
    sys.exit(status)


@dataclass(frozen=True)
class Done:
    """How a process ended."""

    status: int
    stderr: str
    calls: int  # that write below the folder
    allocations: int  # that are large


@dataclass(frozen=True)
class Command:
    """Something that writes files below a folder."""

    name: str
    run: Callable[[Path, Path], None]
    """(inputs, folder to write to) -> what it does; may raise SystemExit."""
    before: Callable[[Path, Path], None] = lambda _inputs, _work: None
    """Makes what lies in the folder before."""


def program(*arguments: str) -> Callable[[Path, Path], None]:
    """`ucdir` with arguments, in which {inputs} and {work} stand for folders."""

    def run(inputs: Path, work: Path) -> None:
        from ucdir.cli import main

        sys.argv = ["ucdir", *(a.format(inputs=inputs, work=work) for a in arguments)]
        main()

    return run


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory where there is one: thousands of fsync calls take hours on a busy disk."""
    memory = "/dev/shm"  # noqa: S108
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


def fork(
    function: Callable[[], None],
    arm: Callable[[ctypes.CDLL], None] = lambda _: None,
    kill_after: float | None = None,
) -> Done:
    """Run a function in a process of its own, armed with a fault, or killed from outside after so many seconds."""
    faults = ctypes.CDLL(None)
    faults.faults_calls.restype = faults.faults_allocations.restype = ctypes.c_long
    shared = mmap.mmap(-1, 16)
    with tempfile.TemporaryFile() as stderr:
        process = os.fork()
        if not process:
            code = 1
            try:
                with open(os.devnull, "rb+", buffering=0) as nowhere:  # noqa: PTH123
                    os.dup2(nowhere.fileno(), 0)
                    os.dup2(nowhere.fileno(), 1)
                os.dup2(stderr.fileno(), 2)
                arm(faults)
                function()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            except BaseException:  # noqa: BLE001 (as Python itself does)
                import traceback

                traceback.print_exc()
            finally:
                counts = (faults.faults_calls(), faults.faults_allocations())
                shared[:] = b"".join(count.to_bytes(8, "little") for count in counts)
                sys.stderr.flush()
                os._exit(code)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(process, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        stderr.seek(0)
        calls, allocations = (int.from_bytes(shared[at : at + 8], "little") for at in (0, 8))
        return Done(status, stderr.read().decode(errors="replace"), calls, allocations)


def armed(
    work: Path, action: int, number: int, error: int = 0, share: float = 0.5
) -> Callable[[ctypes.CDLL], None]:
    """What arms a process: call `number` (from 1) that writes below a folder fails with an error, or kills it."""
    return lambda faults: faults.faults_arm(
        os.fsencode(work), action, ctypes.c_long(number), error, ctypes.c_double(share)
    )


# ---------------------------------------------------------------------------------------------------- what is written


def files_of(folder: Path) -> Files:
    """The contents of all files below a folder, by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def is_temporary(name: str) -> bool:
    """Whether it is the name of something that is still being written."""
    return any(part.endswith(TEMPORARY) for part in Path(name).parts)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def is_whole(name: str, found: bytes, wanted: bytes | None) -> bool:
    """Whether a file's content is complete, where it may differ from the one of another run (steps, seconds)."""
    try:
        match Path(name).suffix:
            case ".json":
                json.loads(found)
            case (
                ".jsonl"
            ):  # appended line by line; one that a kill has cut is passed over by those who read them
                return sum(not _is_json(line) for line in found.splitlines()) <= 1
            case ".png":
                from PIL import Image

                Image.open(io.BytesIO(found)).load()
            case ".safetensors":
                from safetensors.numpy import load

                load(found)
            case ".csv" | ".md":
                return (
                    wanted is not None and found.count(b"\n") == wanted.count(b"\n") and found.endswith(b"\n")
                )
            case _:
                return False
    except Exception:  # noqa: BLE001 (whatever a damaged file raises)
        return False
    return True


def problems(before: Files, after: Files, reference: Files, *, killed: bool = False) -> list[str]:
    """What is wrong with the files that were left.

    Args:
        before: what was there.
        after: what is there now.
        reference: what a run without faults leaves.
        killed: whether the process died, and what is unfinished is left for the next run to remove.
    """
    found = [f"{name} is lost" for name in before if name not in after]
    for name, content in after.items():
        if is_temporary(name):
            found += [] if killed else [f"{name} is left behind"]
        elif content not in (before.get(name), reference.get(name)) and not is_whole(
            name, content, reference.get(name)
        ):
            found.append(f"{name} is half written ({len(content)} bytes)")
    models = {str(Path(n).parent) for n in after if n.endswith("model_index.json") and not is_temporary(n)}
    models |= {n.split("/")[0] for n in after if n.startswith("model/")}
    for model in models:
        found += [f"{n} is missing" for n in reference if n.startswith(f"{model}/") and n not in after]
    return found


# ----------------------------------------------------------------------------------------------------------- commands

COMMANDS = [
    Command(
        "restore, over an old file",
        program(
            "restore", "{inputs}/photo.jpg", "-o", "{work}/out.png", "--overwrite", "--model", "{inputs}/model",
            "--precision", "fp32", "--device", "cpu",
        ),
        lambda inputs, work: shutil.copy(inputs / "clean" / "0.png", work / "out.png") and None,
    ),
    Command(
        "restore, a new file",
        program(
            "restore", "{inputs}/photo.jpg", "-o", "{work}/out.tif", "--model", "{inputs}/model",
            "--precision", "fp32", "--device", "cpu",
        ),
    ),
    Command(
        "degrade, over an old file",
        program(
            "degrade", "{inputs}/clean/0.png", "-o", "{work}/out.jpg", "--task", "jpeg_restoration",
            "--strength", "10", "--force",
        ),
        lambda inputs, work: shutil.copy(inputs / "photo.jpg", work / "out.jpg") and None,
    ),
    Command("convert", program("convert", "{inputs}/checkpoint.pth", "-o", "{work}/model")),
    Command(
        "train --export, resumed",
        program("train", "{inputs}/four_steps.yaml", "-o", "{work}/run", "--export", "{work}/model"),
        lambda inputs, work: shutil.copytree(inputs / "run", work / "run") and None,
    ),
    Command(
        "train --export, from the start",
        program("train", "{inputs}/four_steps.yaml", "-o", "{work}/run", "--export", "{work}/model"),
    ),
    Command(
        "evaluate",
        program(
            "evaluate", "--clean", "{inputs}/clean", "--task", "jpeg_restoration", "--quality", "10", "--model",
            "{inputs}/model", "-o", "{work}/out", "--metrics", "psnr", "--limit", "2", "--json", "{work}/all.json",
        ),
        lambda inputs, work: (work / "all.json").write_text("{}\n") and None,
    ),
]  # fmt: skip


def naive(inputs: Path, work: Path) -> None:
    """The control: a writer as it should not be."""
    data = (inputs / "clean" / "1.png").read_bytes()
    with (work / "out.png").open("wb", buffering=0) as file:
        file.write(data[:1000])
        file.write(data[1000:])


NAIVE = Command("control", naive, COMMANDS[0].before)


def make_inputs(folder: Path) -> None:
    """Photos, a small model of random weights, a checkpoint of the release, and a training of two steps."""
    import numpy as np
    import torch

    from ucdir.cli import main
    from ucdir.config import ModelConfig
    from ucdir.config.pipeline import PipelineConfig
    from ucdir.degradations import JpegCompression
    from ucdir.images import Photo, write
    from ucdir.model.framework import build
    from ucdir.model.release import (
        ReleaseDiffusionModel,
        ReleaseDiffusionModelConfig,
        ReleasePredictor,
        ReleasePredictorConfig,
    )
    from ucdir.model.weights import save_model

    rng = np.random.default_rng(0)
    (folder / "clean").mkdir(parents=True)
    for number in range(4):
        pixels = rng.integers(0, 256, (48, 40, 3), dtype=np.uint8)
        write(Photo(pixels), folder / "clean" / f"{number}.png")
    (folder / "photo.jpg").write_bytes(JpegCompression(20).encode(pixels))
    torch.manual_seed(0)
    size = {"channels": 8, "multipliers": [1, 2], "blocks": [1, 1], "unshuffle": 2}
    networks = build(
        ModelConfig.model_validate(
            {"predictor": size, "diffusion_model": {**size, "kernel_bases": 2, "scalar_channels": 8}}
        )
    )
    save_model(folder / "model", *networks, PipelineConfig(task="jpeg_restoration", steps=1))
    release: tuple[Any, Any] = (
        ReleasePredictor(ReleasePredictorConfig(channels=8)),
        ReleaseDiffusionModel(ReleaseDiffusionModelConfig(channels=8)),
    )
    tensors = {
        f"{prefix}.{name}": tensor
        for prefix, network in zip(("predictor", "denoise_fn"), release, strict=True)
        for name, tensor in network.state_dict().items()
    }
    torch.save(tensors, folder / "checkpoint.pth")
    for name, steps in (("two_steps", 2), ("four_steps", 4)):
        (folder / f"{name}.yaml").write_text(
            f"data: {{photos: {folder / 'clean'}, crop: 16, hold_out: 1}}\n"
            f"model: {{predictor: {json.dumps(size)}, diffusion_model: {json.dumps({**size, 'kernel_bases': 2})}}}\n"
            f"training: {{steps: {steps}, decay_steps: 0, batch_size: 2, workers: 0, checkpoint_every: 1, "
            "sample_every: 2}\n"
        )
    sys.argv = ["ucdir", "train", str(folder / "two_steps.yaml"), "-o", str(folder / "run")]
    main()


class Bench:
    """A folder of inputs, and for each command what it finds and what it leaves without faults."""

    def __init__(self, folder: Path, commands: list[Command]) -> None:
        import torch  # noqa: F401 (once, and not in each process)

        import ucdir.cli
        import ucdir.evaluation
        import ucdir.images.decode
        import ucdir.training.export
        import ucdir.training.loop
        import ucdir.workflows.convert
        import ucdir.workflows.restore  # noqa: F401

        self.folder = folder
        done = fork(lambda: make_inputs(folder / "inputs"))
        if done.status:
            raise SystemExit(f"the inputs cannot be made: {done.stderr}")
        self.before: dict[str, Files] = {}
        self.reference: dict[str, Files] = {}
        self.calls: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        for command in commands:
            work = self.fresh(command)
            self.before[command.name] = files_of(work)
            began = time.monotonic()
            done = self.run(command, work, armed(work, COUNT, 0))
            if done.status:
                raise SystemExit(f"{command.name} fails without any fault: {done.stderr}")
            self.seconds[command.name] = time.monotonic() - began
            self.reference[command.name], self.calls[command.name] = files_of(work), done.calls

    def fresh(self, command: Command) -> Path:
        """The folder to write to, as it is before the command."""
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        command.before(self.folder / "inputs", work)
        return work

    def run(
        self,
        command: Command,
        work: Path,
        arm: Callable[[ctypes.CDLL], None] = lambda _: None,
        kill_after: float | None = None,
    ) -> Done:
        """The command in a process of its own."""
        return fork(lambda: command.run(self.folder / "inputs", work), arm, kill_after)

    def judge(self, command: Command, work: Path, *, killed: bool = False) -> list[str]:
        """What is wrong with the files now."""
        return problems(
            self.before[command.name], files_of(work), self.reference[command.name], killed=killed
        )

    def unfinished(self, command: Command, work: Path) -> list[str]:
        """What a finished command would have left, and is not there."""
        after = files_of(work)
        return [f"{name} is missing" for name in self.reference[command.name] if name not in after]


def sample(numbers: range, count: int | None, rng: random.Random) -> list[int]:
    """All of the numbers, or so many of them."""
    return list(numbers) if count is None or count >= len(numbers) else sorted(rng.sample(numbers, count))
