"""Fast forms of the AKGM (Eq. 2), each equal to `model.akgm.akgm_reference`."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Final

import torch
from torch import Tensor

from ucdir.errors import ConfigError
from ucdir.model.kernels.arithmetic import autocast_dtype
from ucdir.model.kernels.grouped import akgm_grouped
from ucdir.model.kernels.strips import akgm_strips

__all__ = ["KERNELS", "akgm_grouped", "akgm_strips", "chosen_kernel"]

logger = logging.getLogger(__name__)

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
SHORT: Final = (torch.bfloat16, torch.float16)
"""Types of 16 bits."""
KERNEL_VARIABLE: Final = "UCDIR_KERNEL"
"""Environment variable that names the kernel of networks that are built from now on."""


def _grouped() -> Kernel:
    return akgm_grouped


@cache  # so that one network warns once
def _fused() -> Kernel:
    """The Triton kernel on GPUs; `grouped` on other devices, for N that it does not take, and without Triton."""
    if importlib.util.find_spec("triton") is None:
        logger.warning("%s=fused: triton is not installed; the grouped form is taken", KERNEL_VARIABLE)
        return akgm_grouped
    from ucdir.model.kernels.fused import akgm_fused, fits

    def fused_where_it_fits(x: Tensor, mixing: Tensor, bases: Tensor) -> Tensor:
        form = akgm_fused if x.is_cuda and fits(mixing, bases) else akgm_grouped
        return form(x, mixing, bases)

    return fused_where_it_fits


@cache
def _auto() -> Kernel:
    """In 16 bits the Triton kernel on GPUs and, without gradients, `strips` on CPUs; `grouped` in all other cases."""
    with_triton = importlib.util.find_spec("triton") is not None

    def fastest(x: Tensor, mixing: Tensor, bases: Tensor) -> Tensor:
        dtype = autocast_dtype(x.device.type) or x.dtype
        form: Kernel = akgm_grouped
        if dtype in SHORT and not torch.compiler.is_compiling():
            if x.is_cuda and with_triton:
                form = _fused()
            elif x.device.type == "cpu" and not torch.is_grad_enabled():
                form = akgm_strips
        return form(x, mixing, bases)

    return fastest


KERNELS: dict[str, Callable[[], Kernel]] = {"auto": _auto, "grouped": _grouped, "fused": _fused}
"""By name; what makes them is called when a network is built."""


def chosen_kernel() -> Kernel:
    """The kernel named by UCDIR_KERNEL, `auto` by default.

    Raises:
        ConfigError: no kernel has that name.
    """
    name = os.environ.get(KERNEL_VARIABLE) or "auto"
    if name not in KERNELS:
        raise ConfigError(f"{KERNEL_VARIABLE} {name!r} is unknown; choose one of {', '.join(KERNELS)}.")
    return KERNELS[name]()
