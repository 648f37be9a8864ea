"""The residual that f_θ predicts: its output as it is, or Eq. 1 solved for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Array = Any
"""A NumPy array or a tensor."""


def _image_range(residual: Array, guidance: Array, scale: float) -> Array:
    """What keeps the restored image within [-1,1]."""
    return residual.clip(scale * (-1 - guidance), scale * (1 - guidance))


def _unit_range(residual: Array, guidance: Array, scale: float) -> Array:
    """[-1,1] whatever the guidance is: the authors' release."""
    return residual.clip(-scale, scale)


RESIDUAL_RANGES: dict[str, Callable[[Any, Any, float], Any]] = {"image": _image_range, "unit": _unit_range}
"""What a predicted residual is limited to: (residual, guidance, residual scale) -> residual."""


# ---------------------------------------- Eq. 1: noisy = √γ·residual + √(1-γ)·ε, solved for the residual


def _of_noise(noisy: Array, noise: Array, level: float) -> Array:
    return (noisy - (1 - level**2) ** 0.5 * noise) / level


def _itself(noisy: Array, residual: Array, level: float) -> Array:
    return residual


PREDICTIONS: dict[str, Callable[[Any, Any, float], Any]] = {"noise": _of_noise, "residual": _itself}
"""What the output of f_θ is, by name: (noisy residual, output, level √γ) -> the predicted residual."""


def predicted_residual(
    noisy: Array,
    output: Array,
    guidance: Array,
    level: float,
    residual_scale: float,
    residual_range: str = "image",
    prediction: str = "noise",
) -> Array:
    """The residual that f_θ predicts, limited to its range.

    Args:
        noisy: √γ·residual + √(1-γ)·ε, [B,3,H,W].
        output: of f_θ, [B,3,H,W].
        guidance: u_φ(x) in [-1,1], [B,3,H,W].
        level: √γ in (0,1).
        residual_scale: the residual was multiplied by it.
        residual_range: a name in `RESIDUAL_RANGES`.
        prediction: a name in `PREDICTIONS`.

    Returns:
        the predicted residual, still scaled, [B,3,H,W].
    """
    residual = PREDICTIONS[prediction](noisy, output, level)
    return RESIDUAL_RANGES[residual_range](residual, guidance, residual_scale)
