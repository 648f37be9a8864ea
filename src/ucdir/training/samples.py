"""Sample images of a training run: held-out photos, always the same, restored with the averaged weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from ucdir.config import Config
from ucdir.data.sources import Source
from ucdir.engines.engine import Planes
from ucdir.engines.torch_engine import TorchEngine
from ucdir.errors import OutputError
from ucdir.images import Photo, write
from ucdir.images.pixels import Pixels, from_signal, to_signal
from ucdir.metrics.psnr import psnr
from ucdir.pipeline import RestorationPipeline
from ucdir.training.averaging import networks_with

logger = logging.getLogger(__name__)

COUNT = 8
"""Largest number of samples."""
SIDE = 256
"""Longest side in pixels of a sample, which is cut from the middle of its photo."""
COLUMNS = ("input", "predictor", "restored", "clean")
"""Order of the columns of a sample image, from left to right."""


@dataclass(frozen=True)
class Sample:
    """The middle of a held-out photo, clean and degraded, each [1,3,h,w] in [-1,1], and the scalars that are known."""

    clean: Planes
    degraded: Planes
    scalars: Mapping[str, float]


def held_out_samples(config: Config, source: Source, held_out: Sequence[int]) -> list[Sample]:
    """The samples of a training run; their degradations are a function of its seed."""
    samples = []
    for place, index in enumerate(held_out[:COUNT]):
        rng = np.random.default_rng((config.seed, place))
        clean, degraded, scalars = source.middle(index, rng, SIDE)
        known = {name: value for name, value in scalars.items() if not math.isnan(value)}
        samples.append(Sample(to_signal(clean), to_signal(degraded), known))
    return samples


def save_samples(
    config: Config, folder: Path, weights: Mapping[str, Tensor], samples: Sequence[Sample], step: int
) -> dict[str, float]:
    """Restore the samples, write them to `step_NUMBER.png`, and return their mean PSNR in dB for the log.

    Raises:
        OutputError: the image cannot be written.
    """
    restored = restore_samples(config, weights, samples)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made ({error.strerror}); remove what is in its place."
        ) from None
    write(Photo(side_by_side(restored)), folder / f"step_{step:06d}.png", force=True)
    means = mean_psnr(restored)
    logger.info(
        "samples of step %d: %s", step, ", ".join(f"{name} {db:.2f} dB" for name, db in means.items())
    )
    return {f"psnr_{name}": db for name, db in means.items()}


def restore_samples(
    config: Config, weights: Mapping[str, Tensor], samples: Sequence[Sample]
) -> list[dict[str, Planes]]:
    """The `COLUMNS` of each sample by name, [1,3,h,w] in [-1,1]; weights and samples are not changed."""
    predictor, diffusion_model = networks_with(weights, config.model)
    device = next(predictor.parameters()).device
    pipeline = RestorationPipeline(TorchEngine(predictor, diffusion_model, device), config.pipeline)

    def known(sample: Sample) -> dict[str, float]:
        return {n: v for n, v in sample.scalars.items() if n in pipeline.engine.scalars}

    return [
        {
            "input": sample.degraded,
            "predictor": pipeline.restore_signal(sample.degraded, start_fraction=0),
            "restored": pipeline.restore_signal(sample.degraded, seed=place, scalars=known(sample), amount=1),
            "clean": sample.clean,
        }
        for place, sample in enumerate(samples)
    ]


def mean_psnr(samples: Sequence[Mapping[str, Planes]]) -> dict[str, float]:
    """PSNR in dB, at most 100, of each column against the clean image: the mean over the samples."""

    def value(sample: Mapping[str, Planes], name: str) -> float:
        return min(100.0, float(psnr(torch.from_numpy(sample[name]), torch.from_numpy(sample["clean"]))))

    return {name: fmean(value(sample, name) for sample in samples) for name in COLUMNS[:-1]}


def side_by_side(samples: Sequence[Mapping[str, Planes]]) -> Pixels:
    """One row for each sample, with its columns side by side on white: uint8 [H,W,3]."""
    rows = [np.concatenate([sample[name] for name in COLUMNS], axis=3) for sample in samples]
    signal = np.ones((1, 3, sum(row.shape[2] for row in rows), max(row.shape[3] for row in rows)), np.float32)
    top = 0
    for row in rows:
        signal[:, :, top : top + row.shape[2], : row.shape[3]] = row
        top += row.shape[2]
    pixels: Pixels = from_signal(signal, np.empty((1, 1, 3), np.uint8))
    return pixels
