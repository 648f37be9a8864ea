"""The pretrained models of the package: one folder each, named after its task."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ucdir.errors import ConfigError, WeightsError
from ucdir.images.paths import shown

WEIGHTS = Path(__file__).parents[1] / "weights"


def list_models() -> list[str]:
    """Names of the pretrained models."""
    return sorted(index.parent.name for index in WEIGHTS.glob("*/model_index.json"))


def model_folder(model: str | Path) -> Path:
    """Folder of a pretrained model by its name, a bare `str`; or a folder of one's own: a `Path`, or `./low_light`.

    Raises:
        WeightsError: there is no such model.
    """
    if not isinstance(model, (str, Path)):
        raise WeightsError(f"model {model!r:.80} is neither a name nor the path of a folder.")
    names = list_models()
    if isinstance(model, str) and model in names:
        return WEIGHTS / model
    if not os.path.isdir(model):  # noqa: PTH112 (never an error, however odd the name)
        known = f"choose one of {', '.join(names)}, or" if names else "none came with the package;"
        raise WeightsError(
            f"{shown(Path(model))}: no model has this name and there is no such folder; {known} name the folder "
            "of your own model."
        )
    return Path(model)


def model_digest(folder: Path) -> str:
    """SHA-256 of what a model's results depend on: its configuration and weights.

    Raises:
        WeightsError: a file cannot be read.
    """
    total = hashlib.sha256()
    try:
        for path in sorted(p for p in folder.rglob("*") if p.suffix in {".json", ".safetensors", ".onnx"}):
            with path.open("rb") as file:
                total.update(path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape"))
                total.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise WeightsError(
            f"{shown(folder)}: cannot be read ({error.strerror}); check the folder."
        ) from error
    return total.hexdigest()


def check_own_name(folder: Path) -> None:
    """Refuse to write a model to a folder that commands could not name, as they would take it for a pretrained model.

    Raises:
        ConfigError: it is the name of a pretrained model.
    """
    if str(folder) in list_models():
        raise ConfigError(
            f"{folder}: is the name of a pretrained model; choose another folder, such as my_{folder}."
        )
