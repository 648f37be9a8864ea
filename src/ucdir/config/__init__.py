"""Typed configuration of an experiment: read from YAML, checked in one go, where every setting stands once."""

from ucdir.config.experiment import Config, load_config, parse_config
from ucdir.config.presets import PRESETS
from ucdir.config.sections import (
    DataConfig,
    DiffusionConfig,
    DiffusionModelConfig,
    ModelConfig,
    PredictorConfig,
    SamplingConfig,
    TrainingConfig,
)

__all__ = [
    "PRESETS",
    "Config",
    "DataConfig",
    "DiffusionConfig",
    "DiffusionModelConfig",
    "ModelConfig",
    "PredictorConfig",
    "SamplingConfig",
    "TrainingConfig",
    "load_config",
    "parse_config",
]
