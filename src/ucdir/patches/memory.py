"""Patches that fit the memory: smaller ones where a device says that it is full, unless the user chose the size."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ucdir.errors import DeviceError

logger = logging.getLogger(__name__)

SHRINK = 2 / 3
"""What a side is multiplied by when the memory was too small; the area, and about the memory, by less than half."""


@dataclass
class PatchSize:
    """The longest side of a patch for one restoration: chosen, or as large as the memory has shown to hold.

    Noise is a function of its place, so a smaller patch changes nothing of the picture.
    """

    chosen: int | None
    """By the user; never changed."""
    limit: int | None = None
    """What was found to fit, once something did not."""

    def run(
        self, evaluate: Callable[[int], Tensor], automatic: int, smallest: int, device: torch.device
    ) -> Tensor:
        """Evaluate with patches of a size, and of a smaller one where the device's memory does not hold it.

        Args:
            evaluate: (longest side of a patch in pixels) -> result.
            automatic: the size to begin with where none was chosen.
            smallest: the size below which a patch makes no sense.
            device: for messages.

        Raises:
            DeviceError: the memory does not hold the chosen patch, or not even the smallest.
        """
        size = min(automatic, self.limit or automatic) if self.chosen is None else self.chosen
        while True:
            try:
                return evaluate(size)
            except torch.OutOfMemoryError as error:
                if self.chosen is not None or size <= smallest:
                    advice = f"choose a smaller patch size, down to {smallest}, or the device cpu"
                    raise DeviceError(
                        f"device {str(device)!r}: its memory does not hold patches of {size} pixels; "
                        f"{advice if size > smallest else 'choose the device cpu'}."
                    ) from error
            # outside of `except`, or the failed evaluation's tensors would live on in the traceback
            size = self.limit = max(smallest, int(size * SHRINK))
            if device.type == "cuda":
                torch.cuda.empty_cache()
            logger.warning("the memory of %s is full: going on with patches of %d pixels", device, size)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU C library has it


def trim_heap() -> None:
    """Give memory that is free, but lies between parts in use, back to the system.

    The C library keeps it, and from patch to patch and step to step the holes of freed feature maps add up.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)
