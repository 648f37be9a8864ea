"""Engines: what runs the networks, on which device and in which precision."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ucdir.config.pipeline import PipelineConfig
from ucdir.engines.denoiser import Denoiser
from ucdir.engines.engine import Engine
from ucdir.memory import check_address_space, save_address_space

__all__ = ["Denoiser", "Engine", "load_engine"]


TORCH_BYTES: Final = 530_000_000
"""Address space that PyTorch takes, most of it reserved only."""


def load_engine(folder: Path, device: str = "auto", precision: str = "auto") -> tuple[Engine, PipelineConfig]:
    """The engine of a model folder, and what the folder says beside the networks.

    Args:
        folder: of a model.
        device: auto, cpu, cuda, cuda:1 …, or mps.
        precision: auto, fp32 or bf16.

    Raises:
        WeightsError: there is no such folder, or it is damaged.
        DeviceError: the device is not there, or PyTorch does not fit into the address space.
        ConfigError: there is no such precision.
    """
    save_address_space()
    check_address_space(TORCH_BYTES, "loading PyTorch")
    from ucdir.engines.devices import choose_device, choose_precision
    from ucdir.engines.torch_engine import TorchEngine
    from ucdir.model.weights import load_model

    target = choose_device(device)
    arithmetic = choose_precision(precision, target)
    predictor, diffusion_model, config = load_model(folder)
    return TorchEngine(predictor.to(target), diffusion_model.to(target), target, arithmetic), config
