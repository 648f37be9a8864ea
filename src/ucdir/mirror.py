"""Images that go on beyond their border as in a mirror, however far."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored(part: slice, length: int, device: torch.device) -> Tensor:
    """Indices of a stretch that may reach beyond `length`: 0 1 2 | 1 0 1 2 … as a mirror in the last pixel gives."""
    period = max(2 * (length - 1), 1)
    index = torch.arange(part.start, part.stop, device=device) % period
    return torch.where(index < length, index, period - index)
