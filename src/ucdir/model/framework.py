"""The framework of Fig. 1 (left), built from its configuration."""

from __future__ import annotations

from ucdir.config import ModelConfig
from ucdir.model.diffusion_model import DiffusionModel
from ucdir.model.initial_predictor import InitialPredictor


def build(config: ModelConfig) -> tuple[InitialPredictor, DiffusionModel]:
    """Initial predictor u_φ and diffusion model f_θ with fresh weights."""
    predictor = InitialPredictor(**config.predictor.model_dump())
    diffusion_model = DiffusionModel(**config.diffusion_model.model_dump())
    return predictor, diffusion_model
