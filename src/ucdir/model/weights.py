"""A folder of trained weights, read and written: safetensors and JSON, no code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ucdir.config import DiffusionModelConfig, ModelConfig, PredictorConfig
from ucdir.config.pipeline import PipelineConfig
from ucdir.errors import OutputError, WeightsError, reason
from ucdir.images.atomic import remove_stale, sync, temporary_folder
from ucdir.model import folder as files
from ucdir.model.diffusion_model import DiffusionModel
from ucdir.model.framework import build, model_problems
from ucdir.model.network import Network
from ucdir.model.predictor import InitialPredictor
from ucdir.model.release import (
    ReleaseDiffusionModel,
    ReleaseDiffusionModelConfig,
    ReleasePredictor,
    ReleasePredictorConfig,
)

AnyPredictor: TypeAlias = InitialPredictor | ReleasePredictor
AnyDiffusionModel: TypeAlias = DiffusionModel | ReleaseDiffusionModel

ITEM_BYTES: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Types of weights, by safetensors' names."""


def load_model(
    folder: str | Path, dtype: torch.dtype | None = None
) -> tuple[AnyPredictor, AnyDiffusionModel, PipelineConfig]:
    """Load the networks of a model folder, on the CPU and in evaluation mode, and its `PipelineConfig`.

    Settings and the sizes of all weights are checked before memory is allocated.

    Args:
        folder: as `save_model` laid it out, or an earlier version.
        dtype: of the networks; float32 by default.

    Raises:
        WeightsError: the folder is not a model of ucdir, is damaged, or its files do not fit together.
        ConfigError: UCDIR_KERNEL names no kernel.
    """
    folder = Path(folder)
    release, config = files.read_index(folder)
    return (*load_networks(folder, release, dtype), config)


def load_networks(
    folder: Path, release: bool, dtype: torch.dtype | None = None
) -> tuple[AnyPredictor, AnyDiffusionModel]:
    """The networks alone of a model folder, the authors' where `release`; see `load_model`."""
    networks = _empty_networks(folder, release)
    for name, network in zip(files.NETWORKS, networks, strict=True):
        _fill(network, folder / name / files.WEIGHTS_FILE, dtype or torch.float32)
    return networks


def _empty_networks(folder: Path, release: bool) -> tuple[AnyPredictor, AnyDiffusionModel]:
    """The networks that the folder's settings describe, without memory for their weights."""
    predictor, diffusion_model = (folder / name / files.CONFIG_FILE for name in files.NETWORKS)
    read = files.read_network_config
    with torch.device("meta"):
        if release:
            return (
                ReleasePredictor(read(predictor, ReleasePredictorConfig)),
                ReleaseDiffusionModel(read(diffusion_model, ReleaseDiffusionModelConfig)),
            )
        model = ModelConfig(
            predictor=read(predictor, PredictorConfig),
            diffusion_model=read(diffusion_model, DiffusionModelConfig),
        )
        if problems := model_problems(model):
            raise WeightsError(f"{folder}: {'; '.join(problems)}; {files.COPY_AGAIN}")
        return build(model)


def _fill(network: Network, file: Path, dtype: torch.dtype) -> None:
    """Give a network on the device "meta" copies of the weights in a file, kernels in the channels-last format.

    They are copied as a tensor mapped from a file may lie at any address, and matrix products round differently at an
    odd one.
    """
    _check_tensors(network, file)
    try:
        with safe_open(file, framework="pt") as tensors:
            state = {
                name: tensors.get_tensor(name).to(
                    dtype, copy=True,
                    memory_format=torch.channels_last if weights.ndim == 4 else torch.contiguous_format,
                )
                for name, weights in network.state_dict().items()
            }  # fmt: skip
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file}: is damaged ({reason(error)}); copy it again.") from None
    broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if broken:
        raise WeightsError(f"{file}: {broken[0]} holds values that are not finite; copy it again.")
    network.load_state_dict(state, assign=True)
    network.eval()


def _check_tensors(network: Network, file: Path) -> None:
    """Refuse a file whose header does not list exactly the network's weights, in their shapes."""
    header = files.read_header(file)
    expected = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: entry.get("shape") for name, entry in header.items()}
    if found != expected:
        odd = sorted(n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n))
        raise WeightsError(
            f"{file}: its weights and config.json do not fit ({len(odd)} differ, the first is {odd[0]!r:.80}: found "
            f"{found.get(odd[0])!r:.80}, expected {expected.get(odd[0])}); {files.COPY_AGAIN}"
        )
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        kind = str(entry.get("dtype"))
        if end - begin != math.prod(expected[name]) * ITEM_BYTES.get(kind, 0):
            raise WeightsError(
                f"{file}: {name} is {end - begin} bytes of type {kind:.80}, which cannot be weights of shape "
                f"{expected[name]}; copy it again."
            )


def save_model(
    folder: Path,
    predictor: AnyPredictor,
    diffusion_model: AnyDiffusionModel,
    config: PipelineConfig,
    scheduler: tuple[str, Mapping[str, object]] | None = None,
) -> None:
    """Write a model folder, which appears whole or not at all; weights are written in the type that they have.

    Args:
        folder: it must not exist, or be empty.
        predictor: u_φ.
        diffusion_model: f_θ.
        config: task, sampler and noise schedule.
        scheduler: see `write_index`.

    Raises:
        OutputError: it cannot be written.
    """
    networks = {"predictor": predictor, "diffusion_model": diffusion_model}
    classes = {name: [type(n).__module__, type(n).__name__] for name, n in networks.items()}
    try:
        files.check_free(folder)
        remove_stale(folder.parent)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder.parent) as unfinished:
            files.write_index(unfinished, classes, config, scheduler)
            for name, network in networks.items():
                values = {"_class_name": type(network).__name__, **network.config.model_dump()}
                files.write_json(unfinished / name / files.CONFIG_FILE, values)
                state = {key: tensor.detach().contiguous() for key, tensor in network.state_dict().items()}
                save_file(state, unfinished / name / files.WEIGHTS_FILE, metadata={"format": "pt"})
            for place in (*unfinished.rglob("*"), unfinished):
                sync(place)
            unfinished.replace(folder)
            sync(folder.parent)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{folder}: the model cannot be written ({reason(error)}).") from None
