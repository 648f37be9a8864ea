"""The models that come with the package: one folder each, named like the task."""

from __future__ import annotations

from pathlib import Path

from ucdir.errors import ConfigError

WEIGHTS = Path(__file__).parents[1] / "weights"


def models() -> list[str]:
    """The names of the models in the package."""
    return sorted(index.parent.name for index in WEIGHTS.glob("*/model_index.json"))


def model_folder(model: str | Path) -> Path:
    """The folder of a model of the package by its name, a bare `str`; or one's own: a `Path`, or `./low_light`."""
    return WEIGHTS / model if isinstance(model, str) and model in models() else Path(model)


def check_own_name(folder: Path) -> None:
    """Refuse to write a model where its name, given to a command, would mean the package's.

    Raises:
        ConfigError: it is the name of a model of the package.
    """
    if str(folder) in models():
        raise ConfigError(
            f"{folder}: is the name of a model of the package; name another folder, such as my_{folder}."
        )
