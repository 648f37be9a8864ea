"""The rows of Table 4 (Sec. 4.7), each one changed field of the diffusion model's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ucdir.config import Config, DiffusionModelConfig, ModelConfig, parse_config
from ucdir.config.yaml_file import read_yaml
from ucdir.errors import ConfigError

STUDY = Path(__file__).parent / "study.yaml"
"""The experiment that is ablated if no configuration is named."""


@dataclass(frozen=True)
class Ablation:
    """One row: what is changed, and the paper's values (LPIPS on SID, GMACs) if it is a row of the paper."""

    change: Mapping[str, str]
    """A field of `DiffusionModelConfig` and its value in this row; empty for the row Ours."""
    paper_lpips: float | None = None
    paper_gmacs: float | None = None


PAPER_GMACS = 71.7
"""GMACs of the paper's own row."""

ROWS: dict[str, Ablation] = {
    "w/o LayerNorm": Ablation({"norm": "none"}, 0.227, PAPER_GMACS),
    "LayerNorm → GroupNorm": Ablation({"norm": "group_norm"}, 0.240, PAPER_GMACS),
    "Swish → ReLU": Ablation({"activation": "relu"}, 0.235, PAPER_GMACS),
    "w/o Spatial guidance": Ablation({"spatial_guidance": "none"}, 0.240, 70.9),
    "Internal feature guidance": Ablation({"spatial_guidance": "internal"}, 0.247, 72.1),
    "Degraded image guidance": Ablation({"spatial_guidance": "degraded"}, 0.253, PAPER_GMACS),
    "Addition": Ablation({"injection": "addition"}, 0.236, 71.5),
    "Concatenation": Ablation({"injection": "concatenation"}, 0.241, 112.7),
    "AdaIN": Ablation({"injection": "adain"}, 0.240, 71.5),
    "DvSR": Ablation({"block": "dvsr"}, 0.244, 73.7),
    "Ours": Ablation({}, 0.222, PAPER_GMACS),
}
"""By the paper's names, in the paper's order. A row that is not the paper's has no values of the paper."""


def ablated_model(model: ModelConfig, row: str) -> ModelConfig:
    """A model with the change of one row applied.

    Raises:
        ConfigError: there is no such row.
    """
    if row not in ROWS:
        raise ConfigError(f"ablation {row!r} is unknown; choose one of {', '.join(ROWS)}.")
    changed = {**model.diffusion_model.model_dump(), **ROWS[row].change}
    return model.model_copy(update={"diffusion_model": DiffusionModelConfig(**changed)})


def ablated(config: Config, row: str) -> Config:
    """An experiment with the change of one row; everything else stays, the seed included."""
    return config.model_copy(update={"model": ablated_model(config.model, row)})


def study(task: str, photos: Path) -> Config:
    """The experiment of `STUDY` for a task, on a folder of clean photographs.

    Raises:
        ConfigError: there is no such task.
    """
    values = read_yaml(STUDY)
    assert isinstance(values, dict)  # noqa: S101 (for the type checker)
    values["task"] = values["training"]["initial"] = task
    values["data"]["photos"] = str(photos)
    return parse_config(values, str(STUDY))
