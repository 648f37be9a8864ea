"""Auxiliary scalars (Sec. 3.1): what can be known of a degradation, as numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ConfigError

UNKNOWN = float("nan")
"""The value of a scalar that is unknown."""


@dataclass(frozen=True)
class Scalar:
    """One auxiliary scalar.

    Args:
        name: as in configurations, in `scalars` of a call and, with dashes, on the command line.
        help: what it is, for the command line.
        unit: of its values.
        range: smallest and largest value that a call may give.
        scale: values that the network sees as 0 and 1; those beyond count as the nearer end.
        logarithmic: whether the network sees the logarithm of the value.
        default: value where a call gives none; by default it is unknown.
    """

    name: str
    help: str
    unit: str
    range: tuple[float, float]
    scale: tuple[float, float]
    logarithmic: bool = False
    default: float = UNKNOWN


SCALARS: dict[str, Scalar] = {
    scalar.name: scalar
    for scalar in (
        Scalar(
            "jpeg_quality", "Quality that the photo was once saved with, if its file does not record it.",
            unit="IJG quality", range=(1, 100), scale=(0, 100),
        ),
        Scalar(
            "blur_type", "Whether the camera shook or was out of focus.",
            unit="0 motion, 1 out of focus", range=(0, 1), scale=(0, 1),
        ),
        Scalar(
            "blur_length", "Length of the blur in pixels, roughly.",
            unit="pixels", range=(0, 64), scale=(0, 64),
        ),
        Scalar(
            "exposure_ratio", "How many times the light was amplified already, by the camera or a program.",
            unit="times", range=(1, 1000), scale=(1, 1000), logarithmic=True,
        ),
        Scalar(
            "gain", "Gain of the camera.",
            unit="digital numbers per electron", range=(0.01, 1000), scale=(0.1, 1000), logarithmic=True,
        ),
        Scalar(
            "noise_strength", "Standard deviation of the noise in mid-grey, in 8-bit levels, roughly.",
            unit="8-bit levels", range=(0, 255), scale=(1, 128), logarithmic=True,
        ),
        Scalar(
            "diversity", "How much samples differ: 0 hardly, 1 as much as what could have been there (of models "
            "that were trained for it).",
            unit="0 to 1", range=(0, 1), scale=(0, 1), default=0.25,
        ),
    )
}  # fmt: skip
"""By name; a task gives some of them."""

DIALS: Final = ("diversity",)
"""Scalars that are no property of a degradation: a model of any task may take them."""


def check_scalars(
    scalars: Mapping[str, Any], known: Collection[str], batch: int = 1
) -> dict[str, NDArray[np.float32]]:
    """The scalars of a call, checked: by name, float32 [batch], NaN where unknown.

    Args:
        scalars: by name, a number, or one for each image of the batch; in the units of `SCALARS`.
        known: names that the model takes; those with a default that are not given have it.
        batch: how many images there are.

    Raises:
        ConfigError: the model does not take one of them, or it is not a number, out of range, or of another count.
    """
    check_mapping(scalars)
    foreign = sorted(set(scalars) - set(known))
    if foreign:
        raise ConfigError(
            f"scalars: this model knows nothing of {', '.join(foreign)}; it takes {', '.join(known) or 'none'}."
        )
    defaults = {name: SCALARS[name].default for name in known if name in DIALS}
    return {name: _checked(SCALARS[name], value, batch) for name, value in {**defaults, **scalars}.items()}


def check_mapping(scalars: object) -> None:
    """Refuse what does not name scalars.

    Raises:
        ConfigError: it is no mapping of names.
    """
    if not isinstance(scalars, Mapping) or not all(isinstance(name, str) for name in scalars):
        raise ConfigError(f"scalars {scalars!r:.80}: give names and numbers, such as {{'jpeg_quality': 10}}.")


def _checked(scalar: Scalar, value: Any, batch: int) -> NDArray[np.float32]:
    if isinstance(value, (str, bytes)):  # which NumPy would parse
        raise ConfigError(f"scalars: {scalar.name} {value!r:.80} is not a number.")
    try:
        with np.errstate(over="ignore"):  # infinity is out of range
            numbers = np.asarray(value, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ConfigError(f"scalars: {scalar.name} {value!r:.80} is not a number.") from error
    if value is None:  # which NumPy takes for NaN
        raise ConfigError(f"scalars: {scalar.name} None is not a number; leave out what is unknown.")
    if len(numbers) not in (1, batch):
        raise ConfigError(
            f"scalars: {scalar.name} has {len(numbers)} values for {batch} images; give one or {batch}."
        )
    low, high = scalar.range
    outside = numbers[(numbers < low) | (numbers > high)]
    if len(outside):
        raise ConfigError(
            f"scalars: {scalar.name} {outside[0]:g} is out of range; it goes from {low:g} to {high:g} ({scalar.unit})."
        )
    return np.broadcast_to(numbers, (batch,)).copy()
