"""Fields of a form: what each may be, as JSON schema, and as an argument of `workflows.restore.restore`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ucdir.errors import ConfigError
from ucdir.images.raw import RAW_SIZES
from ucdir.limits import MAX_SAMPLING_STEPS
from ucdir.tasks import TASKS
from ucdir.tasks.scalars import SCALARS

MAX_SAMPLES: Final = 64
"""Most restorations of one request that are averaged; as of the command line."""
IMAGE: Final = "image"
"""The field that holds the photo."""
_NUMBER: Final = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?"


@dataclass(frozen=True)
class Field:
    """A field of a form.

    Args:
        schema: JSON schema of its value.
        parse: text -> value.
    """

    schema: Mapping[str, Any]
    parse: Callable[[str], Any]


def fields(models: Sequence[str]) -> dict[str, Field]:
    """All fields beside the photo, by name.

    Args:
        models: names of the models.
    """
    return {
        "task": _choice(["auto", *TASKS], "What the photo is to be freed of.", default="auto"),
        "model": _choice(models, "A name of /v1/models. By default the one that /v1/inspect names."),
        "seed": _whole(0, 2**63 - 1 - MAX_SAMPLES, "Another seed gives other detail.", default=0),
        "fidelity": _number(
            0, 1, "0: all of the sampled detail. 1: none, the initial prediction.", default=0.0
        ),
        "amount": _number(
            0, 1, "How much of the restoration is applied. By default all, of a JPEG above quality 30 less."
        ),
        "steps": _whole(1, MAX_SAMPLING_STEPS, "Diffusion steps. By default what the model was made for."),
        "samples": _whole(
            1, MAX_SAMPLES, "Restorations that are sampled; the result is their mean.", default=1
        ),
        "consistent": _flag(
            "Of a JPEG file, and in a lossless format: contradict nothing that the file says. By default nearly "
            "nothing, from quality 75 on."
        ),
        "brighten": _brighten(),
        "raw_size": _choice(
            list(RAW_SIZES),
            "Of RAW files: the size of the sensor, or a pixel for each 2x2 of it.",
            default="full",
        ),
        **{
            name: _number(*scalar.range, f"{scalar.help} Unit: {scalar.unit}.")
            for name, scalar in SCALARS.items()
        },
    }


def arguments(values: Mapping[str, str], known: Mapping[str, Field]) -> dict[str, Any]:
    """Arguments of `restore`, and `model` if one is named.

    Args:
        values: of the form, by name.
        known: from `fields`.

    Raises:
        ConfigError: a field is unknown, or its value is out of range.
    """
    given: dict[str, Any] = {}
    for name, text in values.items():
        if name not in known:
            raise ConfigError(f"field {name!r:.80} is unknown; choose from {IMAGE}, {', '.join(known)}.")
        try:
            given[name] = known[name].parse(text)
        except ValueError as error:
            raise ConfigError(f"field {name}: {text!r:.80} is {error}.") from error
    scalars = {name: given.pop(name) for name in SCALARS if name in given}
    return {**given, "scalars": scalars}


def _choice(names: Sequence[str], help: str, **more: Any) -> Field:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"none of {', '.join(names)}")
        return text

    return Field({"type": "string", "enum": list(names), "description": help, **more}, parse)


def _whole(low: int, high: int, help: str, **more: Any) -> Field:
    def parse(text: str) -> int:
        number = int(text) if re.fullmatch(r"\d{1,19}", text, re.ASCII) else -1
        if not low <= number <= high:
            raise ValueError(f"not a whole number from {low} to {high}")
        return number

    schema = {"type": "integer", "minimum": low, "maximum": high, "description": help}
    return Field(schema | more, parse)


def _number(low: float, high: float, help: str, **more: Any) -> Field:
    def parse(text: str) -> float:
        number = float(text) if re.fullmatch(_NUMBER, text, re.ASCII) else float("nan")
        if not low <= number <= high:
            raise ValueError(f"not a number from {low:g} to {high:g}")
        return number

    return Field({"type": "number", "minimum": low, "maximum": high, "description": help, **more}, parse)


def _flag(help: str) -> Field:
    def parse(text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError("neither true nor false")
        return text == "true"

    return Field({"type": "boolean", "description": help}, parse)


def _brighten() -> Field:
    number = _number(*SCALARS["exposure_ratio"].range, "")
    names = ["auto", "file"]

    def parse(text: str) -> float | str:
        try:
            return text if text in names else float(number.parse(text))
        except ValueError as error:
            raise ValueError(f"{error}, nor auto, nor file") from None

    help = "How many times to amplify the light: a number, auto, or file (RAW: 10 s / exposure time)."
    kinds = [{name: number.schema[name] for name in ("type", "minimum", "maximum")}]
    return Field(
        {"oneOf": [*kinds, {"type": "string", "enum": names}], "default": "auto", "description": help}, parse
    )
