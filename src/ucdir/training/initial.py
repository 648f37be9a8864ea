"""Training on from a model that exists: fine-tuning on photographs of one's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ucdir.errors import WeightsError
from ucdir.shipped import model_folder

if TYPE_CHECKING:
    from ucdir.training.loop import TrainingModel


def start_from(folder: Path, networks: Collection[str], model: TrainingModel) -> None:
    """Fill the named networks with the weights of a saved pipeline, be it of this task or of another.

    Weights of auxiliary scalars that only the saved one knows are left out; those of scalars that only the new one
    knows stay as they are, fresh.

    Args:
        folder: that `save_pretrained` wrote, or the name of a model of the package.
        networks: of "predictor" and "diffusion_model".
        model: what is filled.

    Raises:
        WeightsError: the folder holds no model, or one of another size than the configuration describes.
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
        network.load_state_dict({**fresh, **weights})


def _without(scalars: set[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that do not belong to the encoding of these scalars."""
    return {key: value for key, value in state.items() if not scalars & set(key.split("."))}
