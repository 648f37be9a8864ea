"""White noise of a photo: of no camera in particular, as old scans, broadcasts and the literature have it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ucdir.degradations.jpeg_compression import JpegCompression
from ucdir.errors import ConfigError
from ucdir.images.pixels import check_rgb8


@dataclass(frozen=True, slots=True)
class WhiteNoise:
    r"""Normal noise of one standard deviation everywhere, added to the photo as it is stored.

        x = JPEG( clip( clean + σ ε ) ),   ε ~ N(0, 1), for each pixel and colour, or the same for all three

    Args:
        noise_strength: σ, in 8-bit levels, at most 255.
        grey: whether the colours have their noise in common.
        jpeg: the file it was saved as, or None.
        seed: of the noise; the same object degrades the same image in the same way.

    Raises:
        ConfigError: σ is out of range.

    Example:
        >>> noisy = WhiteNoise(25.0)(np.full((4, 6, 3), 128, np.uint8))
        >>> noisy.shape, noisy.dtype.name
        ((4, 6, 3), 'uint8')
    """

    noise_strength: float
    grey: bool = False
    jpeg: JpegCompression | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.noise_strength <= 255:
            raise ConfigError(
                f"white noise: a standard deviation of {self.noise_strength} is not within [0,255]."
            )

    def __call__(self, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The noisy photo of a clean one: uint8 [H,W,3] -> uint8 [H,W,3], a new array.

        Raises:
            DataError: `clean` is of another type or shape, or empty.
        """
        check_rgb8(clean, "white noise")
        rng = np.random.default_rng(self.seed)
        noise = rng.standard_normal((*clean.shape[:2], 1 if self.grey else 3), np.float32)
        noise *= np.float32(self.noise_strength)
        noisy: npt.NDArray[np.uint8] = np.rint(np.clip(clean + noise, 0, 255)).astype(np.uint8)
        return noisy if self.jpeg is None else self.jpeg(noisy)

    def long_exposure(self, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The photo without noise: the clean one."""
        return clean

    @property
    def exposure_ratio(self) -> float:
        """1: the photo is as bright as it was taken."""
        return 1.0

    @property
    def gain(self) -> float:
        """Not known: there is no sensor."""
        return math.nan
