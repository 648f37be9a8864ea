"""Engines: what runs the networks, on which device and in which precision."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ucdir.config.pipeline import PipelineConfig
from ucdir.engines.denoiser import Denoiser
from ucdir.engines.engine import Engine
from ucdir.errors import ConfigError, DeviceError, WeightsError
from ucdir.memory import check_address_space, save_address_space
from ucdir.model.onnx_folder import is_onnx

__all__ = ["ENGINES", "Denoiser", "Engine", "load_engine"]


TORCH_BYTES: Final = 530_000_000
"""Address space that PyTorch takes, most of it reserved only."""
ONNX_BYTES: Final = 150_000_000
"""The same of ONNX Runtime."""

ENGINES: Final = ("auto", "torch", "onnx")
"""Names; auto is onnx for models in ONNX form, and torch for others."""


def load_engine(
    folder: Path, device: str = "auto", precision: str = "auto", engine: str = "auto"
) -> tuple[Engine, PipelineConfig]:
    """The engine of a model folder, and what the folder says beside the networks.

    Args:
        folder: of a model, in its usual or in ONNX form.
        device: auto, cpu, cuda, cuda:1 …, or mps; the engine onnx is for auto and cpu.
        precision: auto, fp32 or bf16; for the engine onnx auto, fp32, fp16, or what a model was exported in.
        engine: a name in `ENGINES`.

    Raises:
        WeightsError: there is no such folder, or it is damaged, or not for this engine.
        DeviceError: the device is not there, or the engine does not fit into the address space.
        ConfigError: there is no such precision or engine.
        ExtraError: ONNX Runtime is not installed.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r:.80} is unknown; choose one of {', '.join(ENGINES)}.")
    save_address_space()
    in_onnx = is_onnx(folder)
    if engine == "onnx" or (engine == "auto" and in_onnx):
        return _load_onnx(folder, device, precision)
    if in_onnx:
        raise WeightsError(f"{folder}: is a model in ONNX form; choose the engine onnx.")
    check_address_space(TORCH_BYTES, "loading PyTorch")
    from ucdir.engines.devices import choose_device, choose_precision
    from ucdir.engines.torch_engine import TorchEngine
    from ucdir.model.weights import load_model

    target = choose_device(device)
    arithmetic = choose_precision(precision, target)
    predictor, diffusion_model, config = load_model(folder)
    return TorchEngine(predictor.to(target), diffusion_model.to(target), target, arithmetic), config


def _load_onnx(folder: Path, device: str, precision: str) -> tuple[Engine, PipelineConfig]:
    if device not in ("auto", "cpu"):
        raise DeviceError(
            f"device {device!r:.80}: the engine onnx is for CPUs; choose cpu, or the engine torch."
        )
    check_address_space(ONNX_BYTES, "loading ONNX Runtime")
    from ucdir.engines.onnx_engine import OnnxEngine
    from ucdir.model.onnx_folder import make_onnx, read_onnx

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
