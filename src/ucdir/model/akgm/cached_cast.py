"""What a kernel calculates in, and the weights that it needs for that: made once, and not for every patch and step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import torch
from torch import Tensor, nn

_kept: Final[ContextVar[dict[Hashable, tuple[Tensor, Tensor]] | None]] = ContextVar("kept", default=None)


def autocast_dtype(device: str) -> torch.dtype | None:
    """The dtype of autocast on a kind of device; None where it is off."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None


def dtype_of(x: Tensor) -> torch.dtype:
    """What a kernel calculates in for an input: the dtype of autocast where it is on, else the input's own."""
    return autocast_dtype(x.device.type) or x.dtype


def needs_gradients(*arguments: Tensor) -> bool:
    """Whether a result of these will be asked for gradients."""
    return torch.is_grad_enabled() and any(argument.requires_grad for argument in arguments)


@contextmanager
def cached_casts(device: str) -> Iterator[None]:
    """While this is open, autocast makes its copies of weights once, and so does `once`; the weights must not change.

    Args:
        device: the kind of device that the networks are on.
    """
    token = _kept.set({})
    try:
        # autocast throws its copies away when the outermost of its contexts ends, be it one that changes nothing
        dtype = autocast_dtype(device)
        with torch.autocast(device, dtype, enabled=dtype is not None):
            yield
    finally:
        _kept.reset(token)


def cached_cast(weights: Tensor, what: Hashable, make: Callable[[], Tensor]) -> Tensor:
    """What `make` makes of a parameter; the same as before where `cached_casts` is open and it was made already."""
    kept = None if torch.compiler.is_compiling() else _kept.get()
    if kept is None or not isinstance(weights, nn.Parameter):
        return make()
    key = id(weights), what
    if key not in kept:
        kept[key] = weights, make()  # with the parameter, or another could get its id
    return kept[key][1]
