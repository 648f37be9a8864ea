"""Warps of light, bilinear, for the frames that blurs are the mean of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ucdir.degradations.camera_effects import Light

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[int, int, int, int]
"""Part of an image: top, left, height, width."""

AT_ONCE = 4
"""Frames that are warped together, so that they stay in a core's cache."""


def middle_box(light: Light, side: int | None) -> Box:
    """The middle of an image [H,W,3], at most side x side pixels, as `images.pixels.middle` cuts it; None for all."""
    height, width = light.shape[:2]
    high, wide = (size if side is None else min(side, size) for size in (height, width))
    return (height - high) // 2, (width - wide) // 2, high, wide


def mirrored_planes(light: Light, box: Box, reach: int) -> Tensor:
    """The box of an image [H,W,3] and `reach` pixels around it: [3,height+2·reach,width+2·reach].

    Beyond the image's borders it is mirrored.
    """
    top, left, height, width = box
    over = [max(0, reach - first) for first in (top, left)]
    under = [
        max(0, first + count + reach - size)
        for first, count, size in ((top, height, light.shape[0]), (left, width, light.shape[1]))
    ]
    if any(over + under):
        light = np.pad(light, ((over[0], under[0]), (over[1], under[1]), (0, 0)), mode="symmetric")
    row, column = top + over[0] - reach, left + over[1] - reach
    return to_planes(light[row : row + height + 2 * reach, column : column + width + 2 * reach])


def to_planes(light: Light) -> Tensor:
    """[H,W,C] -> [C,H,W]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(light.transpose(2, 0, 1)))


def to_light(planes: Tensor) -> Light:
    """[3,H,W] -> [H,W,3]."""
    light: Light = planes.permute(1, 2, 0).contiguous().numpy()
    return light


def sampled(planes: Tensor, grid: Tensor) -> Tensor:
    """Planes [C,H,W] at places [n,h,w,2] (x and y, from -1 to 1 from edge to edge) -> [n,C,h,w]; 0 beyond."""
    import torch.nn.functional as F

    return F.grid_sample(
        planes.expand(len(grid), -1, -1, -1), grid, padding_mode="zeros", align_corners=False
    )
