"""What is wrong with a photo, how much, and what is to be done about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from ucdir.images import Photo
from ucdir.inspection.features import features
from ucdir.inspection.findings import (
    CERTAIN,
    BlurFinding,
    ExposureFinding,
    JpegFinding,
    NoiseFinding,
    find_blur,
    find_exposure,
    find_jpeg,
    find_noise,
    probability,
)
from ucdir.inspection.network import KINDS, classify
from ucdir.inspection.patches import choose_patches, is_drawn
from ucdir.tasks import TASKS

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
CLEAR: Final = 2.5
"""Gain of the coefficients' likelihood at which even what seems to be drawn was compressed, strongly."""
DARK_RATIO: Final = 150.0
"""Exposure ratio that is passed on of noise of the dark; what it was does not show."""

TASKS_OF: Final = {"jpeg": "jpeg_restoration", "blur": "deblurring", "noise": "low_light"}
"""What a fault leads to."""


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
        return (
            f"JPEG      {self.jpeg} ({self.jpeg.confidence:.0%})",
            f"noise     {self.noise} ({self.noise.confidence:.0%})",
            f"blur      {self.blur} ({self.blur.confidence:.0%})",
            f"exposure  {self.exposure} ({self.exposure.confidence:.0%})",
        )


def inspect(photo: Photo) -> Inspection:
    """What is wrong with a photo, from its pixels and what its file says.

    A RAW file, and a photo that is to be brightened, lead to low light whatever else is found.
    """
    chosen, exposure = choose_patches(photo.pixels, photo.alpha), find_exposure(photo)
    if chosen is None:  # the file alone tells
        jpeg, noise, blur = find_jpeg(photo.jpeg_quality, {}, {}, 0.0), NoiseFinding(), BlurFinding()
        leading, chances = dict[str, float](), dict[str, float]()
    else:
        vector, planes, found = features(chosen)
        said = classify(vector, planes)
        leading = _softmax({kind: said[kind] for kind in KINDS})
        likely = {kind: round(max(probability(said[f"has_{kind}"]), leading[kind]), 3) for kind in TASKS_OF}
        if is_drawn(chosen) and found["gain"] < CLEAR:
            leading, likely, found["compressions"] = {"clean": 1.0}, dict.fromkeys(TASKS_OF, 0.0), 0.0
        jpeg = find_jpeg(photo.jpeg_quality, said, found, likely["jpeg"])
        noise, blur = find_noise(said, likely["noise"]), find_blur(said, likely["blur"])
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
        return {"noise_strength": noise.std, **ratio}, f"noise: {noise}"
    if worst == "blur" and blur.length is not None:
        scalars = {"blur_type": float(blur.kind == "defocus"), "blur_length": blur.length}
        return scalars, f"blur: {blur}"
    quality = "no JPEG compression" if jpeg.quality is None else f"JPEG quality {jpeg.quality}"
    return {}, f"{quality}, hardly any blur or noise"


def _softmax(logits: dict[str, float]) -> dict[str, float]:
    most = max(logits.values())
    shares = {name: math.exp(value - most) for name, value in logits.items()}
    return {name: share / sum(shares.values()) for name, share in shares.items()}
