"""Which form of the AKGM (Eq. 2) runs; all are equal to `reference.akgm_reference`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import Final

import torch
from torch import Tensor

from ucdir.errors import ConfigError, reason
from ucdir.model.akgm.cached_cast import compute_dtype
from ucdir.model.akgm.grouped import akgm_grouped
from ucdir.model.akgm.strips import akgm_strips

logger = logging.getLogger(__name__)

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
KERNEL_VARIABLE: Final = "UCDIR_KERNEL"
"""Environment variable that names the kernel of networks that are built from now on."""


def akgm_auto(x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
    """Eq. 2 in the form that is fastest here.

    On GPUs in 16 bits the Triton kernel; on CPUs in bf16, without gradients, `strips`; in all other cases `grouped`.
    """
    dtype = compute_dtype(x)
    form: Kernel = akgm_grouped
    if not torch.compiler.is_compiling():
        if x.is_cuda and dtype in (torch.bfloat16, torch.float16):
            form = akgm_fused_or_grouped
        elif x.device.type == "cpu" and dtype == torch.bfloat16 and not torch.is_grad_enabled():
            form = akgm_strips
    return form(x, fusion_weights, bases)


def akgm_fused_or_grouped(x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
    """Eq. 2 by the Triton kernel on GPUs; by `grouped` on other devices, for N that it cannot do, without Triton."""
    if not x.is_cuda or not _triton_works(x.get_device()):
        return akgm_grouped(x, fusion_weights, bases)
    from ucdir.model.akgm.triton import akgm_fused, fits

    return (akgm_fused if fits(x, fusion_weights, bases) else akgm_grouped)(x, fusion_weights, bases)


@cache  # tried, and logged, once for each GPU
def _triton_works(device: int) -> bool:
    """Whether Triton is installed and can compile a kernel for a GPU, for which it needs a C compiler."""
    try:
        from ucdir.model.akgm.triton import akgm_fused

        x, fusion_weights, bases = (
            torch.zeros(shape, dtype=torch.bfloat16, device=torch.device("cuda", device))
            for shape in ((1, 4, 1, 1), (1, 2, 1, 1), (8, 2, 3, 3))
        )
        akgm_fused(x, fusion_weights, bases)
    except Exception as error:  # noqa: BLE001 (whatever it is, the grouped form runs)
        logger.warning("Triton cannot compile its kernel (%s); using the slower grouped form", reason(error))
        return False
    return True


KERNELS: dict[str, Kernel] = {"auto": akgm_auto, "grouped": akgm_grouped, "fused": akgm_fused_or_grouped}
"""By name; functions of a module, so that networks can be pickled."""


def chosen_kernel() -> Kernel:
    """The kernel named by UCDIR_KERNEL, `auto` by default.

    Raises:
        ConfigError: no kernel has that name.
    """
    name = os.environ.get(KERNEL_VARIABLE) or "auto"
    if name not in KERNELS:
        raise ConfigError(f"{KERNEL_VARIABLE} {name!r} is unknown; choose one of {', '.join(KERNELS)}.")
    return KERNELS[name]
