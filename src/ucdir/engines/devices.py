"""The device that a model runs on, and the precision that it calculates in."""

from __future__ import annotations

import torch

from ucdir.errors import ConfigError, DeviceError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""By name: what convolutions, matrix products and what passes between them are in. Images stay in float32."""


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
    except (RuntimeError, TypeError, ValueError):
        device = None
    if device is None or device.type not in there or (device.index or 0) >= count_devices(device.type):
        raise DeviceError(f"device {name!r} is not available; this machine has {', '.join(there)}.")
    return device


def count_devices(kind: str) -> int:
    """How many devices of a kind this machine has."""
    return torch.cuda.device_count() if kind == "cuda" else 1


def has_bf16(device: torch.device) -> bool:
    """Whether a device has native bf16 arithmetic, which is then faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # older versions of torch do not have it
    found: dict[str, object] = capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto` for bf16 where the device has it and fp32 elsewhere, or the one named.

    Raises:
        ConfigError: there is no such precision.
    """
    if name == "auto":
        name = "bf16" if has_bf16(device) else "fp32"
    if not isinstance(name, str) or name not in PRECISIONS:
        raise ConfigError(f"precision {name!r} is unknown; choose auto or one of {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]
