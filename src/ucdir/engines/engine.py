"""What the pipeline requires of an engine, which runs the networks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]
"""[B,3,H,W]; images are in [-1,1]."""


class Engine(Protocol):
    """Initial predictor u_φ and diffusion model f_θ, ready to run on patches.

    The networks' operations are local: what must be known to split an image is data.
    """

    @property
    def receptive_field(self) -> int:
        """Radius in pixels that each pixel of a result depends on."""

    @property
    def multiple_of(self) -> int:
        """Total stride: heights and widths are multiples of it, and patches lie on its grid."""

    @property
    def scalars(self) -> tuple[str, ...]:
        """The auxiliary scalars that f_θ can be given, names in `SCALARS`."""

    @property
    def prediction(self) -> str:
        """What f_θ gives, a name in `diffusion.residual.PREDICTIONS`."""

    @property
    def bytes_per_pixel(self) -> int:
        """Main memory of a forward pass for each pixel of a patch; 0 where it runs in a memory of its own."""

    @property
    def device(self) -> Any:
        """Where it runs, as text."""

    def session(self, forward_passes: int) -> AbstractContextManager[None]:
        """A restoration of about `forward_passes` passes of f_θ, during which the weights do not change."""

    def predict(self, degraded: Planes) -> Planes:
        """The initial guidance u_φ(x) of a degraded image x in [-1,1] (Sec. 3.1).

        Raises:
            MemoryError: the device does not hold it.
        """

    def denoise(
        self,
        noisy: Planes,
        degraded: Planes,
        guidance: Planes,
        *,
        level: float,
        scalars: Mapping[str, NDArray[np.float32]],
    ) -> Planes:
        """What f_θ (Eq. 1) predicts: the noise, or the residual where `prediction` says so.

        Args:
            noisy: √γ·residual + √(1-γ)·ε, [B,3,H,W].
            degraded: x in [-1,1], [B,3,H,W].
            guidance: u_φ(x), [B,3,H,W].
            level: √γ in (0,1).
            scalars: auxiliary scalars by name, each [B] in its own unit; absent is unknown.

        Raises:
            MemoryError: the device does not hold it.
        """
