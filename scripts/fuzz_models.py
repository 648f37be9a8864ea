"""Loads mutated model folders and checkpoints in watched processes, restores with what loads, and counts the faults.

    python scripts/fuzz_models.py --count 2000 --seed 0

Every case is a function of its kind and number: `python scripts/fuzz_models.py --only "settings 17"` repeats one. Exits
with 1 where something crashes, gives a traceback, takes over 1 s or more than 300 MB, or a result is not finite or, of
sound weights with changed settings, one colour.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import os
import random
import shutil
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import supervised
from supervised import Tally

BASE_VARIABLE = "UCDIR_FUZZ_BASE"
"""Environment variable with the folder that holds the sound model and checkpoints."""
SLOW_SECONDS = 1.0
MOST_MEGABYTES = 300.0

SETTINGS_FILES = (
    "model_index.json", "predictor/config.json", "diffusion_model/config.json", "scheduler/scheduler_config.json",
)  # fmt: skip
WEIGHTS_FILES = tuple(
    f"{name}/diffusion_pytorch_model.safetensors" for name in ("predictor", "diffusion_model")
)
NUMBERS = (
    0, 1, -1, 2, 3, 7, 64, 255, 4096, 4097, 2**31, 2**53, 2**63, 10**30, 0.0, -0.0, 0.5, 1.0, 1e-320, 1e-30, 1e-6, 1e30,
    1e308, math.nan, math.inf, -math.inf,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *NUMBERS, None, True, False, "", "0.5", "nan", "epsilon", "v_prediction", "sample", "ddim", "heun", "linear",
    "é\u202e\0", "x" * 5000,
    [], {}, [1], [0.5] * 50, [1] * 12, [64] * 12, [[[]]], {"a": 1}, ["diffusers", "DDIMScheduler"], ["os", "system"],
)  # fmt: skip
EXTRA_KEYS = (
    "noise", "start", "default_steps", "betas", "timesteps", "_class_name", "rescale_betas_zero_snr", "thresholding",
    "use_karras_sigmas", "clip_sample", "steps_offset", "final_sigmas_type", "sigma_max", "__class__", "sampler",
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- mutations


def mutate_value(value: Any, rng: random.Random) -> Any:
    """Another value in the place of one of a JSON file."""
    if isinstance(value, list) and value and rng.random() < 0.6:
        changed = list(value)
        changed[rng.randrange(len(changed))] = rng.choice(VALUES)
        return changed
    if isinstance(value, (int, float)) and not isinstance(value, bool) and rng.random() < 0.5:
        return rng.choice((value * 2, value * -1, value + 1, value / 2, value * 1000, str(value), [value]))
    return rng.choice(VALUES)


def mutate_settings(values: dict[str, Any], rng: random.Random) -> None:
    """Change, remove or add up to three keys."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        key = rng.choice(sorted(values)) if values else "a"
        match rng.randrange(8):
            case 0:
                values.pop(key, None)
            case 1:
                values[rng.choice(EXTRA_KEYS)] = rng.choice(VALUES)
            case _:
                values[key] = mutate_value(values.get(key), rng)


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, insert or overwrite some bytes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data) + 1) if rng.random() < 0.5 else rng.randrange(min(len(data), 3000) + 1)
        match rng.randrange(7):
            case 0 | 1 | 2 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 3:
                del data[at:]
            case 4:
                del data[at : at + rng.choice((1, 2, 4, 100))]
            case 5:
                data[at:at] = rng.choice(
                    (b"\0", b"\xff" * 8, b"}", b".", data[max(0, at - 40) : at], rng.randbytes(9))
                )
            case _:
                data[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 255, 2**31, 2**32 - 1)))
    return bytes(data)


def mutate_header(content: bytes, rng: random.Random) -> bytes:
    """Change the header of a safetensors file."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = content[8 : 8 + length], content[8 + length :]
    if rng.random() < 0.3:
        return content[:8] + mutate_bytes(header, rng) + data
    entries = json.loads(header)
    name = rng.choice(sorted(entries))
    entry = entries[name]
    match rng.randrange(6):
        case 0:
            entries[rng.choice(("extra", "", "../x", "a" * 10_000))] = entries.pop(name)
        case 1:
            entries["extra"] = copy.deepcopy(entry)
        case 2 if "shape" in entry:
            entry["shape"] = rng.choice(
                ([], [0], [-1], [2**62, 4], [1] * 500, mutate_value(entry["shape"], rng))
            )
        case 3 if "dtype" in entry:
            entry["dtype"] = rng.choice(("F16", "BF16", "F64", "I64", "BOOL", "F8_E4M3", "C64", "X", 3, None))
        case 4 if "data_offsets" in entry:
            entry["data_offsets"] = mutate_value(entry["data_offsets"], rng)
        case _:
            entries[name] = rng.choice(VALUES)
    header = json.dumps(entries).encode("utf-8", "surrogatepass")
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", rng.choice((len(header),) * 9 + (2**63, 0))) + header + data


def mutate_weights(content: bytes, rng: random.Random) -> bytes:
    """Change numbers of a safetensors file, leaving its header."""
    start = 8 + struct.unpack("<Q", content[:8])[0]
    data = bytearray(content)
    for _ in range(rng.choice((1, 3, 30, 1000))):
        at = start + rng.randrange((len(data) - start) // 4) * 4
        number = rng.choice((math.nan, math.inf, -math.inf, 3e38, -3e38, 1e30, 1e10, 1e-40, 0.0, 1e4, -1e4))
        data[at : at + 4] = struct.pack("<f", number)
    if rng.random() < 0.2:
        data[start:] = struct.pack("<f", rng.choice((1e30, 1e6, 10.0, 0.0, -1.0))) * (
            (len(data) - start) // 4
        )
    return bytes(data)


def mutate_checkpoint(content: bytes, rng: random.Random) -> bytes:
    """Change the pickle in a zip file and zip it anew; others are changed as they are."""
    if not content.startswith(b"PK") or rng.random() < 0.3:
        return mutate_bytes(content, rng)
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(changed, "w") as after:
        for entry in before.infolist():
            record = before.read(entry)
            if entry.filename.endswith("data.pkl"):
                record = mutate_bytes(record, rng) if rng.random() < 0.8 else mutate_pickle(record, rng)
            elif rng.random() < 0.01:
                record = mutate_bytes(record, rng)
            if rng.random() < 0.999:
                after.writestr(
                    entry.filename, record, rng.choice((zipfile.ZIP_STORED,) * 20 + (zipfile.ZIP_DEFLATED,))
                )
    return changed.getvalue()


def mutate_pickle(pickled: bytes, rng: random.Random) -> bytes:
    """Put opcodes of another kind into a pickle."""
    at = rng.randrange(2, len(pickled))
    opcodes = (
        b"0", b"2", b"N", b"(", b"t", b"R", b"Q", b"b", b"}", b"]", b"e", b"u", b"s", b"\x85", b"\x87",
        b"h\x00", b"q\x00",
        b"cbuiltins\nbytearray\n", b"ccollections\nOrderedDict\n", b"J\xff\xff\xff\x7f",
        b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
        b"X\xff\xff\xff\xff", b"K\x00", b"G\x7f\xf8\0\0\0\0\0\0", b"r\xff\xff\xff\xff",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
    )  # fmt: skip
    return pickled[:at] + b"".join(rng.choices(opcodes, k=rng.choice((1, 2, 5)))) + pickled[at:]


def change(
    folder: Path, names: tuple[str, ...], rng: random.Random, mutate: Callable[[bytes, random.Random], bytes]
) -> None:
    """Mutate one of some files of a folder."""
    file = folder / rng.choice(names)
    file.write_bytes(mutate(file.read_bytes(), rng))


def change_settings(folder: Path, names: tuple[str, ...], rng: random.Random) -> None:
    """Mutate one of some JSON files of a folder."""
    file = folder / rng.choice(names)
    values = json.loads(file.read_text())
    mutate_settings(values, rng)
    file.write_bytes(json.dumps(values).encode("utf-8", "surrogatepass"))


def change_files(folder: Path, rng: random.Random) -> None:
    """Remove, replace or damage a file as a whole."""
    names = (*SETTINGS_FILES, *WEIGHTS_FILES)
    file = folder / rng.choice(names)
    match rng.randrange(4):
        case 0:
            file.unlink()
        case 1:
            shutil.copyfile(folder / rng.choice([name for name in names if folder / name != file]), file)
        case 2:
            file.unlink()
            file.mkdir()
        case _:
            file.write_bytes(mutate_bytes(file.read_bytes(), rng))


# ------------------------------------------------------------------------------------------------------- worker


def do_one(job: str) -> object:
    """`KIND NUMBER` -> how many pixels of the result are not finite, and whether it is one colour."""
    import numpy as np
    import torch

    from ucdir.pipeline import load

    torch.set_num_threads(1)
    kind, number = job.split()
    rng, base = random.Random(job), Path(os.environ[BASE_VARIABLE])  # noqa: S311 (a test needs no secret)
    with tempfile.TemporaryDirectory(dir=base) as place:
        folder = Path(place, "model")
        if kind == "checkpoint":
            return convert_one(base / ("zip.pth", "legacy.pth")[int(number) % 2], folder, rng)
        shutil.copytree(base / "model", folder)
        match kind:
            case "settings" | "adapter":
                change_settings(
                    folder, SETTINGS_FILES[-1 if kind == "adapter" and rng.random() < 0.7 else 0 :], rng
                )
            case "header":
                change(folder, WEIGHTS_FILES, rng, mutate_header)
            case "weights":
                change(folder, WEIGHTS_FILES, rng, mutate_weights)
            case _:
                change_files(folder, rng)
        image = np.random.default_rng(0).random((24, 20, 3), dtype=np.float32)
        if kind == "adapter":
            from ucdir.diffusers import RestorationPipeline

            pipe = RestorationPipeline.from_pretrained(folder)
            pipe.set_progress_bar_config(disable=True)
            restored = pipe(image, min(pipe.config.steps, 2), output_type="np").images
        else:
            pipeline = load(folder, "cpu", "fp32")
            restored = pipeline(image, steps=min(pipeline.config.steps, 2))
    one_colour = kind in ("settings", "adapter") and float(np.ptp(restored)) == 0
    return [int((~np.isfinite(restored)).sum()), one_colour]


def convert_one(checkpoint: Path, folder: Path, rng: random.Random) -> object:
    """Convert a mutated checkpoint and load what comes of it."""
    from ucdir.model.weights import load_model
    from ucdir.workflows.convert import convert

    file = folder.with_suffix(checkpoint.suffix)
    file.write_bytes(mutate_checkpoint(checkpoint.read_bytes(), rng))
    convert(file, folder)
    load_model(folder)
    return [0, False]


def make_base(base: Path) -> None:
    """A small sound model folder, and small sound checkpoints of the authors' architecture."""
    import torch

    from ucdir.config import ModelConfig
    from ucdir.config.pipeline import PipelineConfig
    from ucdir.model.framework import build
    from ucdir.model.release import (
        ReleaseDiffusionModel,
        ReleaseDiffusionModelConfig,
        ReleasePredictor,
        ReleasePredictorConfig,
    )
    from ucdir.model.weights import save_model

    torch.manual_seed(0)
    predictor = {"channels": 8, "multipliers": [1, 2], "blocks": [1, 1], "unshuffle": 2}
    model = ModelConfig.model_validate(
        {"predictor": predictor, "diffusion_model": {**predictor, "kernel_bases": 2, "scalar_channels": 16}}
    )
    networks = build(model)
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter.normal_(0, 0.1)
    save_model(base / "model", *networks, PipelineConfig(steps=2, start_fraction=0.4, residual_scale=5.0))
    released = {
        "predictor.": ReleasePredictor(ReleasePredictorConfig(channels=8)),
        "denoise_fn.": ReleaseDiffusionModel(ReleaseDiffusionModelConfig(channels=8)),
    }
    state = {
        prefix + name: t for prefix, network in released.items() for name, t in network.state_dict().items()
    }
    state["betas"] = torch.linspace(1e-3, 0.4, 8, dtype=torch.float64)
    torch.save(state, base / "zip.pth")
    torch.save(state, base / "legacy.pth", _use_new_zipfile_serialization=False)


# --------------------------------------------------------------------------------------------------------- main

SHARES = {
    "settings": ("settings of model folders", 7),
    "adapter": ("settings, through the adapter of diffusers", 2),
    "header": ("headers of weights", 3),
    "weights": ("weights", 2),
    "files": ("files of model folders", 2),
    "checkpoint": ("checkpoints", 4),
}
"""Kinds, their names in the table and how many twentieths of the cases they are."""


def main() -> int:
    """Print the table; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--only", help="one case, KIND NUMBER")
    given = parser.parse_args()
    jobs = [given.only] if given.only else [
        f"{kind} {given.seed + number}"
        for kind, (_, share) in SHARES.items() for number in range(given.count * share // 20)
    ]  # fmt: skip
    tallies = {kind: Tally(name) for kind, (name, _) in SHARES.items()}
    refused = 0
    with tempfile.TemporaryDirectory() as base:
        os.environ[BASE_VARIABLE] = base
        make_base(Path(base))
        for outcome in supervised.outcomes(jobs):
            wrong = outcome.kind == "done" and outcome.text != "[0, false]"
            refused += outcome.kind == "refused"
            tallies[outcome.job.split()[0]].add(outcome, wrong=wrong, slow_seconds=SLOW_SECONDS)
            odd = outcome.kind not in ("done", "refused") or "\n" in outcome.text or len(outcome.text) > 4000
            if (
                given.only
                or odd
                or wrong
                or outcome.seconds > SLOW_SECONDS
                or outcome.megabytes > MOST_MEGABYTES
            ):
                print(
                    f"{outcome.kind}: {outcome.job}: {outcome.text[-1500:]} ({outcome.seconds:.2f} s)",
                    file=sys.stderr,
                )
    done = [tally for tally in tallies.values() if tally.jobs]
    print(
        f"{len(jobs)} cases from {given.seed} on, {refused} of them refused, {datetime.now(UTC):%Y-%m-%d}\n"
    )
    supervised.print_table(done, SLOW_SECONDS, "NaN or one colour")
    return int(any(tally.failed(MOST_MEGABYTES) for tally in done))


if __name__ == "__main__":
    warm_up = [f"{kind} -1" for kind in SHARES]
    sys.exit(supervised.serve(do_one, warm_up) if sys.argv[1:] == ["--worker"] else main())
