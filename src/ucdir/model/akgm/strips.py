"""The AKGM (Eq. 2) on CPUs that multiply matrices in 16 bits: nothing but convolutions and matrix products.

On these a convolution takes at most a third of its time in float32, and the weighted sum over the bases would take
most of what is left. So the sum is a matrix product too: the outputs of the N bases, weighted by M, times N identity
matrices of C/N rows, stacked,

    out[p, g·C/N + c] = Σ_b (M[p,b] · A[p,g,b,c]) · 1,      A the N·C outputs of the convolution at pixel p,

with products rounded to 16 bits and sums in float32. One convolution in N groups gives A for a strip of rows, so
that N·C channels are held for a strip and never for the image. There are no gradients: training uses `grouped`.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from ucdir.model.akgm.cached_cast import cached_cast, compute_dtype
from ucdir.model.akgm.grouped import weights_by_group

MAX_ELEMENTS: Final = 2**22
"""Of A in a strip; more is slower, as the operating system clears larger arrays every time they are allocated."""
MIN_ROWS: Final = 16
"""Of a strip: its convolution also computes the row above and the row below, which are then dropped."""


def akgm_strips(x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
    """Eq. 2 at every pixel; arguments and result as in `reference.akgm_reference`, without gradients.

    Everything is in the dtype of autocast where it is on. The result is in the channels-last memory format.
    """
    dtype = compute_dtype(x)
    x = x.to(dtype).contiguous(memory_format=torch.channels_last)
    count, width = fusion_weights.shape[1], bases.shape[1]
    kernels = cached_cast(bases, ("strips", count, dtype), lambda: _kernels(bases, count, dtype))
    m = fusion_weights.to(dtype).permute(0, 2, 3, 1)
    identities = torch.eye(width, dtype=dtype, device=x.device).repeat(count, 1)
    batch, channels, height, _ = x.shape
    result = x.new_empty(batch, height, x.shape[3], channels)
    border = bases.shape[-1] // 2
    step = max(MIN_ROWS, MAX_ELEMENTS // (count * channels * x.shape[3]))
    for image, image_m, into in zip(x, m, result, strict=True):
        for top in range(0, height, step):
            bottom = min(top + step, height)
            first = max(top - border, 0)
            rows = image[None, :, first : bottom + border]
            a = F.conv2d(rows, kernels, padding=border, groups=count).permute(0, 2, 3, 1)
            a = a[0, top - first : bottom - first].reshape(bottom - top, -1, count, count * width)
            weights = image_m[top:bottom].unsqueeze(-1).expand(-1, -1, -1, width).flatten(2)
            a *= weights.unsqueeze(2)
            torch.matmul(a.flatten(0, 2), identities, out=into[top:bottom].view(-1, width))
    return result.permute(0, 3, 1, 2)


def _kernels(bases: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Bases as weights of one convolution in N groups, in each group basis by basis: [C·N, C/N, k, k]."""
    return weights_by_group(bases.detach(), count).flatten(0, 1).to(dtype, memory_format=torch.channels_last)
