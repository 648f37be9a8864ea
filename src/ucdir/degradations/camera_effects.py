"""What a camera does to light between lens and file: saturation, noise, tone curve, 8 bits, a JPEG file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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

    Raises:
        ConfigError: an argument is out of range.
    """

    boost: float = 0.0
    threshold: float = 0.9
    shot: float = 0.0
    read: float = 0.0
    jpeg_quality: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.boost, self.shot, self.read) < 0 or not 0 <= self.threshold < 1:
            raise ConfigError(
                f"camera effects: boost {self.boost}, shot {self.shot} and read {self.read} are 0 or more, threshold "
                f"{self.threshold} is within [0,1); choose such numbers."
            )

    def around(self, blur: Callable[[Light], Light], clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A blur of light [H,W,3] -> [H,W,3], done to a photograph: uint8 [H,W,3] -> uint8 [H,W,3], a new array.

        Raises:
            DataError: `clean` is of another type or shape, or empty.
        """
        check_rgb8(clean, "a blur")
        light = srgb_to_linear(clean.astype(np.float32) / np.float32(255))
        if self.boost:
            above = np.maximum(light.max(axis=2, keepdims=True) - np.float32(self.threshold), 0)
            light = light * (1 + np.float32(self.boost / (1 - self.threshold)) * above)
        light = blur(light)
        if self.shot or self.read:
            std = np.sqrt(self.shot * np.clip(light, 0, 1) + self.read, dtype=np.float32)
            noise = np.random.default_rng(self.seed).standard_normal(light.shape, dtype=np.float32)
            light = light + std * noise
        pixels = np.rint(linear_to_srgb(light) * 255).astype(np.uint8)
        return pixels if self.jpeg_quality is None else JpegCompression(self.jpeg_quality)(pixels)
