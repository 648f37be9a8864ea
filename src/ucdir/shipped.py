"""The models that come with the package: one folder each, named like the task."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"


def models() -> list[str]:
    """The names of the models in the package."""
    return sorted(index.parent.name for index in WEIGHTS.glob("*/model_index.json"))


def model_folder(model: str | Path) -> Path:
    """The folder of a model of the package by its name, or one's own as it is named."""
    return WEIGHTS / str(model) if str(model) in models() else Path(model)
