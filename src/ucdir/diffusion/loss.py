"""Training loss (Sec. 3.1, Eq. 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "mse": F.mse_loss}
"""The norm of Eq. 1, as a mean over pixels. The paper's norm is not squared, and its release takes L1."""


def _joint(guidance: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """The paper: u_φ learns through Eq. 1 alone."""
    return guidance, guidance.new_zeros(())


def _separate(guidance: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """u_φ learns to be near the truth, |y - u_φ(x)|, and Eq. 1 takes its output as given."""
    return guidance.detach(), F.l1_loss(guidance, clean)


PREDICTOR_TRAINING: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "joint": _joint,
    "separate": _separate,
}
"""How the initial predictor learns: (u_φ(x), y) -> (guidance for Eq. 1, loss of its own)."""


# ------------------------------------------ Eq. 1: E ‖ f_θ( √γ (y - u_φ(x)) + √(1-γ) ε, x, γ ) - ε ‖


def residual_loss(
    predictor: Callable[[Tensor], Tensor],  # u_φ
    diffusion_model: Callable[[Tensor, Tensor, Tensor, Tensor, Mapping[str, Tensor]], Tensor],  # f_θ
    clean: Tensor,  # y [B,3,H,W] in [-1,1]
    degraded: Tensor,  # x [B,3,H,W] in [-1,1]
    noise: Tensor,  # ε ~ N(0, I), [B,3,H,W]
    noise_level: Tensor,  # √γ in (0,1], [B]
    scalars: Mapping[str, Tensor],  # auxiliary scalars, each [B]
    *,
    residual_scale: float,  # the residual is multiplied by it
    loss: str,  # a name in LOSSES
    predictor_training: str,  # a name in PREDICTOR_TRAINING
) -> dict[str, Tensor]:
    """Losses by name, each a scalar tensor: `noise` is Eq. 1, `predictor` that of u_φ; train on their sum."""
    guidance, predictor_loss = PREDICTOR_TRAINING[predictor_training](predictor(degraded).float(), clean)
    root_gamma = noise_level[:, None, None, None]
    residual = residual_scale * (clean - guidance)
    noisy = root_gamma * residual + torch.sqrt(1 - root_gamma**2) * noise
    predicted = diffusion_model(noisy, degraded, guidance, noise_level, scalars)
    return {"noise": LOSSES[loss](predicted.float(), noise), "predictor": predictor_loss}


def _image_range(residual: Tensor, guidance: Tensor, scale: float) -> Tensor:
    """What keeps the restored image within [-1,1]."""
    return residual.clamp(min=scale * (-1 - guidance), max=scale * (1 - guidance))


def _unit_range(residual: Tensor, guidance: Tensor, scale: float) -> Tensor:
    """[-1,1] whatever the guidance is: the authors' release."""
    return residual.clamp(-scale, scale)


RESIDUAL_RANGES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "image": _image_range,
    "unit": _unit_range,
}
"""What a predicted residual is limited to: (residual, guidance, residual scale) -> residual."""


def predicted_residual(
    noisy: Tensor,
    noise: Tensor,
    guidance: Tensor,
    noise_level: float,
    residual_scale: float,
    residual_range: str = "image",
) -> tuple[Tensor, Tensor]:
    """Eq. 1 solved for the residual, limited to its range.

    Args:
        noisy: √γ·residual + √(1-γ)·ε, [B,3,H,W].
        noise: the predicted ε, [B,3,H,W].
        guidance: u_φ(x), [B,3,H,W].
        noise_level: √γ in (0,1).
        residual_scale: the residual was multiplied by it.
        residual_range: a name in `RESIDUAL_RANGES`.

    Returns:
        the predicted residual, still scaled, and the noise that goes with it; each [B,3,H,W].
    """
    spread = (1 - noise_level**2) ** 0.5
    residual = (noisy - spread * noise) / noise_level
    residual = RESIDUAL_RANGES[residual_range](residual, guidance, residual_scale)
    return residual, (noisy - noise_level * residual) / spread
