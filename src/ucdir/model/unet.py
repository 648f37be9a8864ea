"""The UNet of initial predictor and diffusion model: levels of blocks, connected by skips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ucdir.config import PredictorConfig
from ucdir.model.layers import Downsample, Upsample
from ucdir.model.reach import multiple_of, receptive_field


class UNet(nn.Module):
    """Levels of blocks, each level at half the resolution of the one before.

    Every operation sees a bounded neighbourhood; `multiple_of` and `receptive_field` are those of `Network`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        config: PredictorConfig,
        make_block: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        widths, blocks = [config.channels * m for m in config.multipliers], config.blocks
        self.levels = len(widths)
        self.unshuffle = config.unshuffle
        self.stem = nn.Conv2d(in_channels * self.unshuffle**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(self._level(blocks[i], widths[i], make_block) for i in range(self.levels))
        self.downsample = nn.ModuleList(Downsample(a, b) for a, b in pairwise(widths))
        self.upsample = nn.ModuleList(Upsample(b, a) for a, b in pairwise(widths))
        self.merge = nn.ModuleList(nn.Conv2d(2 * w, w, 1) for w in widths[:-1])
        self.up = nn.ModuleList(self._level(blocks[i], widths[i], make_block) for i in range(self.levels - 1))
        self.head = nn.Conv2d(widths[0], out_channels * self.unshuffle**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

        self.multiple_of, self.receptive_field = multiple_of(config), receptive_field(config)

    @staticmethod
    def _level(count: int, width: int, make_block: Callable[[int], nn.Module]) -> nn.ModuleList:
        return nn.ModuleList(make_block(width) for _ in range(count))

    def encode(self, image: Tensor, conditions: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
        """The way down: image [B,C,H,W] and the conditions of each level's blocks -> the levels, the finest first."""
        x = F.pixel_unshuffle(image, self.unshuffle) if self.unshuffle > 1 else image
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        levels: list[Tensor] = []
        for level in range(self.levels):
            x = self.downsample[level - 1](x) if level else x
            for block in self.down[level]:  # type: ignore[attr-defined]
                x = block(x, *conditions[level])
            levels.append(x)
        return levels

    def forward(self, image: Tensor, conditions: Sequence[tuple[Tensor, ...]]) -> Tensor:
        """Image [B,C,H,W] and the conditions of each level's blocks -> [B,C',H,W]."""
        *skips, x = self.encode(image, conditions)
        for level in reversed(range(self.levels - 1)):
            x = self.merge[level](torch.cat([self.upsample[level](x), skips.pop()], dim=1))
            for block in self.up[level]:  # type: ignore[attr-defined]
                x = block(x, *conditions[level])
        x = self.head(x)
        return F.pixel_shuffle(x, self.unshuffle) if self.unshuffle > 1 else x
