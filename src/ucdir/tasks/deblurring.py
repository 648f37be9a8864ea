"""Deblurring (Sec. 4.4): camera shake and defocus, given their kind and length where they are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ucdir.degradations import BlurGenerator, SceneBlur, mean_of_frames
from ucdir.images import Photo
from ucdir.images.pixels import middle
from ucdir.tasks.task import Example, Task, hide_some


class Deblurring(Task[BlurGenerator]):
    """Sec. 4.4."""

    name = "deblurring"
    help = "camera shake and defocus"
    section = "blur"
    scalars = ("blur_type", "blur_length")
    strength = "length of the blur in pixels, 0 to 48"

    @classmethod
    def of_strength(cls, strength: float | None) -> Self:
        """Camera shake of one length."""
        fixed: dict[str, Any] = {}
        if strength is not None:
            fixed = {"lengths": (strength, strength), "defocus_probability": 0}
        return cls(BlurGenerator(unknown_probability=0, scene_probability=0, **fixed))

    def margin(self, side: int) -> int:
        """Half of the longest blur, and what a bent path needs."""
        return 32

    def degrade(self, clean: NDArray[np.uint8], rng: np.random.Generator) -> Example:
        """Clean uint8 [H,W,3] -> the same blurred, perhaps with objects in it, and kind and length of the blur."""
        return self.degrade_middle(clean, rng, max(clean.shape))

    def degrade_middle(self, clean: NDArray[np.uint8], rng: np.random.Generator, side: int) -> Example:
        """The same, at most side x side pixels."""
        blur = self.generator.draw(rng)
        known = {"blur_type": blur.blur_type, "blur_length": blur.blur_length}
        if isinstance(blur, SceneBlur):
            sharp, blurred = blur(clean, side)
        else:
            sharp, blurred = middle(clean, side), blur(clean, side)
        return Example(sharp, blurred, hide_some(known, self.generator.unknown_probability, rng))

    def of_frames(self, frames: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> Example:
        """The frame in the middle, and the mean of all in light; how long the blur is remains unknown."""
        blurred = mean_of_frames(frames, self.generator.draw_effects(rng, of_film=True))
        known = hide_some({"blur_type": 0.0}, self.generator.unknown_probability, rng)
        return Example(frames[len(frames) // 2], blurred, known)

    @staticmethod
    def known_scalars(photo: Photo) -> Mapping[str, float]:
        """Nothing: a file does not record how the camera shook."""
        return {}
