"""One real pair: a degraded and a clean photograph of the same scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ucdir.data.photos import rgb8
from ucdir.errors import DataError


@dataclass(frozen=True)
class Pair:
    """Two files of one image, and what is known of the degradation: auxiliary scalars by name, in their units."""

    degraded: Path
    clean: Path
    scalars: Mapping[str, float] = field(default_factory=dict)
    name: str = ""

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(degraded, clean), uint8 [H,W,3] each; a RAW file is amplified by the scalar `exposure_ratio`.

        Raises:
            ImageError: a file cannot be read.
            DataError: the sizes differ.
        """
        degraded, clean = rgb8(self.degraded, self.scalars.get("exposure_ratio")), rgb8(self.clean, 1.0)
        if degraded.shape != clean.shape:
            raise DataError(
                f"{self.degraded} is {degraded.shape[1]}x{degraded.shape[0]} and {self.clean} is "
                f"{clean.shape[1]}x{clean.shape[0]}: no pair."
            )
        return degraded, clean
