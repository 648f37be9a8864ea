"""A checkpoint as a few small files, for machines that give back no larger ones: half its size, and nearly exact.

    weights float32, average float16, exp_avg bfloat16, exp_avg_sq bfloat16 of the parameters that have one

Training resumes from them, but not to the bit.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ucdir.errors import OutputError, WeightsError, reason
from ucdir.images.atomic import sync, temporary_folder
from ucdir.model.folder import check_free

DTYPES = {
    "weights": torch.float32,
    "average": torch.float16,
    "exp_avg": torch.bfloat16,
    "exp_avg_sq": torch.bfloat16,
}
NAME = "state-{:02}-of-{:02}.safetensors"
HEADER = 1 << 19
"""Bytes of a file that are left for the names in it."""


def split_checkpoint(checkpoint: Path, folder: Path, max_bytes: int = 16 << 20) -> list[Path]:
    """Write a checkpoint as files of at most `max_bytes` each.

    Raises:
        WeightsError: it cannot be read, or one of its tensors alone is too large.
        OutputError: the folder is not empty, or cannot be written.
    """
    check_free(folder)
    metadata, tensors = _read(checkpoint)
    parts: list[dict[str, Tensor]] = []
    room = 0
    for name, tensor in tensors.items():
        part = name.split(".", 1)[0]
        if part not in DTYPES:
            raise WeightsError(f"{checkpoint}: is not a training's checkpoint (it holds {name[:80]!r}).")
        if part == "exp_avg_sq" and not tensor.any():  # Muon's weights have none
            continue
        small = tensor.to(DTYPES[part])
        if small.nbytes > max_bytes - HEADER:
            raise WeightsError(
                f"{checkpoint}: {name} alone is larger than {max_bytes} bytes; allow larger files."
            )
        if small.nbytes > room:
            parts.append({})
            room = max_bytes - HEADER
        parts[-1][name] = small
        room -= small.nbytes
    files = [folder / NAME.format(n, len(parts)) for n in range(1, len(parts) + 1)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, tensors in zip(files, parts, strict=True):
            save_file(tensors, file, metadata=metadata)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{folder}: the state cannot be written ({reason(error)}); make room.") from None
    return files


def join_checkpoint(folder: Path, checkpoint: Path) -> None:
    """Make a checkpoint of what `split_checkpoint` wrote.

    Raises:
        WeightsError: a file is missing or damaged.
        OutputError: the checkpoint exists, or cannot be written.
    """
    if checkpoint.exists():
        raise OutputError(f"{checkpoint}: exists already; name another folder.")
    found = sorted(folder.glob(NAME.format(0, 0).replace("00", "??")))
    count = int(found[0].stem[-2:]) if found else 0
    if not count or [file.name for file in found] != [NAME.format(n, count) for n in range(1, count + 1)]:
        raise WeightsError(
            f"{folder}: holds no whole state, {len(found)} of {count or 'its'} files; fetch all of them."
        )
    metadata: dict[str, str] = {}
    tensors: dict[str, Tensor] = {}
    for file in found:
        metadata, part = _read(file)
        tensors |= {name: tensor.float() for name, tensor in part.items()}
    for name in [name for name in tensors if name.startswith("weights.")]:
        second = name.replace("weights", "exp_avg_sq", 1)
        tensors.setdefault(second, torch.zeros_like(tensors[name]))
    try:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(checkpoint.parent) as scratch:
            unfinished = scratch / checkpoint.name
            save_file(tensors, unfinished, metadata=metadata)
            sync(unfinished)
            unfinished.replace(checkpoint)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{checkpoint}: cannot be written ({reason(error)}); make room.") from None


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
            return file.metadata() or {}, tensors
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: is not a training's state, or is damaged ({reason(error)}).") from None
