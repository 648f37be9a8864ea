"""Typed configuration of an experiment: read from YAML, checked in one go, the single truth of every setting."""

from ucdir.config.schema import (
    PRESETS,
    Config,
    DataConfig,
    DiffusionConfig,
    DiffusionModelConfig,
    ModelConfig,
    PredictorConfig,
    SamplingConfig,
    TrainingConfig,
    load_config,
    parse_config,
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
