"""Noise schedule (Sec. 4.2): T = 2000 steps, linear β, continuous noise levels in training.

A level is √γ, the share of the signal: the noisy residual is √γ·residual + √(1-γ)·ε. It runs from 1 (clean) at t = 0
to nearly 0 (pure noise) at t = T.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ucdir.config import DiffusionConfig


@dataclass(frozen=True)
class NoiseSchedule:
    """β linear from `beta_start` to `beta_end` over `timesteps` steps."""

    timesteps: int
    beta_start: float
    beta_end: float

    @classmethod
    def of(cls, config: DiffusionConfig) -> NoiseSchedule:
        """The schedule of a configuration."""
        return cls(config.timesteps, config.beta_start, config.beta_end)

    def levels(self) -> NDArray[np.float64]:
        """√γ at t = 0 … T, where γ_t = Π_{s≤t} (1 - β_s): [T+1], falling from 1."""
        betas = np.linspace(self.beta_start, self.beta_end, self.timesteps)
        levels: NDArray[np.float64] = np.sqrt(np.concatenate([[1.0], np.cumprod(1.0 - betas)]))
        return levels

    def continuous_level(self, fraction: float) -> float:
        """√γ at t = fraction·T, between the whole steps by linear interpolation (continuous levels, [10])."""
        return float(np.interp(fraction * self.timesteps, np.arange(self.timesteps + 1), self.levels()))

    def late_start(self, start: float) -> NoiseSchedule:
        """The first `start`·T steps as a schedule of their own.

        A linear schedule cut short is linear again. Sampling on it starts from residual 0 plus noise of the level at
        `start`·T, which is right where the guidance is already near the truth: the first steps of the whole schedule
        would only rediscover that the residual is small.
        """
        steps = max(1, round(start * self.timesteps))
        slope = (self.beta_end - self.beta_start) / max(1, self.timesteps - 1)
        return NoiseSchedule(steps, self.beta_start, self.beta_start + slope * (steps - 1))
