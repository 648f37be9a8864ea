"""ucdir restores photographs with diffusion: `ucdir.load("jpeg_restoration")` gives a pipeline.

Importing this package imports nothing heavy; torch comes with the first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Pipeline", "load", "restore"]

if TYPE_CHECKING:
    from ucdir.pipeline import Pipeline
    from ucdir.workflows.restore import load, restore


_PLACES = {
    "Pipeline": "ucdir.pipeline",
    "load": "ucdir.workflows.restore",
    "restore": "ucdir.workflows.restore",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'ucdir' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
