"""How far a UNet's pixels see, and the grid that it needs, from its settings alone."""

from __future__ import annotations

from ucdir.config import PredictorConfig


def multiple_of(config: PredictorConfig) -> int:
    """The total stride: heights and widths are multiples of it."""
    return config.unshuffle << len(config.blocks) - 1


def receptive_field(config: PredictorConfig) -> int:
    """Radius in pixels that each pixel of the output depends on."""
    convolutions = [4 * n for n in config.blocks]  # two in each block, on the way down and up
    convolutions[-1] //= 2  # the deepest level has its blocks once
    convolutions[0] += 2  # stem and head
    reach = sum(n * config.unshuffle << level for level, n in enumerate(convolutions))
    return reach + multiple_of(config) - 1
