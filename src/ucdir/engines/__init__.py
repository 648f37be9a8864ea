"""Engines: what runs the networks, on which device and in which precision."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

from ucdir.config.pipeline import PipelineConfig
from ucdir.engines.choice import ENGINES, Name, choose_engine, has_gpu, split_devices
from ucdir.engines.denoiser import Denoiser
from ucdir.engines.engine import Engine
from ucdir.engines.several import SeveralEngines
from ucdir.errors import ConfigError
from ucdir.memory import check_address_space, save_address_space
from ucdir.model.onnx_folder import is_onnx, make_onnx, read_onnx

__all__ = [
    "ENGINES", "Denoiser", "Engine", "Name", "SeveralEngines",
    "all_devices", "choose_engine", "has_gpu", "import_engine", "load_engine", "split_devices",
]  # fmt: skip


LIBRARIES: Final[dict[Name, tuple[str, int]]] = {
    "torch": ("PyTorch", 530_000_000),
    "onnx": ("ONNX Runtime", 150_000_000),
}
"""The library of each engine, and the address space that it takes, most of it reserved only."""


def load_engine(
    folder: Path, device: str = "auto", precision: str = "auto", engine: str = "auto"
) -> tuple[Engine, PipelineConfig]:
    """The engine of a model folder, and what the folder says beside the networks.

    Args:
        folder: of a model, in its usual or in ONNX form.
        device: auto, cpu, cuda, cuda:1 …, or mps; the engine onnx is for auto and cpu. Several of one kind, as in
            "cuda:0,cuda:1", share the work.
        precision: auto, fp32 or bf16; for the engine onnx auto, fp32, fp16, or what a model was exported in.
        engine: a name in `ENGINES`; see `choose_engine`.

    Raises:
        WeightsError: there is no such folder, or it is damaged, or not for this engine.
        DeviceError: the device is not there, or the engine does not fit into the address space.
        ConfigError: there is no such precision or engine, or the devices are of several kinds.
        ExtraError: torch is needed, and is not installed.
    """
    devices = split_devices(device)
    name = choose_engine(folder, device, precision, engine)
    import_engine(name)
    loaded = [
        _load_onnx(folder, precision) if name == "onnx" else _load_torch(folder, one, precision)
        for one in devices
    ]
    config = loaded[0][1]
    return (loaded[0][0] if len(loaded) == 1 else SeveralEngines([engine for engine, _ in loaded])), config


def all_devices(device: str) -> str:
    """The same, but for "cuda", which becomes all GPUs of this machine; imports torch then.

    Example:
        >>> all_devices("cpu")
        'cpu'
    """
    if device != "cuda":
        return device
    from ucdir.engines.devices import count_devices

    return ",".join(f"cuda:{number}" for number in range(count_devices(device))) or device


def import_engine(name: Name) -> None:
    """Import an engine and its library, which is best done while there is one thread.

    Raises:
        DeviceError: it does not fit into the address space.
    """
    module = f"ucdir.engines.{name}_engine"
    if module not in sys.modules:
        save_address_space()
        library, size = LIBRARIES[name]
        check_address_space(size, f"loading {library}")
        import_module(module)


def _load_torch(folder: Path, device: str, precision: str) -> tuple[Engine, PipelineConfig]:
    from ucdir.engines.devices import choose_device, choose_precision
    from ucdir.engines.torch_engine import TorchEngine
    from ucdir.model.weights import load_model

    target = choose_device(device)
    arithmetic = choose_precision(precision, target)
    predictor, diffusion_model, config = load_model(folder)
    return TorchEngine(predictor.to(target), diffusion_model.to(target), target, arithmetic), config


def _load_onnx(folder: Path, precision: str) -> tuple[Engine, PipelineConfig]:
    from ucdir.engines.onnx_engine import OnnxEngine

    model = (
        read_onnx(folder)
        if is_onnx(folder)
        else make_onnx(folder, "fp32" if precision == "auto" else precision)
    )
    if precision not in ("auto", model.manifest.precision):
        raise ConfigError(
            f"precision {precision!r:.80}: {folder} was exported in {model.manifest.precision}; choose auto, or export "
            "it again."
        )
    return OnnxEngine(model, folder), model.manifest.pipeline
