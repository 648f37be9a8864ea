"""Small networks whose weights are all random, so that nothing is zero by its initialisation."""

import pytest
import torch
from torch import nn

from ucdir.config import DiffusionModelConfig, ModelConfig, PredictorConfig


@pytest.fixture(autouse=True)
def _one_thread_and_seed(one_thread):
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def filled():
    """A function: `filled(module)` -> the module with random weights of about unit gain everywhere."""

    def fill(module: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
                draw = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
                parameter.copy_(draw)
        return module

    return fill


@pytest.fixture(scope="session")
def tiny():
    """A function: `tiny(norm="none", ...)` -> a model config of a few thousand parameters."""
    size = {"channels": 4, "multipliers": (1, 2), "blocks": (1, 1), "unshuffle": 2}

    def make(**changes) -> ModelConfig:
        diffusion_model = {**size, "kernel_bases": 2, "scalar_channels": 8, "sigma_data": 0, **changes}
        return ModelConfig(
            predictor=PredictorConfig(**size), diffusion_model=DiffusionModelConfig(**diffusion_model)
        )

    return make
