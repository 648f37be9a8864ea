"""The restoration tasks by name."""

from ucdir.tasks.deblurring import Deblurring
from ucdir.tasks.jpeg_restoration import JpegRestoration
from ucdir.tasks.low_light import LowLight
from ucdir.tasks.task import Task

TASKS: dict[str, type[Task]] = {
    "jpeg_restoration": JpegRestoration,
    "deblurring": Deblurring,
    "low_light": LowLight,
}

__all__ = ["TASKS", "Deblurring", "JpegRestoration", "LowLight", "Task"]
