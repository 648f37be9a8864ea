"""Noise schedule (Sec. 4.2): T = 2000 steps, linear β, continuous noise levels in training.

A level is √γ, the share of the signal: the noisy residual is √γ·residual + √(1-γ)·ε. It runs from 1 (clean) at t = 0
to nearly 0 (pure noise) at t = T.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ConfigError


def sigma_of(level: float) -> float:
    """σ = √(1-γ)/√γ of a level √γ in (0,1]: the noise beside a whole residual."""
    return math.sqrt(max(0.0, 1 - level**2)) / level


def level_of(sigma: float) -> float:
    """√γ of σ."""
    return 1 / math.hypot(1, sigma)


class _Settings(Protocol):
    @property
    def timesteps(self) -> int: ...
    @property
    def beta_start(self) -> float: ...
    @property
    def beta_end(self) -> float: ...


@dataclass(frozen=True)
class NoiseSchedule:
    """β linear from `beta_start` to `beta_end` over `timesteps` steps, or any `betas`."""

    timesteps: int
    beta_start: float
    beta_end: float
    betas: tuple[float, ...] | None = None
    """One β for each step in place of the linear ones; their number is then T."""

    @classmethod
    def of(cls, config: _Settings) -> NoiseSchedule:
        """The schedule of a configuration of training, or of a model folder."""
        betas: tuple[float, ...] | None = getattr(config, "betas", None)
        timesteps = config.timesteps if betas is None else len(betas)
        return cls(timesteps, config.beta_start, config.beta_end, betas)

    def levels(self) -> NDArray[np.float64]:
        """√γ at t = 0 … T, where γ_t = Π_{s≤t} (1 - β_s): [T+1], falling from 1."""
        linear = np.linspace(self.beta_start, self.beta_end, self.timesteps)
        betas = linear if self.betas is None else np.asarray(self.betas)
        levels: NDArray[np.float64] = np.sqrt(np.concatenate([[1.0], np.cumprod(1.0 - betas)]))
        return levels

    def continuous_level(self, fraction: float) -> float:
        """√γ at t = fraction·T, between the whole steps by linear interpolation (continuous levels, [10])."""
        return float(np.interp(fraction * self.timesteps, np.arange(self.timesteps + 1), self.levels()))

    def steps_below(self, start_fraction: float) -> int:
        """How many of the T steps lie below `start_fraction`·T: the most that sampling from there can take."""
        return max(1, round(start_fraction * self.timesteps))

    def sampling_levels(self, steps: int, start_fraction: float = 1.0, spacing: str = "time") -> list[float]:
        """√γ at the beginning of each sampling step, then 1: [steps+1], rising.

        They are uniform in t (Sec. 4.2), or with the `spacing` "sigma" uniform in σ = √(1-γ)/√γ, from the same start.

        With a `start_fraction` below 1, sampling begins at residual 0 plus noise of the level there, which is right
        where the guidance is already near the clean image: earlier steps would only rediscover that the residual is
        small.

        Raises:
            ConfigError: there are fewer than `steps` steps below `start_fraction`·T.
        """
        first = self.steps_below(start_fraction)
        if steps > first:
            raise ConfigError(
                f"{steps} sampling steps are more than the {first} below start_fraction {start_fraction}; "
                "choose fewer steps, or a larger start_fraction."
            )
        if spacing == "sigma":
            start = float(self.levels()[first])
            sigmas = np.arange(steps - 1, 0, -1) * (sigma_of(start) / steps)
            return [start, *map(level_of, sigmas), 1.0]
        t = np.rint(np.arange(steps, 0, -1) * (first / steps)).astype(int)
        return [*map(float, self.levels()[t]), 1.0]

    def late_start(self, start_fraction: float) -> NoiseSchedule:
        """The first `start_fraction`·T steps as a schedule of their own; a linear schedule cut short is linear again.

        Sampling on it starts from residual 0 plus noise of the level at `start_fraction`·T.
        """
        steps = self.steps_below(start_fraction)
        if self.betas is not None:
            return NoiseSchedule(steps, self.beta_start, self.beta_end, self.betas[:steps])
        slope = (self.beta_end - self.beta_start) / max(1, self.timesteps - 1)
        return NoiseSchedule(steps, self.beta_start, self.beta_start + slope * (steps - 1))
