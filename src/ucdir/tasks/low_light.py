"""Low light (Sec. 4.3): a dark RAW photo, amplified, or a noisy one that its camera has developed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ucdir.degradations import DevelopedNoiseGenerator, LowLightGenerator, LowLightNoise
from ucdir.images import Photo
from ucdir.tasks.task import Example, Task, hide_some


class LowLight(Task[LowLightGenerator]):
    """Sec. 4.3."""

    name = "low_light"
    help = "noise, and extreme low light"
    section = "low_light"
    scalars = ("exposure_ratio", "gain", "noise_strength")
    strength = "exposure ratio: how many times too dark, 1 to 300"

    @classmethod
    def of_strength(cls, strength: float | None) -> Self:
        """The light of a RAW file of SID's camera, darkened by one ratio."""
        fixed: dict[str, Any] = {}
        if strength is not None:
            fixed = {
                "ratios": (strength, strength),
                "srgb_probability": 0,
                "strongest": 255,
                "portrait_probability": 0,
                "developed_probability": 0,
                "cameras": ("sony_a7s2",),
            }
        developed = DevelopedNoiseGenerator(unknown_probability=0)
        return cls(LowLightGenerator(unknown_probability=0, developed=developed, **fixed))

    def degrade(self, clean: NDArray[np.uint8], rng: np.random.Generator) -> Example:
        """Clean uint8 [H,W,3] -> what a long exposure gives, the noisy photo, and the scalars."""
        noise = self.generator.draw(rng)
        generator = self.generator if isinstance(noise, LowLightNoise) else self.generator.developed
        given = hide_some(dict.fromkeys(self.scalars, 0.0), generator.unknown_probability, rng)
        scalars = {  # only what is given is worked out: the strength of developed noise takes a while
            name: value if math.isnan(value) else float(getattr(noise, name)) for name, value in given.items()
        }
        portrait = self.generator.portrait_probability
        turned = portrait > 0 and rng.random() < portrait
        stored = np.ascontiguousarray(np.rot90(clean)) if turned else clean
        pair = noise.long_exposure(stored), noise(stored)
        target, degraded = (np.ascontiguousarray(np.rot90(x, -1)) for x in pair) if turned else pair
        return Example(target, degraded, scalars)

    @staticmethod
    def known_scalars(photo: Photo) -> Mapping[str, float]:
        """The exposure ratio that the photo was amplified by, and the camera's gain, where they are known."""
        if photo.exposure is None:
            return {}
        known = {"exposure_ratio": photo.exposure.ratio, "gain": photo.exposure.gain}
        return {name: value for name, value in known.items() if value is not None}
