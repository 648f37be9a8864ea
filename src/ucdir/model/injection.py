"""Conditional Integration Module (Sec. 3.2): how a block takes up guidance and scalars."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ucdir.model.kernels import akgm_grouped
from ucdir.model.layers import SimpleGate

GATE_CHANNELS = 16
"""Channels of the guidance branch before its gate; small, so that the branch costs next to nothing."""


class Akgm(nn.Module):
    """CIM with the Adaptive Kernel Guidance Module: the block's second convolution, made per pixel.

    G = conv(SimpleGate(conv(guidance))) of [B,N,H,W] and S = Linear(Swish(Linear(scalars))) of [B,N] give the
    fusion weights M = G·S, and M mixes N kernel bases into one kernel a pixel (Eq. 2).
    """

    def __init__(self, channels: int, *, kernel_bases: int, scalar_channels: int) -> None:
        super().__init__()
        n = kernel_bases
        self.guidance = nn.Sequential(
            nn.Conv2d(3, GATE_CHANNELS, 1), SimpleGate(), nn.Conv2d(GATE_CHANNELS // 2, n, 3, padding=1)
        )
        self.scalars = nn.Sequential(
            nn.Linear(scalar_channels, scalar_channels), nn.SiLU(), nn.Linear(scalar_channels, n)
        )
        self.bases = nn.Parameter(torch.randn(channels * n, channels // n, 3, 3) * (9 * channels) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(channels))
        # M starts near 1: at first the bases simply add up to one ordinary convolution.
        nn.init.ones_(self.guidance[2].bias)  # type: ignore[arg-type]
        nn.init.ones_(self.scalars[2].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """x [B,C,H,W], guidance image of the same height and width [B,3,H,W], scalars [B,D] -> [B,C,H,W]."""
        g = self.guidance(guidance)
        s = self.scalars(scalars)
        m = g * s[:, :, None, None]
        return akgm_grouped(x, m, self.bases) + self.bias[:, None, None]


INJECTIONS: dict[str, Callable[..., nn.Module]] = {"akgm": Akgm}
