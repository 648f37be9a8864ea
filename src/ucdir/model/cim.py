"""Conditional Integration Module, CIM (Sec. 3.2): conditions a block on guidance and scalars; its alternatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ucdir.model.akgm.dispatch import chosen_kernel
from ucdir.model.layers import SimpleGate, init_normal_

GATE_CHANNELS = 16
"""Channels of the guidance branch before its gate; few, so that the branch costs next to nothing."""


def guidance_branch(guidance_channels: int, channels: int, kernel_size: int) -> nn.Sequential:
    """conv(SimpleGate(conv(guidance))): [B,C',H,W] -> [B,C,H,W]."""
    last = nn.Conv2d(GATE_CHANNELS // 2, channels, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(nn.Conv2d(guidance_channels, GATE_CHANNELS, 1), SimpleGate(), last)


def scalar_branch(scalar_channels: int, channels: int) -> nn.Sequential:
    """Linear(Swish(Linear(embedding))): [B,D] -> [B,C]."""
    return nn.Sequential(
        nn.Linear(scalar_channels, scalar_channels), nn.SiLU(), nn.Linear(scalar_channels, channels)
    )


# --------------------------------------------- Sec. 3.2 and Eq. 2: F_ij = Σ_b M_ij[b] W_b with M_ij = G_ij · S


class AdaptiveKernelGuidance(nn.Module):
    """CIM with the Adaptive Kernel Guidance Module (AKGM): a convolution whose kernel differs from pixel to pixel.

    G = conv(SimpleGate(conv(guidance))) of [B,N,H,W] and S = Linear(Swish(Linear(scalars))) of [B,N] give the
    fusion weights M = G·S, which fuse N kernel bases into the kernel of each pixel (Eq. 2). Without spatial guidance
    (0 guidance channels) M = S at every pixel.
    """

    guidance: nn.Sequential | None

    def __init__(
        self, channels: int, *, guidance_channels: int, kernel_bases: int, scalar_channels: int
    ) -> None:
        super().__init__()
        n = kernel_bases
        self.kernel = chosen_kernel()
        self.guidance = guidance_branch(guidance_channels, n, 3) if guidance_channels else None
        self.scalars = scalar_branch(scalar_channels, n)
        self.bases = nn.Parameter(torch.empty(channels * n, channels // n, 3, 3))
        init_normal_(self.bases, (9 * channels) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(channels))
        # M starts near 1, so that the bases at first add up to one ordinary convolution
        nn.init.ones_(self.scalars[2].bias)  # type: ignore[arg-type]
        if self.guidance is not None:
            nn.init.ones_(self.guidance[2].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """Features [B,C,H,W], guidance [B,C',H,W] and embedding of the scalars [B,D] -> [B,C,H,W]."""
        m = self.scalars(scalars)[:, :, None, None]
        m = m.expand(-1, -1, *x.shape[2:]) if self.guidance is None else self.guidance(guidance) * m
        out = self.kernel(x, m, self.bases)
        return out + self.bias[:, None, None].to(
            out.dtype
        )  # without `to`, autocast would make the sum float32


# ------------------------------------------------------------------------------- alternatives (Sec. 4.7, Table 4)


class ConditionBranch(nn.Module):
    """Guidance and scalars as features c for an ordinary convolution: the sum of one branch for each."""

    guidance: nn.Sequential | None

    def __init__(self, channels: int, *, guidance_channels: int, scalar_channels: int) -> None:
        super().__init__()
        self.guidance = guidance_branch(guidance_channels, channels, 1) if guidance_channels else None
        self.scalars = scalar_branch(scalar_channels, channels)

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """[B,C,H,W], with the height and width of x."""
        s: Tensor = self.scalars(scalars)[:, :, None, None]
        if self.guidance is None:
            return s.expand(-1, -1, *x.shape[2:])
        return s + self.guidance(guidance)  # type: ignore[no-any-return]


class ConditionedConvolution(nn.Module):
    """conv(merged(x, c)): base of the alternatives, which differ in how they merge features x and conditions c."""

    condition_channels: ClassVar[int] = 1
    """Channels of c, as a multiple of those of x."""
    merged_channels: ClassVar[int] = 1
    """Channels of the convolution's input, as a multiple of those of x."""
    merged: Callable[[Tensor, Tensor], Tensor]

    def __init__(
        self, channels: int, *, guidance_channels: int, kernel_bases: int, scalar_channels: int
    ) -> None:
        super().__init__()
        self.conditions = ConditionBranch(
            self.condition_channels * channels,
            guidance_channels=guidance_channels,
            scalar_channels=scalar_channels,
        )
        self.conv = nn.Conv2d(self.merged_channels * channels, channels, 3, padding=1)

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """Features [B,C,H,W], guidance [B,C',H,W] and embedding of the scalars [B,D] -> [B,C,H,W]."""
        return self.conv(self.merged(x, self.conditions(x, guidance, scalars)))  # type: ignore[no-any-return]


class Addition(ConditionedConvolution):
    """conv(x + c)."""

    @staticmethod
    def merged(x: Tensor, c: Tensor) -> Tensor:
        """x + c, [B,C,H,W]."""
        return x + c


class Concatenation(ConditionedConvolution):
    """conv([x, c]), with as many channels of c as of x."""

    merged_channels = 2

    @staticmethod
    def merged(x: Tensor, c: Tensor) -> Tensor:
        """[x, c], [B,2C,H,W]."""
        return torch.cat([x, c], dim=1)


class AdaIN(ConditionedConvolution):
    """conv((1 + γ)·x + β): c scales and shifts the normalised features (Huang and Belongie 2017).

    With spatial guidance γ and β differ from pixel to pixel; without it they are those of the whole image.
    """

    condition_channels = 2

    @staticmethod
    def merged(x: Tensor, c: Tensor) -> Tensor:
        """(1 + γ)·x + β, [B,C,H,W], from c = [γ, β]."""
        scale, shift = c.chunk(2, dim=1)
        return (1 + scale) * x + shift


INJECTIONS: dict[str, Callable[..., nn.Module]] = {
    "akgm": AdaptiveKernelGuidance,
    "addition": Addition,
    "concatenation": Concatenation,
    "adain": AdaIN,
}
