"""Training objectives by name; one loop trains them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from ucdir.config import Config
from ucdir.data.crops import scalars_of
from ucdir.diffusion.loss import PREDICTOR_LOSSES, residual_loss
from ucdir.diffusion.path import PATHS
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.training.energy_score import EnergyScoreObjective, drawn
from ucdir.training.regression_baseline import RegressionObjective
from ucdir.training.sampler_aware import SamplerAwareObjective


class Objective(Protocol):
    """Computes the losses of a batch."""

    def __init__(self, config: Config, device: torch.device) -> None: ...

    def __call__(
        self, predictor: nn.Module, diffusion_model: nn.Module, batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """A batch of `data.crops.Crops` -> losses by name, scalar tensors; what is minimised is their sum."""


class NoiseObjective:
    """Eq. 1: predict the noise, or the residual, in states of the configuration's path."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.settings = config.diffusion
        self.model = config.model.diffusion_model
        schedule = NoiseSchedule.of(config.diffusion)
        self.path = PATHS[config.diffusion.path](schedule, config.sampling.start_fraction)

    def __call__(
        self, predictor: nn.Module, diffusion_model: nn.Module, batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """`noise` is Eq. 1, `predictor` the predictor's own loss."""
        return residual_loss(
            predictor, diffusion_model,
            batch["clean"], batch["degraded"], batch["noise"], batch["noise_level"], scalars_of(batch),
            residual_scale=self.settings.residual_scale, loss=self.settings.loss,
            predictor_training=self.settings.predictor_training, predictor_loss=self.settings.predictor_loss,
            signal=self.path.signal(batch["noise_level"]),
            weighting=self.settings.weighting, prediction=self.model.prediction, sigma_data=self.model.sigma_data,
        )  # fmt: skip


class PredictorObjective:
    """Sec. 3.1: the initial predictor alone, whose learning rate need not suit f_θ; f_θ stays as it is."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.loss = PREDICTOR_LOSSES[config.diffusion.predictor_loss]

    def __call__(
        self, predictor: nn.Module, diffusion_model: nn.Module, batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """`predictor`, as in `diffusion.predictor_training` separate."""
        return {"predictor": self.loss(predictor(batch["degraded"]).float(), batch["clean"])}


OBJECTIVES: dict[str, type[Any]] = {
    "noise": NoiseObjective,
    "predictor": PredictorObjective,
    "sampler_aware": SamplerAwareObjective,
    "energy_score": EnergyScoreObjective,
    "regression": RegressionObjective,
}
"""Training objectives by name."""

DRAWN: dict[str, Callable[[tuple[int, int, int], torch.Size], dict[str, Tensor]]] = {"energy_score": drawn}
"""What an objective wants of each crop beside what `data.crops.Crops` gives, by the objective's name."""


def random_batch(config: Config, device: torch.device) -> dict[str, Tensor]:
    """A batch as the configuration's objective is given, of random images without scalars: to time steps with."""
    side, size = config.data.crop, config.training.batch_size
    image = torch.rand(size, 3, side, side) * 2 - 1
    batch = {
        "clean": image,
        "degraded": image,
        "noise": torch.randn_like(image),
        "noise_level": torch.rand(size),
        "step": torch.zeros(size, dtype=torch.int64),
        "place": torch.arange(size),
    }
    if (also := DRAWN.get(config.training.objective)) is not None:
        batch |= default_collate([also((config.seed, 0, place), image.shape[1:]) for place in range(size)])
    return {name: value.to(device) for name, value in batch.items()}
