"""Initial predictor u_φ (Sec. 3.1): degraded image -> initial guidance."""

from __future__ import annotations

from collections.abc import Sequence

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ucdir.model.layers import ACTIVATIONS
from ucdir.model.unet import UNet


class PredictorBlock(nn.Module):
    """x + conv(activation(conv(x))): as light as a block can be."""

    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = ACTIVATIONS[activation]()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.conv2.weight, std=0.2 * (9 * channels) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        h: Tensor = self.conv2(self.activation(self.conv1(x)))
        return x + h


class InitialPredictor(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Lightweight UNet that predicts the low-frequency, deterministic part of the restored image."""

    unet: UNet

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        channels: int = 24,  # of the finest level
        multipliers: Sequence[int] = (1, 2, 4),  # channels of each level
        blocks: Sequence[int] = (2, 2, 2),  # blocks of each level
        unshuffle: int = 2,  # pixels a side folded into channels
        activation: str = "swish",  # a name in layers.ACTIVATIONS
    ) -> None:
        super().__init__()
        self.unet = UNet(
            3, 3, channels=channels, multipliers=multipliers, blocks=blocks, unshuffle=unshuffle,
            make_block=lambda width: PredictorBlock(width, activation),
        )  # fmt: skip

    @property
    def multiple_of(self) -> int:
        """Heights and widths are multiples of this many pixels."""
        return self.unet.multiple_of

    @property
    def receptive_field(self) -> int:
        """Radius in pixels that an output pixel depends on."""
        return self.unet.receptive_field

    def forward(self, degraded: Tensor) -> Tensor:
        """Degraded image x [B,3,H,W] in [-1,1] -> initial guidance u_φ(x) [B,3,H,W], about [-1,1]."""
        guidance: Tensor = degraded + self.unet(degraded, [()] * self.unet.levels)
        return guidance
