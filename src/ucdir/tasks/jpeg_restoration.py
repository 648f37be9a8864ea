"""JPEG restoration (Sec. 4.5): undo the loss of a JPEG file, knowing its quality from its own tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ucdir.config import Config
from ucdir.data.sources import Example
from ucdir.degradations import JpegCompressionGenerator
from ucdir.images import Photo


class JpegRestoration:
    """See `tasks.task.Task`."""

    name: ClassVar[str] = "jpeg_restoration"
    scalars: ClassVar[tuple[str, ...]] = ("jpeg_quality",)
    strength: ClassVar[str] = "quality of the JPEG file, 1 to 100"
    margin: ClassVar[int] = 0

    def __init__(self, config: Config) -> None:
        self.generator = JpegCompressionGenerator(
            config.jpeg.qualities, config.jpeg.focus, config.jpeg.focus_probability, config.jpeg.subsamplings
        )
        self.unknown_probability = config.jpeg.unknown_probability
        self.shift_probability = config.jpeg.shift_probability

    def degrade(self, clean: NDArray[np.uint8], rng: np.random.Generator) -> Example:
        """Clean uint8 [H,W,3] -> the same through a JPEG file, and its quality (NaN: not told)."""
        compression = self.generator.draw(rng)
        told = rng.random() >= self.unknown_probability
        shifted = rng.random() < self.shift_probability
        top, left = (int(n) for n in rng.integers(1, 8, size=2)) if shifted else (0, 0)
        framed = np.pad(clean, ((top, 0), (left, 0), (0, 0)), mode="symmetric")
        degraded = compression(framed)[top:, left:]
        return Example(
            clean, degraded, {"jpeg_quality": float(compression.quality) if told else float("nan")}
        )

    @staticmethod
    def settings(strength: float | None) -> Mapping[str, object]:
        """A JPEG file of one quality, 4:2:0 as nearly all are, its blocks at the corner."""
        told: dict[str, object] = {"unknown_probability": 0.0, "shift_probability": 0.0}
        if strength is not None:
            quality = (strength, strength)
            told |= {"qualities": quality, "focus": quality, "subsamplings": ("4:2:0",)}
        return {"jpeg": told}

    @staticmethod
    def known_scalars(photo: Photo) -> Mapping[str, float]:
        """The quality that the file's quantisation tables tell; nothing for other formats."""
        return {} if photo.jpeg_quality is None else {"jpeg_quality": float(photo.jpeg_quality)}
