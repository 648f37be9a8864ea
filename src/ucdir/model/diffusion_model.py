"""Diffusion model f_θ (Sec. 3.1, 3.2): noisy residual, degraded image and conditions -> noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ucdir.model.block import BLOCKS
from ucdir.model.scalars import ScalarEncoder
from ucdir.model.spatial_guidance import SPATIAL_GUIDANCE, guidance_pyramid
from ucdir.model.unet import UNet


class DiffusionModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """UNet of basic modules; guidance and scalars enter every one of them."""

    unet: UNet

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        channels: int = 32,  # of the finest level
        multipliers: Sequence[int] = (1, 2, 4),  # channels of each level
        blocks: Sequence[int] = (1, 2, 2),  # basic modules of each level
        unshuffle: int = 2,  # pixels a side folded into channels
        activation: str = "swish",  # a name in layers.ACTIVATIONS
        kernel_bases: int = 4,  # N of Eq. 2
        block: str = "basic",  # a name in block.BLOCKS
        norm: str = "layer_norm",  # a name in layers.NORMS
        injection: str = "akgm",  # a name in injection.INJECTIONS
        spatial_guidance: str = "initial",  # a name in spatial_guidance.SPATIAL_GUIDANCE
        scalars: Sequence[str] = ("jpeg_quality",),  # names in tasks.scalars.SCALARS
        scalar_channels: int = 128,  # channels of the encoded scalars
        sigma_data: float = 0.0,  # of the scaled residual, see `precondition`; 0 is without
    ) -> None:
        super().__init__()
        self.sigma_data = sigma_data
        self.scalar_names = tuple(scalars)
        self.scalar_encoder = ScalarEncoder(self.scalar_names, scalar_channels)
        self.guide = SPATIAL_GUIDANCE[spatial_guidance]

        def make_block(width: int) -> nn.Module:
            return BLOCKS[block](
                width, norm=norm, activation=activation, injection=injection, spatial_guidance=spatial_guidance,
                kernel_bases=kernel_bases, scalar_channels=scalar_channels,
            )  # fmt: skip

        self.unet = UNet(
            6, 3, channels=channels, multipliers=multipliers, blocks=blocks, unshuffle=unshuffle,
            make_block=make_block,
        )  # fmt: skip

    @property
    def multiple_of(self) -> int:
        """Heights and widths are multiples of this many pixels."""
        return self.unet.multiple_of

    @property
    def receptive_field(self) -> int:
        """Radius in pixels that an output pixel depends on."""
        return self.unet.receptive_field

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
            scalars: auxiliary scalars by name, each [B] in its own unit; NaN or absent is unknown.

        Returns:
            the predicted noise ε, [B,3,H,W].
        """
        guidance_image = self.guide.image(guidance, degraded)
        pyramid = guidance_pyramid(guidance_image, self.unet.unshuffle, self.unet.levels)
        code = self.scalar_encoder(noise_level, scalars)
        noise: Tensor = self.unet(torch.cat([noisy, degraded], dim=1), [(image, code) for image in pyramid])
        return precondition(noisy, noise, noise_level, self.sigma_data)


def precondition(noisy: Tensor, output: Tensor, noise_level: Tensor, deviation: float) -> Tensor:
    """The predicted noise as its best linear guess from the noisy residual, plus what the network makes of it.

    For a residual of variance s² the linear guess of ε that is best in the squared error is √(1-γ)/V·noisy with
    V = γs² + 1-γ; what it leaves has variance γs²/V. So with F, the output of the network, of about unit variance:

        ε = √(1-γ)/V · noisy - √(γs²/V) · F      (EDM's c_skip and c_out, written for ε)

    A network need not then carry the noise through all its layers to give it back, and what it fails to carry is
    not left in the picture as grain.

    Args:
        noisy: √γ·residual + √(1-γ)·ε, [B,3,H,W].
        output: F, [B,3,H,W].
        noise_level: √γ in [0,1], [B].
        deviation: s; 0 is without all this, ε = F.

    Returns:
        ε, [B,3,H,W].
    """
    if deviation == 0:
        return output
    root_gamma = noise_level.float()[:, None, None, None]
    signal, spread = (deviation * root_gamma) ** 2, (1 - root_gamma**2).clamp(min=0)
    total = signal + spread
    return (spread.sqrt() / total * noisy - (signal / total).sqrt() * output).to(noisy.dtype)
