"""Seconds of a training step of each objective that starts from a trained model, by turns, on random images.

    UCDIR_WEIGHTS=weights python benchmarks/objectives.py [--preset default] [--batch 8] [--crop 128] [--rounds 5]

Forward and backward pass of both networks with LPIPS, in bf16; the optimizer's own part is not in it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from ucdir.config import Config, parse_config
from ucdir.training.model import TrainingModel, new_model
from ucdir.training.objectives import random_batch

TERMS: dict[str, dict[str, Any]] = {
    "sampler_aware": {"objective": "sampler_aware"},
    "energy_score": {"objective": "energy_score"},
    "with a discriminator": {"objective": "sampler_aware", "adversarial_weight": 0.05},
}
"""Rows, and what each changes in the section `training`."""


def config_of(preset: str, crop: int, batch: int, training: dict[str, Any]) -> Config:
    """An experiment in one step of the sampler."""
    scalars = ["jpeg_quality", *(["diversity"] if training["objective"] == "energy_score" else [])]
    values = {
        "preset": preset, "model": {"diffusion_model": {"scalars": scalars}}, "sampling": {"steps": 1},
        "data": {"photos": ".", "crop": crop},
        "training": {
            "perceptual_weight": 1.0, "grid_weight": 1.0, "freeze_predictor": True, "batch_size": batch, **training,
        },
    }  # fmt: skip
    return parse_config(values, "the benchmark's configuration")


def step(model: TrainingModel, batch: dict[str, torch.Tensor]) -> float:
    """Seconds of the processor for one: other programs do not count."""
    began = time.process_time()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch)
    torch.stack([*losses.values()]).sum().backward()
    return time.process_time() - began


def main() -> None:
    """Measure and print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="default")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    configs = {
        name: config_of(given.preset, given.crop, given.batch, training) for name, training in TERMS.items()
    }
    device = torch.device("cpu")
    models = {name: (new_model(c, device), random_batch(c, device)) for name, c in configs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(given.rounds + 1):
        for name, (model, batch) in models.items():
            taken = step(model, batch)
            if turn:
                seconds[name].append(taken)
    first = statistics.median(seconds["sampler_aware"])
    for name, taken in seconds.items():
        print(
            f"{name:24} {statistics.median(taken):.2f} s a step of {given.batch} crops of {given.crop}², "
            f"{statistics.median(taken) / first:.2f} times sampler_aware"
        )


if __name__ == "__main__":
    main()
