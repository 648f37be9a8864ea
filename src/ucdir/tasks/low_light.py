"""Extreme low light (Sec. 4.2): a dark RAW photograph, amplified, or a noisy one that is developed already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ucdir.config import Config
from ucdir.data.sources import Example
from ucdir.degradations import LowLightGenerator
from ucdir.images import Photo


class LowLight:
    """See `tasks.task.Task`."""

    name: ClassVar[str] = "low_light"
    scalars: ClassVar[tuple[str, ...]] = ("exposure_ratio", "gain", "noise_strength")
    strength: ClassVar[str] = "exposure ratio: how many times too dark, 1 to 300"
    margin: ClassVar[int] = 0

    def __init__(self, config: Config) -> None:
        settings = config.low_light
        self.generator = LowLightGenerator(ratios=settings.ratios, srgb_probability=settings.srgb_probability)
        self.unknown_probability = settings.unknown_probability

    def degrade(self, clean: NDArray[np.uint8], rng: np.random.Generator) -> Example:
        """Clean uint8 [H,W,3] -> truth and amplified noise; each scalar is told or not, for itself."""
        noise = self.generator.draw(rng)
        told = rng.random(len(self.scalars)) >= self.unknown_probability
        scalars = {
            name: float(getattr(noise, name)) if known else float("nan")
            for name, known in zip(self.scalars, told, strict=True)
        }
        return Example(noise.truth(clean), noise(clean), scalars)

    @staticmethod
    def settings(strength: float | None) -> Mapping[str, object]:
        """The light of a RAW file, darkened by one ratio."""
        one = {} if strength is None else {"ratios": (strength, strength), "srgb_probability": 0.0}
        return {"low_light": {"unknown_probability": 0.0, **one}}

    @staticmethod
    def known_scalars(photo: Photo) -> Mapping[str, float]:
        """The exposure ratio that the photograph was amplified by, and the camera's gain, if they are known."""
        if photo.exposure is None:
            return {}
        known = {"exposure_ratio": photo.exposure.ratio, "gain": photo.exposure.gain}
        return {name: value for name, value in known.items() if value is not None}
