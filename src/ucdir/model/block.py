"""Basic module of the diffusion model (Sec. 3.2, Fig. 1 right), and the block of DvSR, its baseline in Table 4."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ucdir.config import DiffusionModelConfig
from ucdir.model.cim import INJECTIONS, scalar_branch
from ucdir.model.layers import ACTIVATIONS, NORMS
from ucdir.model.spatial_guidance import SPATIAL_GUIDANCE


class BasicModule(nn.Module):
    """x + Swish(AKGM(LayerNorm(Swish(conv(LayerNorm(x)))))): two convolutions, the second one dynamic."""

    def __init__(self, channels: int, config: DiffusionModelConfig) -> None:
        super().__init__()
        self.guide = SPATIAL_GUIDANCE[config.spatial_guidance]
        self.norm1 = NORMS[config.norm](channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = NORMS[config.norm](channels)
        self.conv2 = INJECTIONS[config.injection](
            channels, guidance_channels=self.guide.channels(channels), kernel_bases=config.kernel_bases,
            scalar_channels=config.scalar_channels,
        )  # fmt: skip
        self.activation = ACTIVATIONS[config.activation]()

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """x [B,C,H,W], guidance image [B,3,H,W], embedding of the scalars [B,D] -> [B,C,H,W]."""
        h: Tensor = self.activation(self.conv1(self.norm1(x)))
        h = self.norm2(h)
        h = self.activation(self.conv2(h, self.guide.of_block(h, guidance), scalars))
        return x + h


class DvsrBlock(nn.Module):
    """x + conv(Swish(conv(Swish(x)) + scalars)): Whang et al. 2022, the residual block of SR3 without its norms.

    A row of Table 4. It has no norms and no guidance: the degraded image enters with the noisy residual only.
    """

    def __init__(self, channels: int, config: DiffusionModelConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.scalars = scalar_branch(config.scalar_channels, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """As `BasicModule.forward`; `guidance` is ignored."""
        h: Tensor = self.conv1(self.activation(x)) + self.scalars(scalars)[:, :, None, None]
        return x + self.conv2(self.activation(h))  # type: ignore[no-any-return]


BLOCKS: dict[str, Callable[[int, DiffusionModelConfig], nn.Module]] = {
    "basic": BasicModule,
    "dvsr": DvsrBlock,
}
"""By name: (channels, config) -> a block."""
