"""Samplers (Sec. 4.2): Eq. 1 backwards, as plain functions of a denoiser.

A sampler knows no network and no library. It takes

    denoise   (noisy residual x, level √γ) -> the residual predicted from it
    x         √γ₀·residual + √(1-γ₀)·ε: the noisy residual at the first level, [B,3,H,W], an array or a tensor
    levels    √γ of each step, rising, the last one 1, as `NoiseSchedule.sampling_levels` gives them
    noise     step -> ε ~ N(0, I) like x, for samplers that add noise: `NoiseByPlace`
    eta       share of the ancestral noise, for samplers that add noise
    on_step   called as (steps done, steps in all) after each step

and returns the residual.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from ucdir.diffusion.schedule import sigma_of
from ucdir.errors import ConfigError

Array = Any
"""A NumPy array or a tensor."""
Denoise = Callable[[Any, float], Any]
Noise = Callable[[int], Any]
OnStep = Callable[[int, int], None]


def _std(level: float) -> float:
    """√(1-γ), the standard deviation of the noise at level √γ."""
    return math.sqrt(max(0.0, 1 - level**2))


def _report(on_step: OnStep | None, step: int, levels: Sequence[float]) -> None:
    """Report that step number `step`, from 0, is done."""
    if on_step is not None:
        on_step(step + 1, len(levels) - 1)


# --------------------------------------- DDIM (Song et al. 2021), Eq. 12: √γ'·r + √(1-γ'-σ²)·ε_θ + σ·ε


def ddim(
    denoise: Denoise,
    x: Array,
    levels: Sequence[float],
    noise: Noise,
    *,
    eta: float,
    on_step: OnStep | None = None,
) -> Array:
    """DDIM: with eta = 0 deterministic, with eta = 1 the ancestral sampler.

    σ² = eta² · (1-γ')/(1-γ) · (1 - γ/γ'), which at eta = 1 is the variance of the posterior q(x' | x, r).
    """
    for step, (level, following) in enumerate(pairwise(levels)):
        residual = denoise(x, level)
        if following < 1:
            sigma = eta * _std(following) / _std(level) * _std(level / following)
            rest = max(0.0, 1 - following**2 - sigma**2) ** 0.5 / _std(
                level
            )  # of x - √γ·r, which is √(1-γ)·ε_θ
            x = following * residual + rest * (x - level * residual)
            if sigma > 0:
                x = x + sigma * noise(step + 1)
        else:
            x = residual
        _report(on_step, step, levels)
    return x


# ------------------------------------------ DDPM (Ho et al. 2020), Eq. 7: x' ~ q(x' | x, r), the paper's sampler


def ddpm(
    denoise: Denoise,
    x: Array,
    levels: Sequence[float],
    noise: Noise,
    *,
    eta: float,
    on_step: OnStep | None = None,
) -> Array:
    """Ancestral sampling, which is DDIM with all of the noise (Song et al. 2021, Sec. 4.1).

    Raises:
        ConfigError: eta is 0.
    """
    if eta == 0:
        raise ConfigError(
            "sampler 'ddpm' with eta 0 adds no noise, which is DDIM; choose eta 1, or the sampler 'ddim'."
        )
    return ddim(denoise, x, levels, noise, eta=eta, on_step=on_step)


# ------------------- Samplers of the probability-flow ODE, in x/√γ = r + σε with σ = √(1-γ)/√γ (Karras et al. 2022)
#                     and, by the same equation dx̂/dσ = (x̂ - r̂)/σ, of the straight path of `diffusion.path`


def euler(
    denoise: Denoise, x: Array, levels: Sequence[float], noise: Noise, *, on_step: OnStep | None = None
) -> Array:
    """Euler's method: d = (x - r)/σ, then x' = x + (σ' - σ)·d."""
    sigmas = [sigma_of(level) for level in levels]
    x = x / levels[0]
    for step, (level, sigma, following) in enumerate(zip(levels, sigmas, sigmas[1:], strict=False)):
        residual = denoise(level * x, level)
        x = residual + following / sigma * (x - residual)
        _report(on_step, step, levels)
    return levels[-1] * x


def heun(
    denoise: Denoise, x: Array, levels: Sequence[float], noise: Noise, *, on_step: OnStep | None = None
) -> Array:
    """Heun's method (Karras et al. 2022, Algorithm 1): the mean of d at both ends, in two forward passes."""
    sigmas = [sigma_of(level) for level in levels]
    x = x / levels[0]
    for step, (level, sigma, following) in enumerate(zip(levels, sigmas, sigmas[1:], strict=False)):
        d = (x - denoise(level * x, level)) / sigma
        ahead = x + (following - sigma) * d
        if following > 0:
            d_ahead = (ahead - denoise(levels[step + 1] * ahead, levels[step + 1])) / following
            ahead = x + (following - sigma) / 2 * (d + d_ahead)
        x = ahead
        _report(on_step, step, levels)
    return levels[-1] * x


# --------------------------------------------- DPM-Solver++(2M) (Lu et al. 2022), Algorithm 2, with λ = log(√γ/√(1-γ))


def dpm_solver_pp(
    denoise: Denoise, x: Array, levels: Sequence[float], noise: Noise, *, on_step: OnStep | None = None
) -> Array:
    """DPM-Solver++ of second order, multistep: with h = λ' - λ, x' = σ'/σ·x + (1 - e⁻ʰ)·D, in x/√γ.

    D = (1 + 1/2q)·r - 1/2q·r₋₁ with q = h₋₁/h; the first and the last step take D = r.
    """
    sigmas = [sigma_of(level) for level in levels]
    x = x / levels[0]
    previous: Any = None
    for step, (level, sigma, following) in enumerate(zip(levels, sigmas, sigmas[1:], strict=False)):
        residual = denoise(level * x, level)
        direction = residual
        if previous is not None and following > 0:
            halved = math.log(sigma / following) / (2 * math.log(sigmas[step - 1] / sigma))  # 1/2q
            direction = (1 + halved) * residual - halved * previous
        ratio = following / sigma  # e⁻ʰ
        x = ratio * x + (1 - ratio) * direction
        previous = residual
        _report(on_step, step, levels)
    return levels[-1] * x


SAMPLERS: dict[str, Callable[..., Any]] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "euler": euler,
    "heun": heun,
    "dpm_solver++": dpm_solver_pp,
}
"""By name, as `sampling.sampler` takes it."""


def adds_noise(name: str) -> bool:
    """Whether a sampler takes `eta`."""
    return "eta" in inspect.signature(SAMPLERS[name]).parameters


def start_sample(noise: Array, level: float, noise_scale: float = 1.0) -> Array:
    """The noisy residual that sampling starts from: residual 0 plus ε [B,3,H,W], times a scale, at level √γ."""
    return _std(level) * noise_scale * noise
