"""The restoration tasks by name."""

from ucdir.config import parse_config
from ucdir.errors import ConfigError
from ucdir.tasks.deblurring import Deblurring
from ucdir.tasks.jpeg_restoration import JpegRestoration
from ucdir.tasks.low_light import LowLight
from ucdir.tasks.task import Task

TASKS: dict[str, type[Task]] = {
    "jpeg_restoration": JpegRestoration,
    "deblurring": Deblurring,
    "low_light": LowLight,
}


def task_class(name: str) -> type[Task]:
    """A task's class.

    Raises:
        ConfigError: there is no such task.
    """
    if name not in TASKS:
        raise ConfigError(f"task {name!r} is unknown; choose one of {', '.join(TASKS)}.")
    return TASKS[name]


def task_of_strength(name: str, strength: float | None) -> Task:
    """A task whose damage is of one strength (None: of any), and whose scalars are always told.

    Raises:
        ConfigError: there is no such task, or the strength is out of range.
    """
    kind = task_class(name)
    settings = {"task": name, "data": {"photos": "."}, **kind.settings(strength)}
    return kind(parse_config(settings, f"strength {strength}"))


__all__ = ["TASKS", "Deblurring", "JpegRestoration", "LowLight", "Task", "task_class", "task_of_strength"]
