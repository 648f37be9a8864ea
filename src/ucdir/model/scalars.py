"""Embedding of the noise level and of the auxiliary scalars (Sec. 3.1), each with a learned "unknown"."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ucdir.tasks.scalars import SCALARS, UNKNOWN, Scalar


def to_unit_interval(scalar: Scalar, value: Tensor) -> Tensor:
    """Values in the scalar's unit -> [0,1] on its scale; what lies beyond it becomes its end, NaN becomes 0."""
    low, high = scalar.scale
    if scalar.logarithmic:
        value, low, high = value.clamp(min=low).log(), math.log(low), math.log(high)
    return ((value - low) / (high - low)).nan_to_num(0.0).clamp(0, 1)


def sinusoidal(value: Tensor, channels: int) -> Tensor:
    """Sines and cosines of a number in [0,1] at frequencies from 1 to 1000: [B] -> [B,channels]."""
    octaves = torch.linspace(0, math.log(1000.0), channels // 2, device=value.device)
    angles = value.float()[:, None] * octaves.exp()[None] * math.pi
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ScalarEncoder(nn.Module):
    """Embedding of the noise level √γ and the auxiliary scalars: one vector, given to every block."""

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
            embedding = sinusoidal(to_unit_interval(SCALARS[name], value), self.channels).to(dtype)
            embedding = torch.where(unknown[:, None], self.unknown[name], embedding)
            total = total + self.linear[name](embedding)
        return total
