"""The device that a model runs on."""

from __future__ import annotations

import torch

from ucdir.errors import DeviceError


def available() -> list[str]:
    """The kinds of device of this machine, the fastest first."""
    kinds = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind, there in kinds.items() if there]


def choose_device(name: str) -> torch.device:
    """`auto` for the fastest device, or the one named.

    Raises:
        DeviceError: there is no such device.
    """
    there = available()
    if name == "auto":
        return torch.device(there[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in there or (device.index or 0) >= _count(device.type):
        raise DeviceError(f"device {name!r} is not available; this machine has {', '.join(there)}.")
    return device


def _count(kind: str) -> int:
    return torch.cuda.device_count() if kind == "cuda" else 1
