"""Paths from noise to the residual r: the states that f_θ is trained on.

A state is x̂ = a·r + σε with σ = √(1-γ)/√γ and the share a of the signal; f_θ is given √γ·x̂ and √γ. On both paths a
deterministic sampler solves the same equation, dx̂/dσ = (x̂ - r̂)/σ, so samplers need not know the path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ucdir.diffusion.schedule import NoiseSchedule, level_of, sigma_of

Array = Any
"""A NumPy array or a tensor."""


class Path(Protocol):
    """Which states there are, and how training draws them."""

    def level(self, fraction: float, *, focus: float = 1.0) -> float:
        """√γ at a fraction of the way from r to the noise, which training draws uniformly from [0,1]; `focus` is the
        part of T that it is cut to, where the path is that of T."""

    def signal(self, level: Array) -> Array:
        """a at levels √γ of any shape."""


# -------------------------------------------------------------------------------------- Eq. 1: x̂ = r + σε


@dataclass(frozen=True)
class DiffusionPath:
    """The paper's: the residual is whole at each level, and t is uniform in (0,T]."""

    schedule: NoiseSchedule
    start_fraction: float

    def level(self, fraction: float, *, focus: float = 1.0) -> float:
        """√γ at t = fraction·focus·T."""
        return self.schedule.continuous_level(fraction * focus)

    def signal(self, level: Array) -> Array:
        """1."""
        return level**0


# --------------------- posterior-mean rectified flow (Ohayon et al. 2024): x̂ = t·r + (1-t)·σ₀ε, t uniform in [0,1]


@dataclass(frozen=True)
class StraightPath:
    """From residual 0 plus noise of `start_fraction`·T, which is exactly where sampling starts, straight to r.

    With σ₀ = σ there and t = 1 - σ/σ₀, a is t. The loss of the paper named above is that of the velocity r - σ₀ε, which
    is the squared error of r̂ divided by (1-t)² = σ²/σ₀²: up to a constant, the weighting `noise` of `diffusion.loss`.

    In one point it is not that paper's: f_θ is given x and u_φ(x) beside the state, so a perfect one samples what
    could have been there, with twice the squared error of the mean (3 dB of PSNR), and not the nearest natural image.
    `fidelity` and a smaller `noise_scale` lie between.
    """

    schedule: NoiseSchedule
    start_fraction: float

    @property
    def sigma_start(self) -> float:
        """σ₀."""
        return sigma_of(self.schedule.sampling_levels(1, self.start_fraction)[0])

    def level(self, fraction: float, *, focus: float = 1.0) -> float:
        """√γ at σ = fraction·σ₀; the path ends where sampling starts, so there is nothing to focus on."""
        return level_of(fraction * self.sigma_start)

    def signal(self, level: Array) -> Array:
        """1 - σ/σ₀; 0 where sampling starts."""
        return (1 - (1 - level**2) ** 0.5 / level / self.sigma_start).clip(0)


PATHS: dict[str, Callable[[NoiseSchedule, float], Path]] = {
    "diffusion": DiffusionPath,
    "straight": StraightPath,
}
"""By name: (noise schedule, fraction of T that sampling starts from) -> path."""
