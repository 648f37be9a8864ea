"""JPEG restoration (Sec. 4.5): undo the loss of a JPEG file, given the quality, which is read from its own tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ucdir.degradations import JpegCompressionGenerator
from ucdir.images import Photo
from ucdir.tasks.task import Example, Task, hide_some


class JpegRestoration(Task[JpegCompressionGenerator]):
    """Sec. 4.5."""

    name = "jpeg_restoration"
    help = "artefacts of JPEG compression"
    section = "jpeg"
    scalars = ("jpeg_quality",)
    strength = "quality of the JPEG file, 1 to 100"

    @classmethod
    def of_strength(cls, strength: float | None) -> Self:
        """A JPEG file of one quality, 4:2:0 as nearly all are, its blocks at the corner."""
        fixed: dict[str, Any] = {}
        if strength is not None:
            fixed = {
                "qualities": (strength, strength),
                "focus": (strength, strength),
                "subsamplings": ("4:2:0",),
            }
        return cls(JpegCompressionGenerator(unknown_probability=0, shift_probability=0, **fixed))

    def degrade(self, clean: NDArray[np.uint8], rng: np.random.Generator) -> Example:
        """Clean uint8 [H,W,3] -> the same through a JPEG file, and its quality."""
        compression = self.generator.draw(rng)
        scalars = hide_some(
            {"jpeg_quality": float(compression.quality)}, self.generator.unknown_probability, rng
        )
        shifted = rng.random() < self.generator.shift_probability
        top, left = (int(n) for n in rng.integers(1, 8, size=2)) if shifted else (0, 0)
        framed = np.pad(clean, ((top, 0), (left, 0), (0, 0)), mode="symmetric")
        return Example(clean, compression(framed)[top:, left:], scalars)

    @staticmethod
    def known_scalars(photo: Photo) -> Mapping[str, float]:
        """The quality, estimated from the file's quantization tables; nothing for other formats."""
        return {} if photo.jpeg_quality is None else {"jpeg_quality": float(photo.jpeg_quality)}
