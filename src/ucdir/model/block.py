"""Basic module of the diffusion model (Sec. 3.2, Fig. 1 right), and the block of DvSR that it is compared with."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ucdir.model.cim import INJECTIONS, scalar_branch
from ucdir.model.layers import ACTIVATIONS, NORMS
from ucdir.model.spatial_guidance import SPATIAL_GUIDANCE


class BasicModule(nn.Module):
    """x + Swish(AKGM(LayerNorm(Swish(conv(LayerNorm(x)))))): two convolutions, the second one dynamic."""

    def __init__(
        self,
        channels: int,
        *,
        norm: str,  # a name in NORMS
        activation: str,  # a name in ACTIVATIONS
        injection: str,  # a name in INJECTIONS
        spatial_guidance: str,  # a name in SPATIAL_GUIDANCE
        kernel_bases: int,  # N of Eq. 2
        scalar_channels: int,  # channels of the encoded scalars
    ) -> None:
        super().__init__()
        self.guide = SPATIAL_GUIDANCE[spatial_guidance]
        self.norm1 = NORMS[norm](channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = NORMS[norm](channels)
        self.conv2 = INJECTIONS[injection](
            channels, guidance_channels=self.guide.channels(channels), kernel_bases=kernel_bases,
            scalar_channels=scalar_channels,
        )  # fmt: skip
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """x [B,C,H,W], guidance image [B,3,H,W], encoded scalars [B,D] -> [B,C,H,W]."""
        h: Tensor = self.activation(self.conv1(self.norm1(x)))
        h = self.norm2(h)
        h = self.activation(self.conv2(h, self.guide.of_block(h, guidance), scalars))
        return x + h


class DvsrBlock(nn.Module):
    """x + conv(Swish(conv(Swish(x)) + scalars)): Whang et al. 2022, the residual block of SR3 without its norms.

    The degraded image enters with the noisy residual and nowhere else. A row of Table 4; norm, injection and
    guidance do not matter to it.
    """

    def __init__(
        self,
        channels: int,
        *,
        norm: str,
        activation: str,  # a name in ACTIVATIONS
        injection: str,
        spatial_guidance: str,
        kernel_bases: int,
        scalar_channels: int,
    ) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.scalars = scalar_branch(scalar_channels, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, guidance: Tensor, scalars: Tensor) -> Tensor:
        """See `BasicModule`."""
        h: Tensor = self.conv1(self.activation(x)) + self.scalars(scalars)[:, :, None, None]
        return x + self.conv2(self.activation(h))  # type: ignore[no-any-return]


BLOCKS: dict[str, Callable[..., nn.Module]] = {"basic": BasicModule, "dvsr": DvsrBlock}
