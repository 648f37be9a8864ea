"""What a camera does to light between lens and file: saturation, noise, tone curve, 8 bits, a JPEG file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ucdir.degradations.jpeg_compression import JpegCompression
from ucdir.errors import ConfigError
from ucdir.images.camera import linear_to_srgb, srgb_to_linear
from ucdir.images.pixels import check_rgb8

Light = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CameraEffects:
    """From a clean photograph to light, and from blurred light to the file's pixels:

        L  = light( clean ),  where it is above `threshold`:  L + `boost` (L - threshold) / (1 - threshold)
        L' = blur( L )
        x  = JPEG( round( 255 · srgb( clip( L' + n, 0, 1 ) ) ) ),   n normal of variance `shot` L' + `read`

    Lamps and the sky are brighter than a photograph can show. Raised before the blur and cut off after it, they leave
    the white streaks and discs that real blurred photographs have.

    Args:
        boost: what white is raised by, as a multiple of white, 0 or more.
        threshold: light from which on it is raised, 0..1.
        shot: variance of the noise at white, as a fraction of white squared.
        read: variance of the noise at black, likewise.
        jpeg_quality: of a last JPEG file, or None for none.
        seed: of the noise.
        gamma: of the camera's tone curve, light = value^gamma; None for the curve of sRGB.

    Raises:
        ConfigError: an argument is out of range.
    """

    boost: float = 0.0
    threshold: float = 0.9
    shot: float = 0.0
    read: float = 0.0
    jpeg_quality: int | None = None
    seed: int = 0
    gamma: float | None = None

    def __post_init__(self) -> None:
        if min(self.boost, self.shot, self.read) < 0 or not 0 <= self.threshold < 1:
            raise ConfigError(
                f"camera effects: boost {self.boost}, shot {self.shot} and read {self.read} are 0 or more, threshold "
                f"{self.threshold} is within [0,1); choose such numbers."
            )
        if self.gamma is not None and not 1 <= self.gamma <= 4:
            raise ConfigError(f"camera effects: gamma {self.gamma} is not between 1 and 4.")

    def around(self, blur: Callable[[Light], Light], clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A blur of light [H,W,3] -> [H,W,3], done to a photograph: uint8 [H,W,3] -> uint8 [H,W,3], a new array.

        Raises:
            DataError: `clean` is of another type or shape, or empty.
        """
        return self.pixels(blur(self.light(clean)))

    def light(self, clean: npt.NDArray[np.uint8]) -> Light:
        """What the lens sees of a photograph: uint8 [H,W,3] -> [H,W,3], from 0 to 1 + `boost`.

        Raises:
            DataError: `clean` is of another type or shape, or empty.
        """
        check_rgb8(clean, "a blur")
        light = _to_light(self.gamma)[clean]
        if self.boost:
            brightest = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
            above = np.maximum(brightest - np.float32(self.threshold), 0)
            light *= (1 + np.float32(self.boost / (1 - self.threshold)) * above)[..., None]
        return light

    def pixels(self, light: Light) -> npt.NDArray[np.uint8]:
        """What the camera makes of light [H,W,3]: uint8 [H,W,3], a new array."""
        if self.shot or self.read:
            std = np.sqrt(self.shot * np.clip(light, 0, 1) + self.read, dtype=np.float32)
            noise = np.random.default_rng(self.seed).standard_normal(light.shape, dtype=np.float32)
            light = light + std * noise
        steps = np.sqrt(np.clip(light, 0, 1)) * np.float32(65535) + np.float32(0.5)
        pixels = _to_pixels(self.gamma)[steps.astype(np.uint16)]
        return pixels if self.jpeg_quality is None else JpegCompression(self.jpeg_quality)(pixels)


@lru_cache(maxsize=16)
def _to_light(gamma: float | None) -> Light:
    """The light of each pixel value, [256] float32 in [0,1]."""
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    return srgb_to_linear(values) if gamma is None else values ** np.float32(gamma)


@lru_cache(maxsize=16)
def _to_pixels(gamma: float | None) -> npt.NDArray[np.uint8]:
    """The pixel value of light n²/65535², [65536]: close enough together in the dark."""
    light = (np.arange(65536, dtype=np.float32) / np.float32(65535)) ** 2
    values = linear_to_srgb(light) if gamma is None else light ** np.float32(1 / gamma)
    return np.rint(values * 255).astype(np.uint8)
