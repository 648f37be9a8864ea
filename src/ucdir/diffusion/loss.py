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


# ------------------------------------------- weights of noise levels, with σ² = (1-γ)/γ and the residual's variance s²

MAX_WEIGHT = 1000.0
"""Bound of the weight of a squared error; for noise it is met above σ = 32·s, for the residual below σ = 0.03."""


def _of_eq_1(sigma: Tensor, sigma_data: float) -> Tensor:
    """1."""
    return torch.ones_like(sigma)


def _edm(sigma: Tensor, sigma_data: float) -> Tensor:
    """1 + σ²/s² = V/(γs²), V = γs² + 1-γ: 1 over what the best linear guess of ε leaves (Karras et al. 2022, Table 1).

    It is the squared error of the network F within `model.diffusion_model.precondition`, so that all levels count
    alike. Eq. 1 hardly looks at high ones: there ε is nearly known, and the residual is not.
    """
    return 1 + (sigma / sigma_data) ** 2


WEIGHTINGS: dict[str, Callable[[Tensor, float], Tensor]] = {"noise": _of_eq_1, "edm": _edm}
"""Weight of the squared error of ε, by name: (σ, s) -> weight, like σ."""


def error_scale(level: Tensor, weighting: str, prediction: str, sigma_data: float) -> Tensor:
    """The factor of an error, whose square is the weight of a squared error, at levels √γ.

    An error of the residual makes 1/σ of it in ε, so a predicted residual has the weight of ε over σ².
    """
    sigma = torch.sqrt(1 - level**2) / level
    weight = WEIGHTINGS[weighting](sigma, sigma_data)
    if prediction == "residual":
        weight = weight / sigma**2
    return weight.clamp(max=MAX_WEIGHT).sqrt()


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
    signal: Tensor | None = None,  # a of `diffusion.path`, share of the residual in the state, [B]; None: 1
    weighting: str = "noise",  # a name in WEIGHTINGS
    prediction: str = "noise",  # a name in residual.PREDICTIONS: the output of f_θ, which is compared with the truth
    sigma_data: float = 0.0,  # s, for the weighting
) -> dict[str, Tensor]:
    """Losses by name, each a scalar tensor, to be minimised in sum: `noise` is Eq. 1, `predictor` that of u_φ."""
    guidance, predictor_loss = PREDICTOR_TRAINING[predictor_training](predictor(degraded).float(), clean)
    root_gamma = noise_level[:, None, None, None]
    residual = residual_scale * (clean - guidance)
    share = root_gamma if signal is None else root_gamma * signal[:, None, None, None]
    noisy = share * residual + torch.sqrt(1 - root_gamma**2) * noise
    predicted = diffusion_model(noisy, degraded, guidance, noise_level, scalars).float()
    scale = error_scale(root_gamma, weighting, prediction, sigma_data)
    target = {"noise": noise, "residual": residual}[prediction]
    return {"noise": LOSSES[loss](scale * predicted, scale * target), "predictor": predictor_loss}
