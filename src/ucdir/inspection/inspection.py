"""What is wrong with a photo, how much, and what is to be done about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from ucdir.images import Photo
from ucdir.images.camera import srgb_to_linear
from ucdir.images.raw import MAX_RATIO, NORMAL_LIGHT
from ucdir.inspection.features import features
from ucdir.inspection.network import KINDS, classify
from ucdir.inspection.patches import choose_patches, is_drawn
from ucdir.memory import thinned
from ucdir.tasks import TASKS
from ucdir.tasks.jpeg_restoration import CONSISTENT_FROM
from ucdir.tasks.scalars import SCALARS

Verdict = Literal["nothing wrong", "jpeg", "blur", "noise"]

STRONG_JPEG: Final = 90
"""Quality from which on nothing is wrong with a JPEG file; below it a restoration is the better one, if by little."""
LEAST_BLUR: Final = 3.5
"""Length in pixels from which on blur is a fault: sharp photos of cameras that interpolate every pixel have less."""
LEAST_NOISE: Final = 2.5
"""Deviation in levels from which on noise is a fault: film and the best cameras have less."""
SPREAD: Final = {"blur": 0.25, "noise": 0.15}
"""Standard deviations of the logarithms of the strengths that are found, about."""
GUESSED: Final = 5.0
"""Standard deviation of a quality that neither a file nor the coefficients' steps tell, about."""
HEAVY_JPEG: Final = 40
"""Quality below which little of noise and blur is left to see: what looks like them is of the compression."""
CLEARLY_LOWER: Final = 10
"""By how much an earlier quality is lower than the file's own where it counts instead."""
CERTAIN: Final = 0.9
"""Confidence of what the coefficients show, at least."""
CLEAR: Final = 2.5
"""Gain of the coefficients' likelihood at which even what seems to be drawn was compressed, strongly."""
DARK_LIGHT: Final = 0.02
"""Mean light, as a fraction of white, below which a photo is dark."""
BRIGHT_LIGHT: Final = 0.7
"""Above which it is bright."""

DARK_RATIO: Final = 150.0
"""Exposure ratio that is passed on of noise of the dark, which has a model of its own: what it was does not show."""

TASKS_OF: Final = {"jpeg": "jpeg_restoration", "blur": "deblurring", "noise": "low_light"}
"""What a fault leads to."""


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


@dataclass(frozen=True)
class Inspection:
    """What is wrong with a photo.

    Args:
        verdict: what is worst, or "nothing wrong".
        confidence: 0 to 1, in the verdict.
        task: that the verdict leads to, a name in `tasks.TASKS`; None if nothing is wrong.
        scalars: that are passed on to it.
        jpeg: what is known of JPEG compression.
        noise: what is known of noise.
        blur: what is known of blur.
        exposure: how bright it is.
        reason: for the verdict, in a few words.
    """

    verdict: Verdict
    confidence: float
    task: str | None
    scalars: dict[str, float]
    jpeg: JpegFinding
    noise: NoiseFinding
    blur: BlurFinding
    exposure: ExposureFinding
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def headline(self, name: str) -> str:
        """Of a photo of this name: what is wrong, how sure that is, and what is passed on to which task."""
        what = f"nothing wrong ({self.reason})" if self.task is None else self.reason
        values = {n: self.blur.kind if n == "blur_type" else f"{v:g}" for n, v in self.scalars.items()}
        scalars = "".join(f", {n.replace('_', ' ')} {value}" for n, value in values.items())
        task = "" if self.task is None else f" -> {self.task.replace('_', ' ')}{scalars}"
        return f"{name}: {what}, {self.confidence:.0%} sure{task}"

    def lines(self) -> tuple[str, str, str, str]:
        """Of JPEG, noise, blur and exposure, as they are printed."""
        jpeg, light = self.jpeg, self.exposure
        words = ["none" if jpeg.quality is None else f"quality {jpeg.quality}"]
        if jpeg.tables not in (None, jpeg.quality):
            words.append(f"the file itself {jpeg.tables}")
        if jpeg.compressions > 1:
            words.append("compressed twice")
        if jpeg.grid not in (None, (0, 0)):
            words.append(f"blocks begin at row {jpeg.grid[0]}, column {jpeg.grid[1]}")
        exposure = f"{light.kind}, mean light {light.light:.1%}"
        if light.kind == "dark":
            exposure += f" (--brighten {light.ratio:.2g} for that of an ordinary scene)"
        return (
            f"JPEG      {', '.join(words)} ({jpeg.confidence:.0%})",
            f"noise     {_noise_text(self.noise)} ({self.noise.confidence:.0%})",
            f"blur      {_blur_text(self.blur)} ({self.blur.confidence:.0%})",
            f"exposure  {exposure}, {light.black:.0%} black, {light.white:.0%} white ({light.confidence:.0%})",
        )


def _noise_text(noise: NoiseFinding) -> str:
    if noise.std is None:
        return "none to speak of"
    kind = "" if noise.correlated is None else ", correlated" if noise.correlated else ", white"
    dark = ", of a dark exposure" if noise.dark else ""
    return f"deviation of about {noise.std:g} levels{kind}{dark}"


def _blur_text(blur: BlurFinding) -> str:
    if blur.length is None:
        return "none"
    angle = "" if blur.angle is None else f" at {blur.angle:g}°"
    return f"{blur.kind}, about {blur.length:g} pixels{angle}"


def inspect(photo: Photo) -> Inspection:
    """What is wrong with a photo, from its pixels and what its file says.

    A RAW file, and a photo that is to be brightened, lead to low light whatever else is found.
    """
    chosen, exposure = choose_patches(photo.pixels, photo.alpha), _exposure(photo)
    if chosen is None:  # the file alone tells
        jpeg, noise, blur = _jpeg(photo.jpeg_quality, {}, {}, 0.0), NoiseFinding(), BlurFinding()
        leading, chances = dict[str, float](), dict[str, float]()
    else:
        vector, planes, found = features(chosen)
        said = classify(vector, planes)
        leading = _softmax({kind: said[kind] for kind in KINDS})
        likely = {kind: round(max(_probability(said[f"has_{kind}"]), leading[kind]), 3) for kind in TASKS_OF}
        if is_drawn(chosen) and found["gain"] < CLEAR:
            leading, likely, found["compressions"] = {"clean": 1.0}, dict.fromkeys(TASKS_OF, 0.0), 0.0
        jpeg = _jpeg(photo.jpeg_quality, said, found, likely["jpeg"])
        noise, blur = _noise(said, likely["noise"]), _blur(said, likely["blur"])
        chances = _chances(said, likely, jpeg)
    if photo.exposure is not None:
        reason = "a RAW file" if photo.format == "RAW" else "to be brightened"
        scalars = dict(TASKS["low_light"].known_scalars(photo))
        return Inspection("noise", 1.0, "low_light", scalars, jpeg, noise, blur, exposure, reason)
    worst, confidence = _worst(jpeg, noise, blur, leading, chances)
    scalars, reason = _reason(worst, jpeg, noise, blur)
    if not leading and worst == "nothing wrong":
        reason = "too small or too even to say"
    return Inspection(
        worst, round(confidence, 3), TASKS_OF.get(worst), scalars, jpeg, noise, blur, exposure, reason
    )


def _chances(said: Mapping[str, float], likely: Mapping[str, float], jpeg: JpegFinding) -> dict[str, float]:
    """How likely each fault is there and strong enough to be one, by what is found of its strength."""
    known = jpeg.tables is not None or jpeg.grid is not None
    quality = jpeg.quality if known and jpeg.quality is not None else 100 * said["quality"]
    chances = {"jpeg": (STRONG_JPEG - 0.5 - quality) / (1e-3 if known else GUESSED)}
    for kind, least, length in (("blur", LEAST_BLUR, "log_length"), ("noise", LEAST_NOISE, "log_noise")):
        chances[kind] = (said[length] - math.log(least)) / SPREAD[kind]
    return {kind: likely[kind] * (0.5 + 0.5 * math.erf(far / math.sqrt(2))) for kind, far in chances.items()}


def _worst(
    jpeg: JpegFinding,
    noise: NoiseFinding,
    blur: BlurFinding,
    leading: Mapping[str, float],
    chances: Mapping[str, float],
) -> tuple[Verdict, float]:
    """What leads, and how sure that is; what the file or the coefficients show for certain overrules the classifier."""
    strong = jpeg.quality is not None and jpeg.quality < STRONG_JPEG
    there = {
        "jpeg": strong,
        "blur": blur.length is not None and blur.length >= LEAST_BLUR,
        "noise": noise.std is not None and noise.std >= LEAST_NOISE,
    }
    shares = {kind: leading.get(kind, 0.0) for kind, found in there.items() if found}
    certain = strong and jpeg.confidence >= CERTAIN
    if certain and jpeg.quality is not None and jpeg.quality < HEAVY_JPEG:
        shares = {"jpeg": shares["jpeg"]}
    # a fault that is found leads unless there is likely none
    worst = max(shares, key=lambda kind: shares[kind]) if shares else "nothing wrong"
    if not certain:
        shares["nothing wrong"] = leading.get("clean", 0.0)
        worst = "nothing wrong" if shares["nothing wrong"] > 0.5 else worst
    total = sum(shares.values())
    if total > 0:
        confidence = shares[worst] / total
        if worst == "nothing wrong":
            confidence *= 1 - max((chances[kind] for kind in chances if not there[kind]), default=0.0)
        return worst, confidence  # type: ignore[return-value]
    return worst, jpeg.confidence if worst == "jpeg" else 0.0  # type: ignore[return-value]


def _reason(
    worst: Verdict, jpeg: JpegFinding, noise: NoiseFinding, blur: BlurFinding
) -> tuple[dict[str, float], str]:
    """The scalars that are passed on, and the verdict in a few words."""
    if worst == "jpeg" and jpeg.quality is not None:
        kind = "a JPEG file of" if jpeg.tables == jpeg.quality else "once a JPEG file of about"
        return {"jpeg_quality": float(jpeg.quality)}, f"{kind} quality {jpeg.quality}"
    if worst == "noise" and noise.std is not None:
        ratio = {"exposure_ratio": DARK_RATIO} if noise.dark else {}
        return {"noise_strength": noise.std, **ratio}, f"noise: {_noise_text(noise)}"
    if worst == "blur" and blur.length is not None:
        scalars = {"blur_type": float(blur.kind == "defocus"), "blur_length": blur.length}
        return scalars, f"blur: {_blur_text(blur)}"
    quality = "no JPEG compression" if jpeg.quality is None else f"JPEG quality {jpeg.quality}"
    return {}, f"{quality}, hardly any blur or noise"


def _probability(logit: float) -> float:
    return 0.5 + 0.5 * math.tanh(logit / 2)


def _softmax(logits: dict[str, float]) -> dict[str, float]:
    most = max(logits.values())
    shares = {name: math.exp(value - most) for name, value in logits.items()}
    return {name: share / sum(shares.values()) for name, share in shares.items()}


def _jpeg(
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


def _noise(said: Mapping[str, float], likely: float) -> NoiseFinding:
    if likely <= 0.5:
        return NoiseFinding(confidence=round(1 - likely, 3))
    std = min(math.exp(said["log_noise"]), SCALARS["noise_strength"].range[1])
    return NoiseFinding(round(std, 1), said["correlated"] > 0, said["dark"] > 0, likely)


def _blur(said: Mapping[str, float], likely: float) -> BlurFinding:
    if likely <= 0.5:
        return BlurFinding(confidence=round(1 - likely, 3))
    length = round(min(math.exp(said["log_length"]), SCALARS["blur_length"].range[1]), 1)
    if said["defocus"] > 0:
        return BlurFinding("defocus", length, None, likely)
    return BlurFinding("motion", length, round(said["angle"]) % 180, likely)


def _exposure(photo: Photo) -> ExposureFinding:
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
    confidence = round(_probability(2 * distance), 3)
    return ExposureFinding(
        kind, round(light, 4), round(ratio, 2), round(black, 4), round(white, 4), confidence
    )
