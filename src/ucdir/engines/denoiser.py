"""The diffusion model as a sampler calls it: on whole images, giving the residual."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ucdir.diffusion.residual import predicted_residual
from ucdir.engines.engine import Engine, Planes
from ucdir.errors import ResultError
from ucdir.patches.tile_runner import Forward


class Tiles(Protocol):
    """A `TileRunner` for arrays, or a `LazyRunner` for `LazyPlanes`."""

    def __call__(self, forward: Forward, *images: Any, **conditions: Any) -> Any:
        """See `TileRunner.__call__`."""

    def combined(self, function: Callable[..., Planes], first: Any, *others: Any) -> Any:
        """See `TileRunner.combined`."""


@dataclass(frozen=True)
class Denoiser:
    """(noisy residual, level √γ) -> residual, both [B,3,H,W]: f_θ in patches (Sec. 3.3), and Eq. 1 solved for it."""

    engine: Engine
    tiles: Tiles
    degraded: Any  # x in [-1,1], [B,3,H,W]
    guidance: Any  # u_φ(x), [B,3,H,W]
    scalars: Mapping[str, NDArray[np.float32]]  # each [B]
    residual_scale: float
    residual_range: str  # a name in diffusion.residual.RESIDUAL_RANGES

    def __call__(self, noisy: Any, level: float) -> Any:
        """The residual times `residual_scale`, limited to its range.

        Raises:
            ResultError: what f_θ predicts is not finite.
        """
        output = self.tiles(
            self.engine.denoise, noisy, self.degraded, self.guidance, level=level, scalars=self.scalars
        )

        def residual(output: Planes, noisy: Planes, guidance: Planes) -> Planes:
            check_finite(output)  # infinity would end as black or white
            predicted: Planes = predicted_residual(
                noisy,
                output,
                guidance,
                level,
                self.residual_scale,
                self.residual_range,
                self.engine.prediction,
            )
            return predicted

        return self.tiles.combined(residual, output, noisy, self.guidance)


def check_finite(images: Planes) -> None:
    """Refuse values that are not finite, before they are written to a file."""
    if not np.isfinite([images.min(), images.max()]).all():
        raise ResultError(
            "the networks gave numbers that are not finite, so there is no image to write; try the precision fp32, "
            "and check the model if that does not help."
        )
