"""Layers that are chosen by name: norms, activations, and the changes of resolution of a UNet."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def init_normal_(parameter: Tensor, std: float) -> None:
    """Fill a parameter from N(0, std²), unless it is on the device "meta".

    There is nothing to fill there, and arithmetic on that device imports torch._dynamo, which takes seconds.
    """
    if not parameter.is_meta:
        nn.init.normal_(parameter, std=std)


# ----------------------------------------------------------------------------------------- norms (Sec. 3.2)


class LayerNorm(nn.Module):
    """LayerNorm over the channels of each pixel: local, so that a patch sees what the whole image sees."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W] of mean 0 and variance 1 over C, then scaled and shifted."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return x.permute(0, 3, 1, 2)


def groups_of_32(channels: int) -> int:
    """How many groups of about 32 channels."""
    return max(1, channels // 32)


class GroupNorm(nn.GroupNorm):
    """GroupNorm of 32 channels a group, over the whole image: the alternative of Table 4."""

    def __init__(self, channels: int) -> None:
        super().__init__(groups_of_32(channels), channels)


class NoNorm(nn.Identity):
    """No norm: the alternative of Table 4."""

    def __init__(self, channels: int) -> None:
        super().__init__()


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer_norm": LayerNorm,
    "group_norm": GroupNorm,
    "none": NoNorm,
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"swish": nn.SiLU, "relu": nn.ReLU}


class SimpleGate(nn.Module):
    """One half of the channels times the other (NAFNet)."""

    def forward(self, x: Tensor) -> Tensor:
        """[B,2C,H,W] -> [B,C,H,W]."""
        a, b = x.chunk(2, dim=1)
        return a * b


# -------------------------------------------------------------------------------------- changes of resolution


class Downsample(nn.Conv2d):
    """Half the resolution: each output pixel looks at its own 2x2 pixels and no others."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)


class Upsample(nn.Module):
    """Twice the resolution: each pixel becomes 2x2 pixels through a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4 * out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C',2H,2W]."""
        return F.pixel_shuffle(self.conv(x), 2)
