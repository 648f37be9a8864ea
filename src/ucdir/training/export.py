"""From a training checkpoint to a model folder: the averaged weights, and how the model restores."""

from __future__ import annotations

from pathlib import Path

import torch

from ucdir.config import Config
from ucdir.errors import WeightsError
from ucdir.model.folder import check_free
from ucdir.model.weights import save_model
from ucdir.training.averaging import networks_with
from ucdir.training.model import TrainingModel
from ucdir.training.state import read_metadata, read_tensors


def export(
    checkpoint: Path, folder: Path, dtype: torch.dtype = torch.float16, config: Config | None = None
) -> None:
    """Write the model folder of a checkpoint's averaged weights; the folder appears whole or not at all.

    Args:
        checkpoint: a file that training wrote.
        folder: where to; it must not exist, or be empty.
        dtype: of the weights in the folder.
        config: by default the checkpoint's; another where `sampling` was changed after the last step.

    Raises:
        WeightsError: the checkpoint cannot be used, or its weights do not fit into `dtype`.
        OutputError: the folder is not empty, or cannot be written.
    """
    check_free(folder)
    config = read_metadata(checkpoint).config if config is None else config
    with torch.device("meta"):
        model = TrainingModel(config)
    averages = read_tensors(checkpoint, model, parts=("average",))
    weights = {name.removeprefix("average."): w.to(dtype) for name, w in averages.items()}
    too_large = [name for name, w in weights.items() if not w.isfinite().all()]
    if too_large:
        raise WeightsError(
            f"{checkpoint}: {too_large[0]} holds numbers too large for {dtype}; export another dtype."
        )
    save_model(folder, *networks_with(weights, config.model), config.pipeline)
