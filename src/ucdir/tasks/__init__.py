"""The restoration tasks by name."""

from ucdir.tasks.jpeg_restoration import JpegRestoration
from ucdir.tasks.task import Task

TASKS: dict[str, type[Task]] = {"jpeg_restoration": JpegRestoration}

__all__ = ["TASKS", "JpegRestoration", "Task"]
