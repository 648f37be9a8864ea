"""The framework of Fig. 1 (left), built from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ucdir.config import ModelConfig
from ucdir.diffusion.residual import PREDICTIONS
from ucdir.errors import ConfigError
from ucdir.model.block import BLOCKS
from ucdir.model.cim import INJECTIONS
from ucdir.model.diffusion_model import DiffusionModel
from ucdir.model.layers import ACTIVATIONS, NORMS, groups_of_32
from ucdir.model.predictor import InitialPredictor
from ucdir.model.release import (
    RELEASE_CHANNELS,
    ReleaseDiffusionModel,
    ReleaseDiffusionModelConfig,
    ReleasePredictor,
    ReleasePredictorConfig,
)
from ucdir.model.spatial_guidance import SPATIAL_GUIDANCE
from ucdir.tasks.scalars import SCALARS


def build(config: ModelConfig) -> tuple[Any, Any]:
    """Initial predictor u_φ and diffusion model f_θ with fresh weights.

    Raises:
        ConfigError: listing every unknown name and every number that does not fit the others.
    """
    problems = model_problems(config)
    if problems:
        raise ConfigError("; ".join(problems) + ".")
    return ARCHITECTURES[config.architecture](config)


def _paper(config: ModelConfig) -> tuple[InitialPredictor, DiffusionModel]:
    return InitialPredictor(config.predictor), DiffusionModel(config.diffusion_model)


def _release(config: ModelConfig) -> tuple[ReleasePredictor, ReleaseDiffusionModel]:
    return (
        ReleasePredictor(ReleasePredictorConfig(channels=config.predictor.channels)),
        ReleaseDiffusionModel(ReleaseDiffusionModelConfig(channels=config.diffusion_model.channels)),
    )


ARCHITECTURES: dict[str, Callable[[ModelConfig], tuple[Any, Any]]] = {"paper": _paper, "release": _release}
"""Networks by name: (configuration) -> (u_φ, f_θ)."""


def model_problems(config: ModelConfig) -> list[str]:
    """Why the networks of a configuration cannot be built, one sentence each, starting with the key."""
    predictor, model = config.predictor, config.diffusion_model
    if config.architecture == "release":
        return _release_problems(config)
    names: list[tuple[str, str, Collection[str]]] = [
        ("model.architecture", config.architecture, ARCHITECTURES),
        ("model.predictor.activation", predictor.activation, ACTIVATIONS),
        ("model.predictor.norm", predictor.norm, NORMS),
        ("model.diffusion_model.activation", model.activation, ACTIVATIONS),
        ("model.diffusion_model.block", model.block, BLOCKS),
        ("model.diffusion_model.norm", model.norm, NORMS),
        ("model.diffusion_model.injection", model.injection, INJECTIONS),
        ("model.diffusion_model.prediction", model.prediction, PREDICTIONS),
        ("model.diffusion_model.spatial_guidance", model.spatial_guidance, SPATIAL_GUIDANCE),
        *(("model.diffusion_model.scalars", name, SCALARS) for name in model.scalars),
    ]
    problems = [
        f"{key} {name!r:.80} is unknown; choose one of {', '.join(known)}"
        for key, name, known in names
        if name not in known
    ]
    for name in sorted({name for name in model.scalars if model.scalars.count(name) > 1}):
        problems.append(f"model.diffusion_model.scalars names {name!r} twice; name it once")
    if model.scalar_channels % 2:
        problems.append(
            f"model.diffusion_model.scalar_channels {model.scalar_channels} is odd; half of them are sines "
            "and half cosines, so choose an even number"
        )
    for name, network in (("predictor", predictor), ("diffusion_model", model)):
        widths = [network.channels * m for m in network.multipliers]
        if network.norm == "group_norm" and any(width % groups_of_32(width) for width in widths):
            problems.append(
                f"model.{name}.norm 'group_norm' cannot split levels of {widths} channels into groups "
                "of about 32; choose multiples of 32"
            )
    return problems


def _release_problems(config: ModelConfig) -> list[str]:
    problems = [
        f"model.{name}.channels {network.channels} is not a multiple of 8 from 8 to 512, as the release needs"
        for name, network in (("predictor", config.predictor), ("diffusion_model", config.diffusion_model))
        if network.channels not in RELEASE_CHANNELS
    ]
    model = config.diffusion_model
    if model.scalars:
        problems.append(
            f"model.diffusion_model.scalars {list(model.scalars)}: the release takes none, so name none: []"
        )
    if model.prediction != "noise":
        problems.append(f"model.diffusion_model.prediction {model.prediction!r}: the release predicts noise")
    return problems
