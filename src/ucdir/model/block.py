"""Basic module of the diffusion model (Sec. 3.2, Fig. 1 right)."""

from __future__ import annotations

from torch import Tensor, nn

from ucdir.model.injection import INJECTIONS
from ucdir.model.layers import ACTIVATIONS, NORMS


class BasicModule(nn.Module):
    """x + Swish(AKGM(LayerNorm(Swish(conv(LayerNorm(x)))))): two convolutions, the second one dynamic."""

    def __init__(
        self,
        channels: int,
        *,
        norm: str,  # a name in NORMS
        activation: str,  # a name in ACTIVATIONS
        injection: str,  # a name in INJECTIONS
        kernel_bases: int,  # N of Eq. 2
        scalar_channels: int,  # channels of the encoded scalars
    ) -> None:
        super().__init__()
        self.norm1 = NORMS[norm](channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = NORMS[norm](channels)
        self.conv2 = INJECTIONS[injection](
            channels, kernel_bases=kernel_bases, scalar_channels=scalar_channels
        )
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """x [B,C,H,W], guidance image [B,3,H,W], encoded scalars [B,D] -> [B,C,H,W]."""
        h: Tensor = self.activation(self.conv1(self.norm1(x)))
        h = self.activation(self.conv2(self.norm2(h), guidance, scalars))
        return x + h
