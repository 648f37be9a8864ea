"""ucdir restores photographs with diffusion: JPEG compression, blur and extreme low light.

    ucdir.restore("photo.jpg")                                  writes photo.restored.png
    ucdir.inspect("photo.jpg")                                  what is wrong with it: an `Inspection`
    ucdir.restore(image, task="deblurring")                     PIL image, array, tensor or bytes -> the same kind
    pipe = ucdir.load("low_light", device="cuda")               a `RestorationPipeline`, for many images

Importing this package imports nothing heavy; torch comes with the first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ucdir.errors import (
    ConfigError,
    DataError,
    DeviceError,
    ExtraError,
    ImageError,
    OutputError,
    ResultError,
    UcdirError,
    WeightsError,
)

if TYPE_CHECKING:
    from ucdir.inspection import Inspection
    from ucdir.model.pretrained import list_models
    from ucdir.pipeline import RestorationPipeline, load
    from ucdir.workflows.inspect import inspect
    from ucdir.workflows.restore import RestoredPhoto, restore

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "DataError",
    "DeviceError",
    "ExtraError",
    "ImageError",
    "Inspection",
    "OutputError",
    "RestorationPipeline",
    "RestoredPhoto",
    "ResultError",
    "UcdirError",
    "WeightsError",
    "inspect",
    "list_models",
    "load",
    "restore",
]

_MODULES = {
    "Inspection": "ucdir.inspection",
    "RestorationPipeline": "ucdir.pipeline",
    "RestoredPhoto": "ucdir.workflows.restore",
    "inspect": "ucdir.workflows.inspect",
    "list_models": "ucdir.model.pretrained",
    "load": "ucdir.pipeline",
    "restore": "ucdir.workflows.restore",
}
"""Names that are imported at their first use."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name == "Pipeline":
        raise AttributeError(
            "ucdir.Pipeline is now ucdir.RestorationPipeline; its DiffusionPipeline for diffusers is in ucdir.diffusers"
        )
    raise AttributeError(f"module 'ucdir' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
