"""Regression baseline (Sec. 4.1): the same networks in one pass, without noise and without diffusion."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ucdir.config import Config
from ucdir.data.crops import scalars_of
from ucdir.diffusion import samplers
from ucdir.diffusion.loss import LOSSES, PREDICTOR_TRAINING, predicted_residual
from ucdir.diffusion.schedule import NoiseSchedule


class RegressionObjective:
    """An objective (`training.objectives`): f_θ gets 0 in place of the noisy residual and gives the residual itself,

        ‖ r̂(0, x) - (y - u_φ(x)) ‖        in the norm of `diffusion.loss`, residuals scaled as in Eq. 1

    so the best it can do is the mean of all that could have been there. Sampling from such a model is one step from
    no noise; `Config.drawn` sees to it. Data, optimizer and averaging are those of every other objective.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self.settings = config.diffusion
        full = samplers.make_scheduler(config.drawn.sampler, NoiseSchedule.of(config.diffusion))
        scheduler = samplers.late_start(full, config.drawn.start_fraction)
        scheduler.set_timesteps(config.drawn.steps)
        self.level = samplers.noise_levels(scheduler)[0]

    def __call__(
        self, predictor: nn.Module, diffusion_model: nn.Module, batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """`regression` is the norm above, `predictor` the predictor's own loss."""
        clean, degraded, scale = batch["clean"], batch["degraded"], self.settings.residual_scale
        learn = PREDICTOR_TRAINING[self.settings.predictor_training]
        guidance, predictor_loss = learn(predictor(degraded).float(), clean)
        nothing = torch.zeros_like(clean)
        root_gamma = torch.full((len(clean),), self.level, device=clean.device)
        noise = diffusion_model(nothing, degraded, guidance, root_gamma, scalars_of(batch)).float()
        residual, _ = predicted_residual(nothing, noise, guidance, self.level, scale)
        loss = LOSSES[self.settings.loss](residual, scale * (clean - guidance))
        return {"regression": loss, "predictor": predictor_loss}
