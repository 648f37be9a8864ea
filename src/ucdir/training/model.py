"""Both networks and the objective as one module, for accelerate and for the optimizer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ucdir.config import Config
from ucdir.model.framework import build
from ucdir.training.adversarial import AdversarialTerm, new_discriminator
from ucdir.training.objectives import OBJECTIVES, Objective


class TrainingModel(nn.Module):
    """Initial predictor u_φ and diffusion model f_θ with fresh weights: a batch goes in, losses come out."""

    objective: Objective

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.predictor, self.diffusion_model = build(config.model)
        if (discriminator := new_discriminator(config)) is not None:
            self.discriminator = discriminator

    def clipped_together(self) -> dict[str, list[nn.Parameter]]:
        """What `training.clip_norm` bounds, by the name of its norm in the log: the networks, and the discriminator.

        Apart, or a discriminator that learns fast would shorten the networks' steps.
        """
        networks = [*self.predictor.parameters(), *self.diffusion_model.parameters()]
        if not hasattr(self, "discriminator"):
            return {"gradient": networks}
        return {"gradient": networks, "discriminator_gradient": [*self.discriminator.parameters()]}

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A batch of `data.crops.Crops` -> losses by name, scalar tensors."""
        return self.objective(self.predictor, self.diffusion_model, batch)


def new_model(config: Config, device: torch.device) -> TrainingModel:
    """Fresh networks with the objective of the configuration, on a device."""
    model = TrainingModel(config)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.objective = OBJECTIVES[config.training.objective](config, device)
    if hasattr(model, "discriminator"):
        model.objective.adversarial = AdversarialTerm(config, model.discriminator, device)  # type: ignore[attr-defined]
    model.predictor.requires_grad_(not config.training.freeze_predictor)
    model.diffusion_model.requires_grad_(config.training.objective != "predictor")
    if config.training.compile:
        for network in (model.predictor, model.diffusion_model):
            network.compile(dynamic=False)  # crops are all of one size
    return model
