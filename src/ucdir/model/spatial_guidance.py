"""Spatial guidance (Sec. 3.2): the image that conditions the blocks pixel by pixel, at each level's resolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


class InitialGuidance:
    """The initial predictor's output u_φ(x): the paper's choice."""

    @staticmethod
    def channels(width: int) -> int:
        """Channels of the guidance of a block of `width` channels; 0 disables spatial guidance."""
        return 3

    @staticmethod
    def image(guidance: Tensor, degraded: Tensor) -> Tensor:
        """The guidance image, which is scaled to the resolution of every level: [B,3,H,W]."""
        return guidance

    @staticmethod
    def of_block(features: Tensor, image: Tensor) -> Tensor:
        """A block's guidance [B,C',h,w], out of its features [B,C,h,w] and the guidance image at its level."""
        return image


class DegradedGuidance(InitialGuidance):
    """The degraded image x itself: an alternative of Table 4."""

    @staticmethod
    def image(guidance: Tensor, degraded: Tensor) -> Tensor:
        """The degraded image."""
        return degraded


class InternalGuidance(InitialGuidance):
    """The block's own features: an alternative of Table 4."""

    @staticmethod
    def channels(width: int) -> int:
        """As many as the block's features have."""
        return width

    @staticmethod
    def of_block(features: Tensor, image: Tensor) -> Tensor:
        """The block's features."""
        return features


class NoGuidance(InitialGuidance):
    """No spatial guidance, the scalars are the only condition: an alternative of Table 4."""

    @staticmethod
    def channels(width: int) -> int:
        """None."""
        return 0


SPATIAL_GUIDANCE: dict[str, type[InitialGuidance]] = {
    "initial": InitialGuidance,
    "degraded": DegradedGuidance,
    "internal": InternalGuidance,
    "none": NoGuidance,
}


def guidance_pyramid(image: Tensor, finest: int, levels: int) -> list[Tensor]:
    """Scale an image to the resolution of each level of the diffusion model.

    The mean over whole cells (which for a factor of 2 is bilinear scaling) looks at nothing beyond the cell,
    so that patches on the grid of the coarsest level see what the whole image sees.

    Args:
        image: [B,3,H,W], H and W multiples of the coarsest level's pixel.
        finest: image pixels a side of one pixel of the finest level.
        levels: number of levels, each half as fine as the one before.

    Returns:
        [B,3,H/finest,W/finest], then half of it, and so on.
    """
    scaled = F.avg_pool2d(image, finest) if finest > 1 else image
    pyramid = [scaled]
    for _ in range(levels - 1):
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    return pyramid
