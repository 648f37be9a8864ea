"""The dtype that a kernel computes in, and weights cast to it once instead of for every tile and step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import torch
from torch import Tensor, nn

_cache: Final[ContextVar[dict[Hashable, tuple[Tensor, Tensor]] | None]] = ContextVar("cache", default=None)


def autocast_dtype(device: str) -> torch.dtype | None:
    """The dtype of autocast on a kind of device; None where it is off."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None


def compute_dtype(x: Tensor) -> torch.dtype:
    """What a kernel computes in: the dtype of autocast where it is on, otherwise that of its input."""
    return autocast_dtype(x.device.type) or x.dtype


def needs_gradients(*arguments: Tensor) -> bool:
    """Whether autograd is recording for any of these."""
    return torch.is_grad_enabled() and any(argument.requires_grad for argument in arguments)


@contextmanager
def cached_casts(device: str) -> Iterator[None]:
    """Inside, autocast and `cached_cast` make each copy of a weight once; the weights must not change.

    Args:
        device: the kind of device that the networks are on.
    """
    token = _cache.set({})
    try:
        # autocast drops its copies when the outermost of its contexts ends, even one that changes nothing
        dtype = autocast_dtype(device)
        with torch.autocast(device, dtype, enabled=dtype is not None):
            yield
    finally:
        _cache.reset(token)


def cached_cast(weights: Tensor, kind: Hashable, make: Callable[[], Tensor]) -> Tensor:
    """`make()`, a copy of `weights` of this kind; inside `cached_casts` a parameter's copy is made only once."""
    cache = None if torch.compiler.is_compiling() else _cache.get()
    if cache is None or not isinstance(weights, nn.Parameter):
        return make()
    key = id(weights), kind
    if key not in cache:
        cache[key] = weights, make()  # the parameter too, or another one could get its id
    return cache[key][1]
