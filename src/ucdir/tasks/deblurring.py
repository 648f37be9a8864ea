"""Deblurring (Sec. 4.3): camera shake and defocus, their kind and length told if they are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ucdir.config import Config
from ucdir.data.sources import Example
from ucdir.degradations import BlurGenerator
from ucdir.images import Photo


class Deblurring:
    """See `tasks.task.Task`."""

    name: ClassVar[str] = "deblurring"
    scalars: ClassVar[tuple[str, ...]] = ("blur_type", "blur_length")
    strength: ClassVar[str] = "length of the blur in pixels, 0 to 48"
    margin: ClassVar[int] = 24

    def __init__(self, config: Config) -> None:
        self.generator = BlurGenerator(
            lengths=config.blur.lengths, defocus_probability=config.blur.defocus_probability
        )
        self.unknown_probability = config.blur.unknown_probability

    def degrade(self, clean: NDArray[np.uint8], rng: np.random.Generator) -> Example:
        """Clean uint8 [H,W,3] -> the same blurred; type and length are told or not, each for itself."""
        blur = self.generator.draw(rng)
        told = rng.random(2) >= self.unknown_probability
        values = {"blur_type": blur.blur_type, "blur_length": blur.blur_length}
        scalars = {
            name: value if known else float("nan")
            for (name, value), known in zip(values.items(), told, strict=True)
        }
        return Example(clean, blur(clean), scalars)

    @staticmethod
    def settings(strength: float | None) -> Mapping[str, object]:
        """Camera shake of one length."""
        one = {} if strength is None else {"lengths": (strength, strength), "defocus_probability": 0.0}
        return {"blur": {"unknown_probability": 0.0, **one}}

    @staticmethod
    def known_scalars(photo: Photo) -> Mapping[str, float]:
        """Nothing: a file does not tell how its photographer trembled."""
        return {}
