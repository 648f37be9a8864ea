"""Presets: the settings that a configuration's own keys are laid over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ucdir.config.sections import (
    DiffusionConfig,
    DiffusionModelConfig,
    ModelConfig,
    PredictorConfig,
    SamplingConfig,
    TrainingConfig,
)
from ucdir.section import Section


class Preset(Section):
    """What a preset decides: everything but the task and its data."""

    model: ModelConfig = ModelConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    sampling: SamplingConfig = SamplingConfig()
    training: TrainingConfig = TrainingConfig()


# the paper's text: 500,000 steps took it three days on 8 A100 GPUs (Sec. 4.2)
PAPER = Preset(
    model=ModelConfig(
        predictor=PredictorConfig(channels=32, multipliers=(1, 2, 4, 8), blocks=(2, 2, 2, 2), unshuffle=1),
        diffusion_model=DiffusionModelConfig(
            channels=64,
            multipliers=(1, 2, 4, 8, 8),
            blocks=(2, 2, 2, 2, 2),
            unshuffle=1,
            kernel_bases=8,
            scalar_channels=256,
            sigma_data=0.0,
        ),
    ),
    diffusion=DiffusionConfig(
        residual_scale=1.0,  # Eq. 1 diffuses the residual as it is
        loss="l1",  # the norm of Eq. 1 is not squared; the release takes L1
        predictor_training="joint",  # the initial predictor learns through Eq. 1 alone (Sec. 3.1)
        focus=1.0,  # γ from all of T
        focus_probability=0.0,
    ),
    # uniform interpolation of T (Sec. 4.2), from pure noise
    sampling=SamplingConfig(sampler="ddpm", steps=50, start_fraction=1.0, eta=1.0),
    training=TrainingConfig(
        steps=500_000,
        batch_size=32,  # over all GPUs together
        learning_rate=1e-4,
        ema_decay=0.9999,
        warmup_steps=0,  # the paper names neither warm-up nor decay
        decay_steps=0,
        checkpoint_every=1000,
        sample_every=5000,
    ),
)

PRESETS: dict[str, Preset] = {
    # the defaults of the sections: 4.7 GMACs for 256x256 pixels, 1.8 million parameters
    "small": Preset(),
    # four times the arithmetic in twice the time, as wide convolutions suit processors better: 18.2 GMACs, 6.6 million
    "default": Preset(
        model=ModelConfig(
            predictor=PredictorConfig(channels=48), diffusion_model=DiffusionModelConfig(channels=64)
        ),
        training=TrainingConfig(optimizer="muon"),
    ),
    "paper": PAPER,
    # the authors' released networks, which take no scalars, on crops that they pad to the next multiple of 32
    "release": PAPER.model_copy(
        update={
            "model": ModelConfig(
                architecture="release",
                predictor=PredictorConfig(channels=32),
                diffusion_model=DiffusionModelConfig(channels=64, scalars=(), sigma_data=0.0),
            )
        }
    ),
}
"""By name."""


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with others laid over them, key by key."""
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], Mapping) and isinstance(above[key], Mapping):
            merged[key] = over(below[key], above[key])
    return merged
