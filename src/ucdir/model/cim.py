"""Conditional Integration Module (Sec. 3.2): how a block takes up guidance and scalars, and the others of Table 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ucdir.model.akgm.dispatch import chosen_kernel
from ucdir.model.layers import SimpleGate

GATE_CHANNELS = 16
"""Channels of the guidance branch before its gate; small, so that the branch costs next to nothing."""


def guidance_branch(guidance_channels: int, channels: int, kernel_size: int) -> nn.Sequential:
    """conv(SimpleGate(conv(guidance))): [B,C',H,W] -> [B,C,H,W]."""
    last = nn.Conv2d(GATE_CHANNELS // 2, channels, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(nn.Conv2d(guidance_channels, GATE_CHANNELS, 1), SimpleGate(), last)


def scalar_branch(scalar_channels: int, channels: int) -> nn.Sequential:
    """Linear(Swish(Linear(scalars))): [B,D] -> [B,C]."""
    return nn.Sequential(
        nn.Linear(scalar_channels, scalar_channels), nn.SiLU(), nn.Linear(scalar_channels, channels)
    )


class Akgm(nn.Module):
    """CIM with the Adaptive Kernel Guidance Module: the block's second convolution, made per pixel.

    G = conv(SimpleGate(conv(guidance))) of [B,N,H,W] and S = Linear(Swish(Linear(scalars))) of [B,N] give the
    fusion weights M = G·S, and M mixes N kernel bases into one kernel a pixel (Eq. 2). Without spatial guidance
    (no guidance channels) M = S at every pixel.
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
        self.bases = nn.Parameter(torch.randn(channels * n, channels // n, 3, 3) * (9 * channels) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(channels))
        # M starts near 1: at first the bases simply add up to one ordinary convolution.
        nn.init.ones_(self.scalars[2].bias)  # type: ignore[arg-type]
        if self.guidance is not None:
            nn.init.ones_(self.guidance[2].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """x [B,C,H,W], guidance of the same height and width [B,C',H,W], scalars [B,D] -> [B,C,H,W]."""
        m = self.scalars(scalars)[:, :, None, None]
        m = m.expand(-1, -1, *x.shape[2:]) if self.guidance is None else self.guidance(guidance) * m
        out = self.kernel(x, m, self.bases)
        return out + self.bias[:, None, None].to(out.dtype)  # or under autocast the sum would be float32


# ------------------------------------------------------------------------- alternatives (Sec. 4.7, Table 4)


class Conditions(nn.Module):
    """Guidance and scalars as features that an ordinary convolution can take: the sum of one branch for each."""

    guidance: nn.Sequential | None

    def __init__(self, channels: int, *, guidance_channels: int, scalar_channels: int) -> None:
        super().__init__()
        self.guidance = guidance_branch(guidance_channels, channels, 1) if guidance_channels else None
        self.scalars = scalar_branch(scalar_channels, channels)

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """[B,C,H,W] with the height and width of x."""
        s: Tensor = self.scalars(scalars)[:, :, None, None]
        if self.guidance is None:
            return s.expand(-1, -1, *x.shape[2:])
        return s + self.guidance(guidance)  # type: ignore[no-any-return]


class Conditioned(nn.Module):
    """conv(joined(x, c)) of features x and conditions c; how they are joined is the siblings' own."""

    condition_channels: ClassVar[int] = 1
    """Channels of the conditions, in those of the features."""
    joined_channels: ClassVar[int] = 1
    """Channels of what the convolution takes, in those of the features."""
    joined: Callable[[Tensor, Tensor], Tensor]

    def __init__(
        self, channels: int, *, guidance_channels: int, kernel_bases: int, scalar_channels: int
    ) -> None:
        super().__init__()
        self.conditions = Conditions(
            self.condition_channels * channels,
            guidance_channels=guidance_channels,
            scalar_channels=scalar_channels,
        )
        self.conv = nn.Conv2d(self.joined_channels * channels, channels, 3, padding=1)

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """See `Akgm`."""
        return self.conv(self.joined(x, self.conditions(x, guidance, scalars)))  # type: ignore[no-any-return]


class Addition(Conditioned):
    """The conditions are added to the features: conv(x + c)."""

    @staticmethod
    def joined(x: Tensor, c: Tensor) -> Tensor:
        """See `Conditioned`."""
        return x + c


class Concatenation(Conditioned):
    """The conditions, as many channels as the features, stand beside them: conv([x, c])."""

    joined_channels = 2

    @staticmethod
    def joined(x: Tensor, c: Tensor) -> Tensor:
        """See `Conditioned`."""
        return torch.cat([x, c], dim=1)


class AdaIN(Conditioned):
    """The conditions scale and shift the normalised features (Huang and Belongie 2017): conv((1 + γ)·x + β).

    With spatial guidance γ and β are of each pixel, else of the whole image.
    """

    condition_channels = 2

    @staticmethod
    def joined(x: Tensor, c: Tensor) -> Tensor:
        """See `Conditioned`."""
        scale, shift = c.chunk(2, dim=1)
        return (1 + scale) * x + shift


INJECTIONS: dict[str, Callable[..., nn.Module]] = {
    "akgm": Akgm,
    "addition": Addition,
    "concatenation": Concatenation,
    "adain": AdaIN,
}
