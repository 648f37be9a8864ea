"""Training on from a model that exists: fine-tuning on photographs of one's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ucdir.errors import WeightsError
from ucdir.model.pretrained import model_folder

if TYPE_CHECKING:
    from ucdir.training.loop import TrainingModel


SIZES = frozenset({"channels", "multipliers", "blocks", "kernel_bases", "scalar_channels"})
"""Settings of a network that show in the shapes of its weights."""


def start_from(
    folder: str | Path, networks: Collection[str], model: TrainingModel, *, residual_scale: float
) -> None:
    """Fill the named networks with the weights of a saved pipeline, be it of this task or of another.

    Weights of auxiliary scalars that only the saved one knows are left out; those of scalars that only the new one
    knows stay as they are, fresh.

    Args:
        folder: that `save_pretrained` wrote, or the name of a pretrained model.
        networks: of "predictor" and "diffusion_model".
        model: what is filled.
        residual_scale: of the experiment; f_θ knows no other.

    Raises:
        WeightsError: the folder holds no model, or one of another size or kind than the configuration describes.
    """
    from ucdir.pipeline import Pipeline

    pipeline = Pipeline.from_pretrained(model_folder(folder))
    old, new = set(pipeline.diffusion_model.scalar_names), set(model.diffusion_model.scalar_names)
    for name in networks:
        network = getattr(model, name)
        weights = _without(old - new, getattr(pipeline, name).state_dict())
        fresh = network.state_dict()
        wanted = _without(new - old, fresh)
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in wanted.items()}:
            raise WeightsError(
                f"{folder}: its {name} is of another size than the configuration describes; "
                "take over its channels, multipliers and blocks, or leave out training.initial."
            )
        settings, theirs = dict(network.config), dict(getattr(pipeline, name).config)
        if name == "diffusion_model":
            settings["residual_scale"] = residual_scale
            theirs["residual_scale"] = pipeline.config.residual_scale
        _check_kind(folder, name, settings, theirs)
        network.load_state_dict({**fresh, **weights})


def _check_kind(
    folder: str | Path, name: str, ours: Mapping[str, object], theirs: Mapping[str, object]
) -> None:
    """Weights of the same shapes are still no good where a network does something else with them."""
    kinds = [k for k in ours if k in theirs and k not in SIZES | {"scalars"} and not k.startswith("_")]
    changed = [f"{k} {theirs[k]!r} (here {ours[k]!r})" for k in sorted(kinds) if ours[k] != theirs[k]]
    if changed:
        raise WeightsError(
            f"{folder}: its {name} was trained with {', '.join(changed)}; take that over, or leave out "
            "training.initial."
        )


def _without(scalars: set[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that do not belong to the encoding of these scalars."""
    return {key: value for key, value in state.items() if not scalars & set(key.split("."))}
