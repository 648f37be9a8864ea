"""Diffusion model f_θ (Sec. 3.1, 3.2): noisy residual, degraded image and conditions -> noise, or residual."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ucdir.config import DiffusionModelConfig
from ucdir.model.block import BLOCKS
from ucdir.model.network import Network
from ucdir.model.scalars import ScalarEncoder
from ucdir.model.spatial_guidance import SPATIAL_GUIDANCE, guidance_pyramid
from ucdir.model.unet import UNet


class DiffusionModel(Network):
    """UNet of basic modules, each conditioned on the guidance image and the scalars."""

    config: DiffusionModelConfig

    def __init__(self, config: DiffusionModelConfig) -> None:
        super().__init__(config)
        self.sigma_data = config.sigma_data
        self.prediction = config.prediction
        self.scalar_names = config.scalars
        self.scalar_encoder = ScalarEncoder(config.scalars, config.scalar_channels)
        self.guide = SPATIAL_GUIDANCE[config.spatial_guidance]
        self.unet = UNet(6, 3, config, lambda width: BLOCKS[config.block](width, config))
        self.multiple_of, self.receptive_field = self.unet.multiple_of, self.unet.receptive_field

    def forward(
        self,
        noisy: Tensor,
        degraded: Tensor,
        guidance: Tensor,
        noise_level: Tensor,
        scalars: Mapping[str, Tensor],
    ) -> Tensor:
        """f_θ of Eq. 1.

        Args:
            noisy: √γ·residual + √(1-γ)·ε, [B,3,H,W].
            degraded: x in [-1,1], [B,3,H,W].
            guidance: u_φ(x), [B,3,H,W].
            noise_level: √γ in [0,1], [B].
            scalars: auxiliary scalars by name, each [B] in its own unit; NaN or absent means unknown.

        Returns:
            the predicted noise ε, or residual (`prediction`), [B,3,H,W].
        """
        guidance_image = self.guide.image(guidance, degraded)
        pyramid = guidance_pyramid(guidance_image, self.unet.unshuffle, self.unet.levels)
        embedding = self.scalar_encoder(noise_level, scalars)
        output: Tensor = self.unet(
            torch.cat([noisy, degraded], dim=1), [(image, embedding) for image in pyramid]
        )
        return PRECONDITIONS[self.prediction](noisy, output, noise_level, self.sigma_data)


# ------------------------------------------------------------------------- preconditioning (EDM, not in the paper)


def precondition(noisy: Tensor, output: Tensor, noise_level: Tensor, sigma_data: float) -> Tensor:
    """The predicted noise: its best linear estimate from the noisy residual, plus the network's correction.

    For a residual of variance s², the linear estimate of ε with the least squared error is √(1-γ)/V·noisy, where
    V = γs² + 1-γ; its error has variance γs²/V. With the network's output F of about unit variance,

        ε = √(1-γ)/V · noisy - √(γs²/V) · F      (c_skip and c_out of EDM, Karras et al. 2022, written for ε)

    The network then need not carry the noise through all its layers, and the part it would lose on the way
    does not stay in the image as grain.

    Args:
        noisy: √γ·residual + √(1-γ)·ε, [B,3,H,W].
        output: F, [B,3,H,W].
        noise_level: √γ in [0,1], [B].
        sigma_data: s, the standard deviation of the scaled residual; 0 disables preconditioning: ε = F.

    Returns:
        ε, [B,3,H,W].
    """
    if sigma_data == 0:
        return output
    root_gamma = noise_level.float()[:, None, None, None]
    signal, noise = (sigma_data * root_gamma) ** 2, (1 - root_gamma**2).clamp(min=0)
    total = signal + noise
    return (noise.sqrt() / total * noisy - (signal / total).sqrt() * output).to(noisy.dtype)


def precondition_residual(noisy: Tensor, output: Tensor, noise_level: Tensor, sigma_data: float) -> Tensor:
    """The same for the residual, so that with the same F it is the residual that `precondition`'s ε stands for:

        r = √γs²/V · noisy + √((1-γ)s²/V) · F      (EDM's c_skip and c_out of x̂ = noisy/√γ)

    On the straight path of `diffusion.path`, where the noisy residual holds less of the residual, F has a standard
    deviation of 1 to 1.5 instead of 1; so the network need not know the path.

    Args:
        noisy: √γ·residual + √(1-γ)·ε, [B,3,H,W].
        output: F, [B,3,H,W].
        noise_level: √γ in [0,1], [B].
        sigma_data: s, the standard deviation of the scaled residual; 0 disables preconditioning: r = F.

    Returns:
        r, [B,3,H,W].
    """
    if sigma_data == 0:
        return output
    root_gamma = noise_level.float()[:, None, None, None]
    noise = (1 - root_gamma**2).clamp(min=0)
    total = (sigma_data * root_gamma) ** 2 + noise
    skip, scale = root_gamma * sigma_data**2 / total, (noise / total).sqrt() * sigma_data
    return (skip * noisy + scale * output).to(noisy.dtype)


PRECONDITIONS: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "noise": precondition,
    "residual": precondition_residual,
}
"""By the name of the prediction, as in `diffusion.residual.PREDICTIONS`."""
