"""Initial predictor u_φ (Sec. 3.1): degraded image -> initial guidance."""

from __future__ import annotations

from torch import Tensor, nn

from ucdir.config import PredictorConfig
from ucdir.model.layers import ACTIVATIONS, NORMS, init_normal_
from ucdir.model.network import Network
from ucdir.model.unet import UNet


class PredictorBlock(nn.Module):
    """x + conv(activation(conv(norm(x)))): a residual block, by default without the norm."""

    def __init__(self, channels: int, config: PredictorConfig) -> None:
        super().__init__()
        self.norm = NORMS[config.norm](channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = ACTIVATIONS[config.activation]()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        init_normal_(self.conv2.weight, 0.2 * (9 * channels) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        h: Tensor = self.conv2(self.activation(self.conv1(self.norm(x))))
        return x + h


class InitialPredictor(Network):
    """Lightweight UNet that predicts the low-frequency, deterministic part of the restored image."""

    config: PredictorConfig

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__(config)
        self.unet = UNet(3, 3, config, lambda width: PredictorBlock(width, config))
        self.multiple_of, self.receptive_field = self.unet.multiple_of, self.unet.receptive_field

    def forward(self, degraded: Tensor) -> Tensor:
        """Degraded image x [B,3,H,W] in [-1,1] -> initial guidance u_φ(x) [B,3,H,W], about [-1,1]."""
        guidance: Tensor = degraded + self.unet(degraded, [()] * self.unet.levels)
        return guidance
