"""Adaptive Kernel Guidance Module (Sec. 3.2, Eq. 2) exactly as the paper writes it: what the fast forms must equal."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# ------------------------------------------------------------------------------ Eq. 2: F_ij = Σ_b M_ij[b] W_b


def full_bases(bases: Tensor, count: int) -> Tensor:
    """Grouped kernel bases as the full kernels W_b of Eq. 2, zero between groups.

    Args:
        bases: [C·N, C/N, k, k]. Row c·N + b is the kernel of basis b for output channel c; it sees the C/N
            input channels of the group that c belongs to.
        count: N.

    Returns:
        [N,C,C,k,k].
    """
    width, k = bases.shape[1], bases.shape[-1]
    channels = width * count
    by_basis = bases.view(channels, count, width, k, k).transpose(0, 1)
    full = bases.new_zeros(count, channels, channels, k, k)
    for start in range(0, channels, width):
        group = slice(start, start + width)
        full[:, group, group] = by_basis[:, group]
    return full


def akgm_reference(x: Tensor, fusion_weights: Tensor, bases: Tensor) -> Tensor:
    """Convolve every pixel with its own kernel F_ij.

    It holds one kernel per pixel, so it is slow and takes much memory: for tests only.

    Args:
        x: features [B,C,H,W].
        fusion_weights: M = G·S, [B,N,H,W].
        bases: [C·N, C/N, k, k], see `full_bases`.

    Returns:
        [B,C,H,W]; zeros are read beyond the border.
    """
    batch, channels, height, width = x.shape
    k = bases.shape[-1]
    if batch > 1:
        return torch.cat(
            [akgm_reference(x[i : i + 1], fusion_weights[i : i + 1], bases) for i in range(batch)]
        )
    kernels = torch.einsum("nhw,nocij->hwocij", fusion_weights[0], full_bases(bases, fusion_weights.shape[1]))
    neighbours = F.unfold(x, k, padding=k // 2).view(channels, k, k, height, width)
    return torch.einsum("hwocij,cijhw->ohw", kernels, neighbours).unsqueeze(0)
