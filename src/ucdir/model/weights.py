"""A folder of trained weights, checked before any of it is loaded: safetensors and JSON, no code."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ucdir.config import parse_config
from ucdir.errors import ConfigError, OutputError, WeightsError
from ucdir.limits import MAX_CHECKPOINT_BYTES, MAX_CONFIG_BYTES, MAX_SAFETENSORS_HEADER_BYTES

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import nn

NETWORKS = {
    "predictor": ["ucdir.model.predictor", "InitialPredictor"],
    "diffusion_model": ["ucdir.model.diffusion_model", "DiffusionModel"],
}
"""What `model_index.json` must name, or"""
RELEASE = {
    "predictor": ["ucdir.model.release", "ReleasePredictor"],
    "diffusion_model": ["ucdir.model.release", "ReleaseDiffusionModel"],
}
"""the authors' networks: nothing else is imported."""

RELEASE_CHANNELS = range(8, 513, 8)

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
    model = {}
    released = index.get("predictor") == RELEASE["predictor"]
    for name, expected in (RELEASE if released else NETWORKS).items():
        if index.get(name) != expected:
            raise WeightsError(
                f"{folder}: model_index.json names {index.get(name)!r} as {name}, expected {expected[1]}."
            )
        model[name] = _json(folder / name / "config.json")
        _header(folder / name / WEIGHTS_FILE)
    match index.get("scheduler"):
        case ["diffusers", str(kind)] if kind.endswith("Scheduler"):
            pass
        case other:
            raise WeightsError(
                f"{folder}: model_index.json names {other!r} as scheduler, expected one of diffusers."
            )
    scheduler = _json(folder / "scheduler" / "scheduler_config.json")
    if released:
        _check_release(folder, model)
        model = {}
    _check_settings(folder, index, model, scheduler)


def save_whole(pipeline: DiffusionPipeline, folder: Path) -> None:
    """Write a pipeline's folder, which appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        pipeline.save_pretrained(unfinished, safe_serialization=True)
        unfinished.replace(folder)
    except OSError as error:
        raise OutputError(f"{folder}: the pipeline cannot be written ({error}).") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check_loaded(folder: Path, **networks: nn.Module) -> None:
    """Refuse weights that leave a parameter at its random start, are left over, or are no numbers.

    Raises:
        WeightsError: naming the file and what is wrong with it.
    """
    for name, network in networks.items():
        path = folder / name / WEIGHTS_FILE
        state = network.state_dict()
        odd = sorted(state.keys() ^ (_header(path).keys() - {"__metadata__"}))
        if odd:
            raise WeightsError(
                f"{path}: its weights and config.json do not fit ({len(odd)} differ, the first is {odd[0]!r:.80}); "
                "copy the model's folder again."
            )
        broken = [key for key, value in state.items() if not value.isfinite().all()]
        if broken:
            raise WeightsError(f"{path}: {broken[0]} holds values that are no numbers; copy it again.")


def _check_settings(
    folder: Path, index: dict[str, Any], model: dict[str, dict[str, Any]], scheduler: dict[str, Any]
) -> None:
    """Sizes, names and ranges are those of a configuration, so nothing absurd is built."""
    renamed = {"num_train_timesteps": "timesteps", "beta_start": "beta_start", "beta_end": "beta_end"}
    settings: dict[str, Any] = {
        "model": {n: {k: v for k, v in c.items() if not k.startswith("_")} for n, c in model.items()},
        "diffusion": {new: scheduler[old] for old, new in renamed.items() if old in scheduler},
        "data": {"photos": "."},
    }
    if "task" in index:
        settings["task"] = index["task"]
    try:
        parse_config(settings, str(folder))
    except ConfigError as error:
        raise WeightsError(f"{str(error).removesuffix('.')}; copy the model's folder again.") from None


def _check_release(folder: Path, model: dict[str, dict[str, Any]]) -> None:
    """The authors' networks have one size each, and it is a sane one."""
    for name, config in model.items():
        channels = config.get("channels")
        if not isinstance(channels, int) or channels not in RELEASE_CHANNELS:
            raise WeightsError(
                f"{folder / name / 'config.json'}: channels {channels!r} is no whole multiple of 8 from 8 to 512; copy "
                "the model's folder again."
            )


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


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file, which is within its limit and tells the file's length."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
            if not 0 <= length <= min(size - 8, MAX_SAFETENSORS_HEADER_BYTES) or size > MAX_CHECKPOINT_BYTES:
                raise WeightsError(f"{path}: is not a safetensors file, or is cut short; copy it again.")
            header: dict[str, Any] = json.loads(file.read(length))
        end = max(int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__")
    except FileNotFoundError:
        raise WeightsError(f"{path}: is missing; the model's folder is incomplete, copy it again.") from None
    except (OSError, ValueError, RecursionError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise WeightsError(f"{path}: is not a safetensors file ({error}); copy it again.") from None
    if size != 8 + length + end:
        raise WeightsError(
            f"{path}: {size} bytes, expected {8 + length + end}; it is cut short, copy it again."
        )
    return header
