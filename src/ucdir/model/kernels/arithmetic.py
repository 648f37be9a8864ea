"""What a kernel calculates in, which under autocast is for it to decide."""

from __future__ import annotations

import torch


def autocast_dtype(device: str) -> torch.dtype | None:
    """The dtype of autocast on a kind of device; None where it is off."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None
