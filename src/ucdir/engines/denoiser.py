"""The diffusion model as a sampler calls it: on whole images, giving the residual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ucdir.diffusion.residual import predicted_residual
from ucdir.engines.engine import Engine, Planes
from ucdir.errors import ResultError
from ucdir.patches import TileRunner

BAND = 64
"""Rows that are computed at once, so that no more whole images are held than necessary."""


@dataclass(frozen=True)
class Denoiser:
    """(noisy residual, level √γ) -> residual, both [B,3,H,W]: f_θ in patches (Sec. 3.3), and Eq. 1 solved for it."""

    engine: Engine
    tiles: TileRunner
    degraded: Planes  # x in [-1,1], [B,3,H,W]
    guidance: Planes  # u_φ(x), [B,3,H,W]
    scalars: Mapping[str, NDArray[np.float32]]  # each [B]
    residual_scale: float
    residual_range: str  # a name in diffusion.residual.RESIDUAL_RANGES

    def __call__(self, noisy: Planes, level: float) -> Planes:
        """The residual times `residual_scale`, limited to its range.

        Raises:
            ResultError: what f_θ predicts is not finite.
        """
        output = self.tiles(
            self.engine.denoise, noisy, self.degraded, self.guidance, level=level, scalars=self.scalars
        )
        residual = output  # overwritten band by band
        for top in range(0, noisy.shape[-2], BAND):
            band = (..., slice(top, top + BAND), slice(None))
            check_finite(output[band])  # infinity would end as black or white
            residual[band] = predicted_residual(
                noisy[band], output[band], self.guidance[band], level,
                self.residual_scale, self.residual_range, self.engine.prediction,
            )  # fmt: skip
        return residual


def check_finite(images: Planes) -> None:
    """Refuse values that are not finite, before they are written to a file."""
    if not np.isfinite([images.min(), images.max()]).all():
        raise ResultError(
            "the networks gave numbers that are not finite, so there is no image to write; try the precision fp32, "
            "and check the model if that does not help."
        )
