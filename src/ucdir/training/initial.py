"""Training on from a model that exists: fine-tuning on photographs of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ucdir.errors import WeightsError

if TYPE_CHECKING:
    from ucdir.training.loop import TrainingModel


def start_from(folder: Path, model: TrainingModel) -> None:
    """Fill both networks with the weights of a saved pipeline.

    Raises:
        WeightsError: the folder holds no model, or one of another size than the configuration describes.
    """
    from ucdir.pipeline import Pipeline

    pipeline = Pipeline.from_pretrained(folder)
    for name in ("predictor", "diffusion_model"):
        weights = getattr(pipeline, name).state_dict()
        network = getattr(model, name)
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in network.state_dict().items()}:
            raise WeightsError(
                f"{folder}: its {name} is of another size than the configuration describes; "
                "take over its channels, multipliers and blocks, or leave out training.initial."
            )
        network.load_state_dict(weights)
