"""The memory of the C library, which keeps what was freed."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


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
