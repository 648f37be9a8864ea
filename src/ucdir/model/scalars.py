"""Auxiliary scalars (Sec. 3.1): what is known of the damage, as numbers, each with a learned "unknown"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

UNKNOWN = float("nan")
"""The value of a scalar that nobody knows."""


@dataclass(frozen=True)
class Scalar:
    """One auxiliary scalar: its unit and the range that is mapped to [0,1], in a straight line or by the logarithm."""

    unit: str
    low: float
    high: float
    logarithmic: bool = False

    def to_unit(self, value: Tensor) -> Tensor:
        """A value in its unit -> [0,1]; what lies outside the range is taken as its end, NaN as 0."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = value.clamp(min=low).log(), math.log(low), math.log(high)
        return ((value - low) / (high - low)).nan_to_num(0.0).clamp(0, 1)


SCALARS: dict[str, Scalar] = {
    "jpeg_quality": Scalar(unit="IJG quality, 1 to 100", low=0.0, high=100.0),
    "blur_type": Scalar(unit="0 motion, 1 out of focus", low=0.0, high=1.0),
    "blur_length": Scalar(unit="pixels", low=0.0, high=64.0),
    "exposure_ratio": Scalar(unit="times that light is amplified", low=1.0, high=1000.0, logarithmic=True),
    "gain": Scalar(unit="digital numbers an electron", low=0.1, high=1000.0, logarithmic=True),
    "noise_strength": Scalar(
        unit="deviation in mid-grey, 8-bit levels", low=1.0, high=128.0, logarithmic=True
    ),
}
"""By name; a task tells some of them."""


def sinusoidal(value: Tensor, channels: int) -> Tensor:
    """Sines and cosines of a number in [0,1] at frequencies from 1 to 1000: [B] -> [B,channels]."""
    octaves = torch.linspace(0, math.log(1000.0), channels // 2, device=value.device)
    angles = value.float()[:, None] * octaves.exp()[None] * math.pi
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ScalarEncoder(nn.Module):
    """Encode the noise level √γ and the auxiliary scalars into one vector that every block reads."""

    def __init__(self, names: tuple[str, ...], channels: int) -> None:
        super().__init__()
        self.names = names
        self.channels = channels
        self.unknown = nn.ParameterDict({name: nn.Parameter(torch.zeros(channels)) for name in names})
        self.linear = nn.ModuleDict({name: nn.Linear(channels, channels) for name in ("noise_level", *names)})

    def forward(self, noise_level: Tensor, scalars: Mapping[str, Tensor]) -> Tensor:
        """Noise levels √γ [B] in [0,1] and scalars [B] in their units (NaN: unknown) -> [B,channels]."""
        linear = self.linear["noise_level"]
        dtype = next(linear.parameters()).dtype  # angles are float32, whatever the weights are
        total: Tensor = linear(sinusoidal(noise_level, self.channels).to(dtype))
        for name in self.names:
            known = scalars.get(name)
            value = torch.full_like(noise_level, UNKNOWN) if known is None else known.to(noise_level)
            unknown = value.isnan()
            code = sinusoidal(SCALARS[name].to_unit(value), self.channels).to(dtype)
            code = torch.where(unknown[:, None], self.unknown[name], code)
            total = total + self.linear[name](code)
        return total
