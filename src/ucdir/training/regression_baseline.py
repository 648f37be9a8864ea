"""Regression baseline (Sec. 4.2): the same networks in one forward pass, without noise and without diffusion."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ucdir.config import Config
from ucdir.data.crops import scalars_of
from ucdir.diffusion.loss import LOSSES, PREDICTOR_TRAINING
from ucdir.diffusion.residual import predicted_residual
from ucdir.diffusion.schedule import NoiseSchedule


class RegressionObjective:
    """An `Objective`: f_θ is given 0 in place of the noisy residual and predicts the residual itself,

        ‖ r̂(0, x) - s (y - u_φ(x)) ‖        in the norm of `diffusion.loss`; s: the residual scale, as in Eq. 1

    so the best it can do is the mean of all possible residuals. Such a model restores in one sampling step that starts
    without noise, see `Config.pipeline`. Data, optimizer and averaging are those of every other objective.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self.settings = config.diffusion
        self.prediction = config.model.diffusion_model.prediction
        self.residual_range = config.pipeline.residual_range
        schedule = NoiseSchedule.of(config.diffusion)
        self.level = schedule.sampling_levels(config.pipeline.steps, config.pipeline.start_fraction)[0]

    def __call__(
        self, predictor: nn.Module, diffusion_model: nn.Module, batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """`regression` is the norm above, `predictor` the predictor's own loss."""
        clean, degraded, scale = batch["clean"], batch["degraded"], self.settings.residual_scale
        train = PREDICTOR_TRAINING[self.settings.predictor_training]
        guidance, own_loss = train(predictor(degraded).float(), clean, self.settings.predictor_loss)
        zeros = torch.zeros_like(clean)
        levels = torch.full((len(clean),), self.level, device=clean.device)
        output = diffusion_model(zeros, degraded, guidance, levels, scalars_of(batch)).float()
        residual = predicted_residual(
            zeros, output, guidance, self.level, scale, self.residual_range, self.prediction
        )
        loss = LOSSES[self.settings.loss](residual, scale * (clean - guidance))
        return {"regression": loss, "predictor": own_loss}
