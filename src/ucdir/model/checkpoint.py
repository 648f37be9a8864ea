"""A folder of trained weights, checked before any of it is loaded: safetensors and JSON, no code."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from ucdir.errors import WeightsError
from ucdir.limits import MAX_CHECKPOINT_BYTES, MAX_CONFIG_BYTES, MAX_SAFETENSORS_HEADER_BYTES

NETWORKS = {
    "predictor": ["ucdir.model.initial_predictor", "InitialPredictor"],
    "diffusion_model": ["ucdir.model.diffusion_model", "DiffusionModel"],
}
"""What `model_index.json` must name: nothing else is imported."""

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not a pipeline of ucdir, or is damaged.

    Raises:
        WeightsError: naming the file and what is wrong with it.
    """
    if not folder.is_dir():
        raise WeightsError(f"{folder}: there is no such folder; name a folder that a model was saved to.")
    index = _json(folder / "model_index.json")
    if index.get("_class_name") != "Pipeline":
        raise WeightsError(
            f"{folder}: is not a model of ucdir (model_index.json names {index.get('_class_name')!r})."
        )
    for name, expected in NETWORKS.items():
        if index.get(name) != expected:
            raise WeightsError(
                f"{folder}: model_index.json names {index.get(name)!r} as {name}, expected {expected[1]}."
            )
        _json(folder / name / "config.json")
        _check_weights(folder / name / WEIGHTS_FILE)
    scheduler = index.get("scheduler")
    if not isinstance(scheduler, list) or len(scheduler) != 2 or scheduler[0] != "diffusers":
        raise WeightsError(
            f"{folder}: model_index.json names {scheduler!r} as scheduler, expected one of diffusers."
        )
    _json(folder / "scheduler" / "scheduler_config.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise WeightsError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; that is no configuration.")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{path}: is missing; the model's folder is incomplete, copy it again.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); copy the model's folder again.") from None
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: holds no keys and values; copy the model's folder again.")
    return values


def _check_weights(path: Path) -> None:
    """The frame of a safetensors file: header within its limit, data exactly as long as the header says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
            if not 0 <= length <= min(size - 8, MAX_SAFETENSORS_HEADER_BYTES) or size > MAX_CHECKPOINT_BYTES:
                raise WeightsError(f"{path}: is not a safetensors file, or is cut short; copy it again.")
            header = json.loads(file.read(length))
        end = max(int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__")
    except FileNotFoundError:
        raise WeightsError(f"{path}: is missing; the model's folder is incomplete, copy it again.") from None
    except (OSError, ValueError, RecursionError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise WeightsError(f"{path}: is not a safetensors file ({error}); copy it again.") from None
    if size != 8 + length + end:
        raise WeightsError(
            f"{path}: {size} bytes, expected {8 + length + end}; it is cut short, copy it again."
        )
