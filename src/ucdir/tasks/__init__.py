"""The restoration tasks by name."""

from typing import Any

from pydantic import ValidationError

from ucdir.errors import ConfigError
from ucdir.section import problems
from ucdir.tasks.deblurring import Deblurring
from ucdir.tasks.jpeg_restoration import JpegRestoration
from ucdir.tasks.low_light import LowLight
from ucdir.tasks.task import Example, Task

TASKS: dict[str, type[Task[Any]]] = {kind.name: kind for kind in (JpegRestoration, Deblurring, LowLight)}


def task_class(name: str) -> type[Task[Any]]:
    """A task's class.

    Raises:
        ConfigError: there is no such task.
    """
    if name not in TASKS:
        raise ConfigError(f"task {name!r} is unknown; choose one of {', '.join(TASKS)}.")
    return TASKS[name]


def task_of_strength(name: str, strength: float | None) -> Task[Any]:
    """A task with a degradation of one strength (None: of any) whose scalars are always given.

    Raises:
        ConfigError: there is no such task, or the strength is out of range.
    """
    try:
        return task_class(name).of_strength(strength)
    except ValidationError as error:
        raise ConfigError(f"{name} of strength {strength}: {problems(error)}.") from None


__all__ = [
    "TASKS",
    "Deblurring",
    "Example",
    "JpegRestoration",
    "LowLight",
    "Task",
    "task_class",
    "task_of_strength",
]
