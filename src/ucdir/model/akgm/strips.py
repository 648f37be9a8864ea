"""The AKGM (Eq. 2) on processors that multiply matrices in 16 bits: all of it made of what these are fast at.

There a convolution takes a third of the time that it takes in float32, or less, and what is left is the weighted sum.
So that is a matrix product too: the outputs of the N bases, weighted by M, times N identity matrices of C/N rows one
above the other,

    out[p, g·C/N + c] = Σ_b (M[p,b] · A[p,g,b,c]) · 1,      A the N·C outputs of the convolution at pixel p,

products rounded to 16 bits, sums in float32. One convolution in N groups gives A for a strip of rows, so that N·C
channels are held of a strip and never of the image. No gradients: training takes `kernels.grouped`.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from ucdir.model.akgm.cached_cast import cached_cast, dtype_of
from ucdir.model.akgm.grouped import weights_by_group

NUMBERS: Final = 2**22
"""Of A in a strip, at the most: more is slower, as the system clears the memory of larger arrays each time."""
ROWS: Final = 16
"""Least rows of a strip: two more are convolved than are kept."""


def akgm_strips(x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
    """Eq. 2 at every pixel; arguments and result as in `model.akgm.akgm_reference`.

    Under autocast all is of its dtype. The result is in the channels-last memory format, and has no gradient.
    """
    dtype = dtype_of(x)
    x = x.to(dtype).contiguous(memory_format=torch.channels_last)
    count, width = fusion_weights.shape[1], bases.shape[1]
    kernels = cached_cast(bases, ("strips", count, dtype), lambda: _kernels(bases, count, dtype))
    m = fusion_weights.to(dtype).permute(0, 2, 3, 1)
    adding = torch.eye(width, dtype=dtype, device=x.device).repeat(count, 1)
    batch, channels, height, _ = x.shape
    result = x.new_empty(batch, height, x.shape[3], channels)
    border = bases.shape[-1] // 2
    step = max(ROWS, NUMBERS // (count * channels * x.shape[3]))
    for image, its_m, into in zip(x, m, result, strict=True):
        for top in range(0, height, step):
            bottom = min(top + step, height)
            first = max(top - border, 0)
            seen = image[None, :, first : bottom + border]
            made = F.conv2d(seen, kernels, padding=border, groups=count).permute(0, 2, 3, 1)
            made = made[0, top - first : bottom - first].reshape(bottom - top, -1, count, count * width)
            weights = its_m[top:bottom].unsqueeze(-1).expand(-1, -1, -1, width).flatten(2)
            made *= weights.unsqueeze(2)
            torch.matmul(made.flatten(0, 2), adding, out=into[top:bottom].view(-1, width))
    return result.permute(0, 3, 1, 2)


def _kernels(bases: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Bases as one convolution in N groups takes them, group by group and in it basis by basis: [C·N, C/N, k, k]."""
    return weights_by_group(bases.detach(), count).flatten(0, 1).to(dtype, memory_format=torch.channels_last)
