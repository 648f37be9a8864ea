"""Fine-tuning: training starts from the weights of a saved model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from ucdir.errors import WeightsError
from ucdir.model.pretrained import model_folder
from ucdir.model.weights import load_model
from ucdir.training.model import TrainingModel

SIZES = frozenset({"channels", "multipliers", "blocks", "kernel_bases", "scalar_channels", "scalars"})
"""Settings of a network that show in the shapes or names of its weights."""


def start_from(
    folder: str | Path, networks: Collection[str], model: TrainingModel, *, residual_scale: float
) -> None:
    """Copy the weights of a saved model, of the same task or another one, into the named networks.

    Weights of auxiliary scalars that only the saved model has are left out; those of scalars that only the new model
    has keep their fresh values.

    Args:
        folder: of a model, or the name of a pretrained one.
        networks: of "predictor" and "diffusion_model".
        model: gets the weights.
        residual_scale: of the new training; f_θ must have been trained with the same.

    Raises:
        WeightsError: the folder contains no model, or one of another size or kind than the configuration describes.
    """
    predictor, diffusion_model, saved_config = load_model(model_folder(folder))
    saved = {"predictor": predictor, "diffusion_model": diffusion_model}
    old, new = set(diffusion_model.scalar_names), set(model.diffusion_model.scalar_names)
    for name in networks:
        network = getattr(model, name)
        fresh = network.state_dict()
        weights = _without(old - new, saved[name].state_dict())
        wanted = _without(new - old, fresh)
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in wanted.items()}:
            raise WeightsError(
                f"{folder}: its {name} is of another size than the configuration describes; "
                "take over its channels, multipliers and blocks, or leave out training.initial."
            )
        settings, theirs = network.config.model_dump(), saved[name].config.model_dump()
        if name == "diffusion_model":
            settings["residual_scale"] = residual_scale
            theirs["residual_scale"] = saved_config.residual_scale
        _check_kind(folder, name, settings, theirs)
        network.load_state_dict({**fresh, **weights})


def _check_kind(
    folder: str | Path, name: str, settings: Mapping[str, object], theirs: Mapping[str, object]
) -> None:
    """Refuse weights of the right shapes that were trained for another computation."""
    changed = [
        f"{key} {theirs[key]!r} (here {settings[key]!r})"
        for key in sorted(settings.keys() & theirs.keys() - SIZES)
        if settings[key] != theirs[key]
    ]
    if changed:
        raise WeightsError(
            f"{folder}: its {name} was trained with {', '.join(changed)}; take that over, or leave out "
            "training.initial."
        )


def _without(scalars: set[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that do not belong to the embedding of these scalars."""
    return {key: value for key, value in state.items() if not scalars & set(key.split("."))}
