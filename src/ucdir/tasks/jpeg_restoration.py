"""JPEG restoration (Sec. 4.5): undo the loss of a JPEG file, given the quality, which is read from its own tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ucdir.degradations import JpegCompressionGenerator
from ucdir.images import Photo
from ucdir.tasks.task import Example, Task, hide_some

# High qualities: what is done so that a photo is not made worse (docs/results.md has the figures).
AMOUNTS = {30: 1.0, 60: 0.65, 80: 0.4, 100: 0.0}
"""How much of a restoration is applied, by JPEG quality; linear in between."""
CONSISTENT_FROM = 75
"""Quality of a JPEG file from which on a restoration is made consistent with it."""


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

    def margin(self, side: int) -> int:
        """So much that a crop of `side` pixels is left of what is resized, in whole 8x8 blocks."""
        if not self.generator.resize_probability:
            return 0
        return 8 * math.ceil(side * max(0, 1 / self.generator.resize[0] - 1) / 16)

    def smallest_photo(self, side: int) -> int:
        """With the margin, as a crop may shrink to its part without."""
        return side + 2 * self.margin(side)

    def degrade(self, clean: NDArray[np.uint8], rng: np.random.Generator) -> Example:
        """Clean uint8 [H,W,3] -> the same through a JPEG file, and its quality."""
        history = self.generator.draw_history(rng)
        scalars = hide_some({"jpeg_quality": float(history.quality)}, self.generator.unknown_probability, rng)
        shifted = rng.random() < self.generator.shift_probability and history.scale == 1
        top, left = (int(n) for n in rng.integers(1, 8, size=2)) if shifted else (0, 0)
        framed = np.pad(clean, ((top, 0), (left, 0), (0, 0)), mode="symmetric")
        clean, degraded = (image[top:, left:] for image in history(framed))
        return Example(clean, degraded, scalars)

    @staticmethod
    def amount(scalars: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32] | None:
        """As in `AMOUNTS`; all where the quality is unknown.

        The better the file, the less is wrong with its pixels and the more of what a model changes is an error of its
        own. The two errors are nearly independent, so a mean of both images has less of it than either.
        """
        quality = scalars.get("jpeg_quality")
        if quality is None:
            return None
        return np.interp(np.nan_to_num(quality), list(AMOUNTS), list(AMOUNTS.values())).astype(np.float32)

    @staticmethod
    def known_scalars(photo: Photo) -> Mapping[str, float]:
        """The quality, estimated from the file's quantization tables; nothing for other formats."""
        return {} if photo.jpeg_quality is None else {"jpeg_quality": float(photo.jpeg_quality)}
