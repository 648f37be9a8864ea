"""Training loss (Sec. 3.1, Eq. 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "mse": F.mse_loss}
"""The norm of Eq. 1, as a mean over pixels. The paper's norm is not squared, and its release takes L1."""

ROUNDING = (2 / 255) ** 2 / 12
"""Mean squared error of rounding to 8 bits, in [-1,1]: 59 dB."""


# ----------------------------------------------------------------------------- the initial predictor u_φ (Sec. 3.1)


def psnr_loss(guidance: Tensor, clean: Tensor) -> Tensor:
    """-PSNR in 100 dB, a mean over images [B,3,H,W] in [-1,1]: a scalar tensor.

    A dB counts alike in a crop that is hardly degraded and in one that is beyond repair, which a distance mostly sees
    (Chen et al. 2021). In this unit it is about as steep as the L1 distance of an ordinary image.
    """
    squared = (guidance - clean).square().mean(dim=(1, 2, 3))
    return torch.log10((squared + ROUNDING) / 4).mean() / 10


PREDICTOR_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "psnr": psnr_loss}
"""The predictor's own loss: (u_φ(x), y) -> scalar tensor."""


def _joint(guidance: Tensor, clean: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """The paper: u_φ learns through Eq. 1 alone."""
    return guidance, guidance.new_zeros(())


def _separate(guidance: Tensor, clean: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """u_φ is trained towards the clean image by a loss of its own; for Eq. 1 its output is a constant."""
    return guidance.detach(), PREDICTOR_LOSSES[loss](guidance, clean)


PREDICTOR_TRAINING: dict[str, Callable[[Tensor, Tensor, str], tuple[Tensor, Tensor]]] = {
    "joint": _joint,
    "separate": _separate,
}
"""How u_φ learns: (u_φ(x), y, a name in PREDICTOR_LOSSES) -> (guidance for Eq. 1, its own loss)."""


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
    predictor_loss: str = "l1",  # a name in PREDICTOR_LOSSES
    signal: Tensor | None = None,  # a of `diffusion.path`, share of the residual in the state, [B]; None: 1
    weighting: str = "noise",  # a name in WEIGHTINGS
    prediction: str = "noise",  # a name in residual.PREDICTIONS: the output of f_θ, which is compared with the truth
    sigma_data: float = 0.0,  # s, for the weighting
) -> dict[str, Tensor]:
    """Losses by name, each a scalar tensor, to be minimised in sum: `noise` is Eq. 1, `predictor` that of u_φ."""
    train = PREDICTOR_TRAINING[predictor_training]
    guidance, own_loss = train(predictor(degraded).float(), clean, predictor_loss)
    root_gamma = noise_level[:, None, None, None]
    residual = residual_scale * (clean - guidance)
    share = root_gamma if signal is None else root_gamma * signal[:, None, None, None]
    noisy = share * residual + torch.sqrt(1 - root_gamma**2) * noise
    predicted = diffusion_model(noisy, degraded, guidance, noise_level, scalars).float()
    scale = error_scale(root_gamma, weighting, prediction, sigma_data)
    target = {"noise": noise, "residual": residual}[prediction]
    return {"noise": LOSSES[loss](scale * predicted, scale * target), "predictor": own_loss}
