"""What is found of each fault of a photo: JPEG compression, noise, blur, exposure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from ucdir.images import Photo
from ucdir.images.camera import srgb_to_linear
from ucdir.images.raw import MAX_RATIO, NORMAL_LIGHT
from ucdir.memory import thinned
from ucdir.tasks.jpeg_restoration import CONSISTENT_FROM
from ucdir.tasks.scalars import SCALARS

CLEARLY_LOWER: Final = 10
"""By how much an earlier quality is lower than the file's own where it counts instead."""
CERTAIN: Final = 0.9
"""Confidence of what the coefficients show, at least."""
DARK_LIGHT: Final = 0.02
"""Mean light, as a fraction of white, below which a photo is dark."""
BRIGHT_LIGHT: Final = 0.7
"""Above which it is bright."""


@dataclass(frozen=True)
class JpegFinding:
    """What is known of JPEG compression.

    Args:
        quality: 1 to 100, of the strongest compression; None where none shows.
        tables: quality of the file's own tables; None of other files.
        grid: row and column, 0..7, where the first whole 8x8 block of the compression that pixels show begins.
        compressions: how many show, 0 to 2; a JPEG file's own is one.
        confidence: 0 to 1, that what `quality` says is so.
    """

    quality: int | None = None
    tables: int | None = None
    grid: tuple[int, int] | None = None
    compressions: int = 0
    confidence: float = 0.0

    def __str__(self) -> str:
        words = ["none" if self.quality is None else f"quality {self.quality}"]
        if self.tables not in (None, self.quality):
            words.append(f"the file itself {self.tables}")
        if self.compressions > 1:
            words.append("compressed twice")
        if self.grid not in (None, (0, 0)):
            words.append(f"blocks begin at row {self.grid[0]}, column {self.grid[1]}")
        return ", ".join(words)


@dataclass(frozen=True)
class NoiseFinding:
    """What is known of noise.

    Args:
        std: standard deviation in mid-grey, in 8-bit levels; None where there is next to none.
        correlated: whether neighbouring pixels have the same noise, as after demosaicing or denoising.
        dark: whether it is that of an extremely dark exposure, amplified: of a sensor, and of nothing done to it.
        confidence: 0 to 1, that there is noise, or none.
    """

    std: float | None = None
    correlated: bool | None = None
    dark: bool | None = None
    confidence: float = 0.0

    def __str__(self) -> str:
        if self.std is None:
            return "none to speak of"
        kind = "" if self.correlated is None else ", correlated" if self.correlated else ", white"
        dark = ", of a dark exposure" if self.dark else ""
        return f"deviation of about {self.std:g} levels{kind}{dark}"


@dataclass(frozen=True)
class BlurFinding:
    """What is known of blur, of what is sharpest: a shallow depth of field is none.

    Args:
        kind: motion, defocus or none.
        length: of the path, or diameter of the disc, in pixels; None where there is none.
        angle: of motion, in degrees from the horizontal, anticlockwise, 0 to 180; None where there is none.
        confidence: 0 to 1, that there is blur, or none.
    """

    kind: Literal["none", "motion", "defocus"] = "none"
    length: float | None = None
    angle: float | None = None
    confidence: float = 0.0

    def __str__(self) -> str:
        if self.length is None:
            return "none"
        angle = "" if self.angle is None else f" at {self.angle:g}°"
        return f"{self.kind}, about {self.length:g} pixels{angle}"


@dataclass(frozen=True)
class ExposureFinding:
    """How bright the photo is.

    Args:
        kind: normal, dark or bright; none of them is a fault.
        light: mean light as a fraction of white.
        ratio: what would have to be given as `--brighten` to make it as bright as an ordinary scene; of a RAW file,
            what its light was amplified by.
        black: share of the pixels that are black.
        white: share that are white.
        confidence: 0 to 1, in the kind.
    """

    kind: Literal["normal", "dark", "bright"]
    light: float
    ratio: float
    black: float
    white: float
    confidence: float

    def __str__(self) -> str:
        brighten = (
            f" (--brighten {self.ratio:.2g} for that of an ordinary scene)" if self.kind == "dark" else ""
        )
        return f"{self.kind}, mean light {self.light:.1%}{brighten}, {self.black:.0%} black, {self.white:.0%} white"


def find_jpeg(
    own: int | None, said: Mapping[str, float], found: Mapping[str, float], likely: float
) -> JpegFinding:
    """From a file's own quality, the steps of its coefficients and, where they do not show, the classifier."""
    shown = JpegFinding(confidence=round(1 - likely, 3) if said else 0.0)
    if said:
        guess = round(min(max(100 * said["quality"], 1), 100))
        steps = int(found["compressions"])
        weak = found["quality"] >= CONSISTENT_FROM and guess < found["quality"] - 30
        doubtful = likely < 0.02 and found["quality"] < CONSISTENT_FROM
        if steps and not doubtful and not (weak and likely > 0.97):
            grid = int(found["grid_down"]), int(found["grid_across"])
            shown = JpegFinding(int(found["quality"]), None, grid, min(steps, 2), max(likely, CERTAIN))
        elif likely > 0.5:  # its steps do not show, or are those of a weak compression of what was resized
            shown = JpegFinding(guess, None, None, min(1 + steps, 2), likely)
    if own is None:
        return shown
    lower = CLEARLY_LOWER if shown.grid is not None else 2 * CLEARLY_LOWER  # a guess is off by that much
    if shown.quality is None or shown.quality > own - lower or (shown.grid is None and likely < 0.8):
        return JpegFinding(own, own, (0, 0), 1, 1.0)
    return replace(shown, tables=own, compressions=2)


def find_noise(said: Mapping[str, float], likely: float) -> NoiseFinding:
    """From what the classifier says, and how likely there is noise."""
    if likely <= 0.5:
        return NoiseFinding(confidence=round(1 - likely, 3))
    std = min(math.exp(said["log_noise"]), SCALARS["noise_strength"].range[1])
    return NoiseFinding(round(std, 1), said["correlated"] > 0, said["dark"] > 0, likely)


def find_blur(said: Mapping[str, float], likely: float) -> BlurFinding:
    """From what the classifier says, and how likely there is blur."""
    if likely <= 0.5:
        return BlurFinding(confidence=round(1 - likely, 3))
    length = round(min(math.exp(said["log_length"]), SCALARS["blur_length"].range[1]), 1)
    if said["defocus"] > 0:
        return BlurFinding("defocus", length, None, likely)
    return BlurFinding("motion", length, round(said["angle"]) % 180, likely)


def find_exposure(photo: Photo) -> ExposureFinding:
    """From the light of some of its pixels."""
    height, width = photo.pixels.shape[:2]
    step = max(1, math.isqrt(height * width // 2**16))
    peak = np.iinfo(photo.pixels.dtype).max
    some = np.ascontiguousarray(thinned(photo.pixels, step))
    counts = np.bincount(some.ravel(), minlength=peak + 1)
    light = float(counts @ srgb_to_linear(np.arange(peak + 1) / peak) / some.size)
    darkest, brightest = peak // 255, peak - peak // 255
    black, white = (
        float(np.logical_and.reduce([part[..., channel] for channel in range(some.shape[2])]).mean())
        for part in (some < darkest, some > brightest)
    )
    ratio = float(np.clip(NORMAL_LIGHT / max(light, 1e-6), 1, MAX_RATIO))
    if photo.exposure is not None:
        ratio = photo.exposure.ratio
    kind: Literal["normal", "dark", "bright"] = "dark" if light < DARK_LIGHT else "normal"
    if light > BRIGHT_LIGHT:
        kind = "bright"
    # how far from the nearer limit
    distance = min(abs(math.log((light + 1e-4) / limit)) for limit in (DARK_LIGHT, BRIGHT_LIGHT))
    confidence = round(probability(2 * distance), 3)
    return ExposureFinding(
        kind, round(light, 4), round(ratio, 2), round(black, 4), round(white, 4), confidence
    )


def probability(logit: float) -> float:
    """1 / (1 + exp(-logit)), without overflow."""
    return 0.5 + 0.5 * math.tanh(logit / 2)
