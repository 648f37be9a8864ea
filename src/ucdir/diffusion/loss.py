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
    """u_φ is trained towards the clean image by |y - u_φ(x)|; for Eq. 1 its output is a constant."""
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
    """Losses by name, each a scalar tensor, to be minimised in sum: `noise` is Eq. 1, `predictor` that of u_φ."""
    guidance, predictor_loss = PREDICTOR_TRAINING[predictor_training](predictor(degraded).float(), clean)
    root_gamma = noise_level[:, None, None, None]
    residual = residual_scale * (clean - guidance)
    noisy = root_gamma * residual + torch.sqrt(1 - root_gamma**2) * noise
    predicted = diffusion_model(noisy, degraded, guidance, noise_level, scalars)
    return {"noise": LOSSES[loss](predicted.float(), noise), "predictor": predictor_loss}
