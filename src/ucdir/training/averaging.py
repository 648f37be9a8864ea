"""Exponential moving average (EMA) of the weights (Sec. 4.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ucdir.config import ModelConfig
from ucdir.model.diffusion_model import DiffusionModel
from ucdir.model.framework import build
from ucdir.model.predictor import InitialPredictor


class WeightAverage:
    """Averaged copy of a model's parameters, in float32.

    It starts as a copy of them. The decay warms up as (1 + step) / (10 + step), so that the initial random weights
    soon lose their influence.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Average in the parameters after optimizer step number `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = dict(model.named_parameters())
        torch._foreach_lerp_(list(self.weights.values()), [parameters[n] for n in self.weights], 1 - decay)

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Continue from stored averages."""
        for name, average in self.weights.items():
            average.copy_(weights[name])


def networks_with(
    weights: Mapping[str, Tensor], config: ModelConfig
) -> tuple[InitialPredictor, DiffusionModel]:
    """Initial predictor and diffusion model that share these tensors, without a copy; for sampling only.

    Building them uses no random numbers, so doing it during training changes nothing there.
    """
    with torch.device("meta"):
        networks = build(config)
    modules: tuple[nn.Module, ...] = networks
    for prefix, network in zip(("predictor.", "diffusion_model."), modules, strict=True):
        own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
        network.load_state_dict(own, assign=True)
        network.eval().requires_grad_(False)
    return networks
