"""The authors' released networks, exactly, with the parameter names of their checkpoint.

They differ from the paper's text in what PAPER.md lists: GroupNorm over the whole image where the paper says
LayerNorm, attention in six places, kernel bases with biases, and the See-in-the-Dark UNet as initial predictor.
Norms and attention see the whole image, so that splitting it into patches changes the result a little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Final

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ucdir.model.akgm.dispatch import chosen_kernel
from ucdir.model.cim import guidance_branch
from ucdir.model.network import Network
from ucdir.section import Section

MULTIPLIERS: Final = (1, 2, 4, 8, 8)
"""Channels of each level, as multiples of `channels`."""
ATTENTION_LEVEL: Final = 3
"""The level whose blocks have attention; so has the first block in the middle."""
BASES: Final = 8
"""N of Eq. 2."""
GRID: Final = 32
"""Image pixels a side of one pixel of the coarsest level."""
OVERLAP: Final = 64
"""Pixels by which patches overlap; no overlap makes them exact."""
RELEASE_CHANNELS: Final = range(8, 513, 8)
"""Base channels that a checkpoint of this architecture may have."""
Channels = Annotated[int, Field(ge=8, le=512, multiple_of=8)]


class ReleasePredictorConfig(Section):
    """u_φ as released."""

    channels: Channels = 32
    """Channels of the finest level."""


class ReleaseDiffusionModelConfig(Section):
    """f_θ as released."""

    channels: Channels = 64
    """Channels of the finest level."""


def padded(image: Tensor) -> Tensor:
    """The image mirrored at the bottom and on the right up to the next multiple of 32: by 1 to 32 pixels, never 0."""
    height, width = image.shape[2:]
    rows, columns = (_mirrored(n // GRID * GRID + GRID, n, image.device) for n in (height, width))
    return image[:, :, rows[:, None], columns]


def _mirrored(count: int, length: int, device: torch.device) -> Tensor:
    """The first `count` indices of a line of pixels that is mirrored in its last pixel: 0 1 2 | 1 0 1 2 …."""
    period = max(2 * (length - 1), 1)
    index = torch.arange(count, device=device) % period
    return torch.where(index < length, index, period - index)


# -------------------------------------------------------------------------------------------- diffusion model


class LevelEmbedding(nn.Module):
    """Sinusoidal embedding of the noise level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, level: Tensor) -> Tensor:
        """√γ [B] -> [B,D], float32."""
        half = self.channels // 2
        k = torch.arange(half, dtype=torch.float32, device=level.device) / half
        angles = level.float()[:, None] * torch.exp(-math.log(1e4) * k)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class WholeNorm(nn.GroupNorm):
    """The whole image to mean 0 and variance 1 over all channels, then a scale and a shift for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        return whole_norm(x, self.weight, self.bias, self.eps) if x.is_cuda else super().forward(x)


def whole_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """GroupNorm of one group on GPUs, where PyTorch's own sums up each image on a single multiprocessor.

    [B,C,H,W] -> [B,C,H,W] of the same dtype, computed in float32.
    """
    variance, mean = torch.var_mean(x.float(), dim=(1, 2, 3), correction=0, keepdim=True)
    scale = (variance + eps).rsqrt() * weight[:, None, None]
    shift = torch.addcmul(bias[:, None, None], mean, scale, value=-1)
    return torch.addcmul(shift, x, scale).to(x.dtype)


class ResBlock(nn.Module):
    """skip(x) + Swish(AKGM(norm(Swish(conv(norm(x))))))."""

    def __init__(self, in_channels: int, channels: int, embedding_channels: int) -> None:
        super().__init__()
        self.noise_func = nn.Sequential(
            nn.Linear(embedding_channels, BASES), nn.SiLU(), nn.Linear(BASES, BASES)
        )
        self.kernel = chosen_kernel()
        self.norm1 = WholeNorm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.norm2 = WholeNorm(channels)
        self.conv2 = guidance_branch(3, BASES, 3)
        self.spdyconv = nn.Conv2d(channels, channels * BASES, 3, padding=1, groups=BASES)
        self.res_conv = nn.Conv2d(in_channels, channels, 1) if in_channels != channels else nn.Identity()

    def forward(self, x: Tensor, guidance: Tensor, embedding: Tensor) -> Tensor:
        """x [B,C,H,W], guidance image of any size, embedding of the noise level [B,D] -> [B,C',H,W]."""
        h = F.silu(self.conv1(self.norm1(x)))
        image = F.interpolate(guidance, size=h.shape[2:], mode="bilinear", align_corners=False)
        fusion_weights = self.conv2(image) * self.noise_func(embedding)[:, :, None, None]
        h = self.norm2(h)
        dynamic = self.kernel(h, fusion_weights, self.spdyconv.weight)
        assert self.spdyconv.bias is not None  # noqa: S101 (for the type checker)
        # M weights the biases of the bases as it does their kernels: Σ_b M[b] (W_b * x + bias_b)
        biases = self.spdyconv.bias.view(-1, BASES)
        dynamic = dynamic + torch.einsum("bnhw,cn->bchw", fusion_weights, biases)
        return F.silu(dynamic) + self.res_conv(x)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """x + out(softmax(qᵀk / √C) v) of one head over all pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = WholeNorm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)
        h = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.out(h.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A ResBlock, in some places followed by attention."""

    def __init__(self, in_channels: int, channels: int, embedding_channels: int, *, attends: bool) -> None:
        super().__init__()
        self.res_block = ResBlock(in_channels, channels, embedding_channels)
        if attends:
            self.attn = Attention(channels)
        self.attends = attends

    def forward(self, x: Tensor, guidance: Tensor, embedding: Tensor) -> Tensor:
        """As `ResBlock.forward`."""
        x = self.res_block(x, guidance, embedding)
        return self.attn(x) if self.attends else x


class Down(nn.Module):
    """Half the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H/2,W/2]."""
        return self.conv(x)  # type: ignore[no-any-return]


class Up(nn.Module):
    """Twice the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,2H,2W]."""
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))  # type: ignore[no-any-return]


class ReleaseDiffusionModel(Network):
    """f_θ as released, in place of `DiffusionModel`; it takes no auxiliary scalars."""

    scalar_names: tuple[str, ...] = ()
    prediction = "noise"
    multiple_of = 1  # it pads by itself
    receptive_field = OVERLAP

    def __init__(self, config: ReleaseDiffusionModelConfig) -> None:
        super().__init__(config)
        channels = config.channels
        self.noise_level_mlp = nn.Sequential(
            LevelEmbedding(channels),
            nn.Linear(channels, 4 * channels),
            nn.SiLU(),
            nn.Linear(4 * channels, channels),
        )
        widths = [channels * m for m in MULTIPLIERS]
        last = len(widths) - 1
        downs: list[nn.Module] = [nn.Conv2d(6, channels, 3, padding=1)]
        skips, width = [channels], channels
        for level, wanted in enumerate(widths):
            for _ in range(2):
                downs.append(Block(width, wanted, channels, attends=level == ATTENTION_LEVEL))
                width = wanted
                skips.append(width)
            if level < last:
                downs.append(Down(width))
                skips.append(width)
        self.downs = nn.ModuleList(downs)
        self.mid = nn.ModuleList(Block(width, width, channels, attends=attends) for attends in (True, False))
        ups: list[nn.Module] = []
        for level, wanted in reversed(list(enumerate(widths))):
            for _ in range(3):
                ups.append(Block(width + skips.pop(), wanted, channels, attends=level == ATTENTION_LEVEL))
                width = wanted
            if level > 0:
                ups.append(Up(width))
        self.ups = nn.ModuleList(ups)
        self.final_conv = nn.Sequential(
            WholeNorm(width), nn.SiLU(), nn.Identity(), nn.Conv2d(width, 3, 3, padding=1)
        )

    def forward(
        self,
        noisy: Tensor,
        degraded: Tensor,
        guidance: Tensor,
        noise_level: Tensor,
        scalars: Mapping[str, Tensor],
    ) -> Tensor:
        """As `DiffusionModel.forward`; `scalars` is ignored."""
        height, width = noisy.shape[2:]
        dtype = self.final_conv[3].weight.dtype
        embedding = self.noise_level_mlp[0](noise_level).to(dtype)
        embedding = self.noise_level_mlp[1:](embedding)
        x, guidance = padded(torch.cat([degraded, noisy], dim=1)), padded(guidance)
        x = x.contiguous(memory_format=torch.channels_last)
        skips = []
        for layer in self.downs:
            x = layer(x, guidance, embedding) if isinstance(layer, Block) else layer(x)
            skips.append(x)
        for layer in self.mid:
            x = layer(x, guidance, embedding)
        for layer in self.ups:
            x = (
                layer(torch.cat([x, skips.pop()], 1), guidance, embedding)
                if isinstance(layer, Block)
                else layer(x)
            )
        return self.final_conv(x)[..., :height, :width]  # type: ignore[no-any-return]


# -------------------------------------------------------------------------------------------- initial predictor


class ReleasePredictor(Network):
    """u_φ as released, the UNet of See-in-the-Dark (Chen et al. 2018), in place of `InitialPredictor`."""

    multiple_of = 1
    receptive_field = OVERLAP

    def __init__(self, config: ReleasePredictorConfig) -> None:
        super().__init__(config)
        widths = [config.channels * 2**level for level in range(5)]
        width = 3
        for level, wanted in enumerate(widths, start=1):
            self.add_module(f"conv{level}_1", nn.Conv2d(width, wanted, 3, padding=1))
            self.add_module(f"conv{level}_2", nn.Conv2d(wanted, wanted, 3, padding=1))
            width = wanted
        for level, wanted in enumerate(reversed(widths[:-1]), start=6):
            self.add_module(f"upv{level}", nn.ConvTranspose2d(width, wanted, 2, stride=2))
            self.add_module(f"conv{level}_1", nn.Conv2d(2 * wanted, wanted, 3, padding=1))
            self.add_module(f"conv{level}_2", nn.Conv2d(wanted, wanted, 3, padding=1))
            width = wanted
        self.conv10_1 = nn.Conv2d(width, 3, 1)

    def forward(self, degraded: Tensor) -> Tensor:
        """Degraded image [B,3,H,W] in [-1,1] -> initial guidance [B,3,H,W]."""
        height, width = degraded.shape[2:]
        x = padded(degraded).contiguous(memory_format=torch.channels_last)
        skips = []
        for level in range(1, 6):
            x = self._twice(x, level)
            if level < 5:
                skips.append(x)
                x = F.max_pool2d(x, 2)
        for level in range(6, 10):
            x = self.get_submodule(f"upv{level}")(x)
            x = self._twice(torch.cat([x, skips.pop()], dim=1), level)
        return self.conv10_1(x)[..., :height, :width]  # type: ignore[no-any-return]

    def _twice(self, x: Tensor, level: int) -> Tensor:
        for number in (1, 2):
            x = F.leaky_relu(self.get_submodule(f"conv{level}_{number}")(x), 0.2)
        return x
