"""Options for what is known of a degradation: one for each of `SCALARS`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any

import typer

from ucdir.tasks.scalars import SCALARS


class BlurType(StrEnum):
    """Values of blur_type by name, in their order."""

    MOTION = "motion"
    DEFOCUS = "defocus"


NAMED_VALUES: dict[str, type[StrEnum]] = {"blur_type": BlurType}
"""Scalars whose values 0, 1, … have names on the command line."""


def takes_scalars(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all scalars; it gets the values that were given as its argument `scalars`."""
    names = list(SCALARS)

    @wraps(command)
    def with_options(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in names}
        scalars = {name: _number(value) for name, value in given.items() if value is not None}
        command(**arguments, scalars=scalars)

    signature = inspect.signature(command, eval_str=True)
    parameters = {
        n: p.replace(kind=p.KEYWORD_ONLY) for n, p in signature.parameters.items() if n != "scalars"
    }
    parameters |= {name: _option(name) for name in names}
    with_options.__signature__ = signature.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
    with_options.__annotations__ = {name: p.annotation for name, p in parameters.items()}
    return with_options


def as_options(scalars: Mapping[str, float]) -> list[str]:
    """Scalars as the arguments of a command: `--blur-type`, `motion`, `--blur-length`, `12.5`."""
    return [
        part
        for name, value in scalars.items()
        for part in (f"--{name.replace('_', '-')}", value_text(name, value))
    ]


def value_text(name: str, value: float) -> str:
    """A scalar's value as options give it, the name of a named one."""
    names = list(NAMED_VALUES.get(name, ()))
    return names[int(value)] if value in range(len(names)) else f"{value:g}"


def _option(name: str) -> inspect.Parameter:
    scalar = SCALARS[name]
    values = NAMED_VALUES.get(name)
    if values is None:
        kind: Any = float
        option = typer.Option(min=scalar.range[0], max=scalar.range[1], help=scalar.help)
    else:
        kind, option = values, typer.Option(help=scalar.help)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _number(value: float | StrEnum) -> float:
    return float(list(type(value)).index(value) if isinstance(value, StrEnum) else value)
