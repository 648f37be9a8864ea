"""Base of the networks: the settings they were built from, and what a caller must know to run them on tiles."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

from ucdir.section import Section

FEATURE_MAPS: Final = 9
"""Feature maps of the finest level, in float32, that a forward pass without gradients takes the memory of."""
IMAGES_BYTES: Final = 120
"""What it takes beside them for each pixel of the image: the images themselves, and what is made of them."""


class Network(nn.Module):
    """A convolutional network on images of any size.

    Attributes:
        config: the section of the configuration that it was built from.
        multiple_of: height and width must be multiples of this many pixels, and tiles must lie on its grid.
        receptive_field: no output pixel depends on an input pixel further away than this many pixels, as long
            as the network is local: a norm over the whole image (`group_norm`) reaches everywhere, faintly.
    """

    multiple_of: int
    receptive_field: int

    def __init__(self, config: Section) -> None:
        super().__init__()
        self.config = config

    @property
    def bytes_per_pixel(self) -> int:
        """Memory of a forward pass on a CPU for each pixel, without gradients, in float32 or bf16: measured, not exact.

        `scripts/measure_memory.py` prints what it was found from.
        """
        config: Any = self.config
        feature_map = 4 * config.channels / getattr(config, "unshuffle", 1) ** 2
        return round(float(IMAGES_BYTES + FEATURE_MAPS * feature_map))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device
