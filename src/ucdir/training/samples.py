"""Sample pictures of a training: held-out photographs, always the same, restored with averaged weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from ucdir.config import Config
from ucdir.data.sources import Source
from ucdir.errors import OutputError
from ucdir.images import Photo, write
from ucdir.images.pixels import to_signal
from ucdir.metrics.psnr import psnr
from ucdir.training.averaging import networks_with

logger = logging.getLogger(__name__)

COUNT = 8
"""Most photographs in a picture."""
SIDE = 256
"""Longest side in pixels of the part that is restored, from the middle of the photograph."""
COLUMNS = ("input", "predictor", "restored", "truth")
"""What stands side by side, from left to right."""


@dataclass(frozen=True)
class Sample:
    """A held-out photograph's middle: clean and degraded [1,3,h,w] in [-1,1], and what the model is told."""

    clean: Tensor
    degraded: Tensor
    scalars: Mapping[str, float]


def held_out_samples(config: Config, source: Source, held_out: list[int]) -> list[Sample]:
    """The samples of an experiment; their degradations are a function of its seed."""
    samples = []
    for place, index in enumerate(held_out[:COUNT]):
        rng = np.random.default_rng((config.seed, place))
        clean, degraded, scalars = source.middle(index, rng, SIDE)
        known = {name: value for name, value in scalars.items() if not math.isnan(value)}
        samples.append(
            Sample(torch.from_numpy(to_signal(clean)), torch.from_numpy(to_signal(degraded)), known)
        )
    return samples


def draw_samples(
    config: Config, folder: Path, weights: Mapping[str, Tensor], samples: list[Sample], step: int
) -> dict[str, float]:
    """Restore the samples, store them as a picture, and tell the PSNR in dB of its columns.

    Raises:
        OutputError: the picture cannot be written.
    """
    columns = restore_samples(config, weights, samples)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made ({error.strerror}); remove what is in its place."
        ) from None
    write_picture(columns, folder / f"step_{step:06d}.png")
    means = mean_psnr(columns)
    logger.info(
        "samples of step %d: %s", step, ", ".join(f"{name} {db:.2f} dB" for name, db in means.items())
    )
    return {f"psnr_{name}": db for name, db in means.items()}


def restore_samples(
    config: Config, weights: Mapping[str, Tensor], samples: list[Sample]
) -> list[dict[str, Tensor]]:
    """Each sample's `COLUMNS`, [1,3,h,w] in [-1,1]; weights and samples are left alone."""
    from ucdir.pipeline import build_pipeline

    pipeline = build_pipeline(config, *networks_with(weights, config.model))
    pipeline.set_progress_bar_config(disable=True)
    columns = []
    for place, sample in enumerate(samples):
        restore = partial(pipeline, seed=place, scalars=sample.scalars, output_type="pt", return_dict=False)
        (predicted,), (restored,) = restore(sample.degraded, start=0.0), restore(sample.degraded)
        images = (sample.degraded, predicted, restored, sample.clean)
        columns.append(dict(zip(COLUMNS, images, strict=True)))
    return columns


def mean_psnr(columns: list[dict[str, Tensor]]) -> dict[str, float]:
    """PSNR in dB (at most 100) against the clean image, the mean over the samples, of each column but the clean one."""
    return {
        name: fmean(float(psnr(images[name], images[COLUMNS[-1]]).clamp(max=100)) for images in columns)
        for name in COLUMNS[:-1]
    }


def write_picture(columns: list[dict[str, Tensor]], path: Path) -> None:
    """One row a sample, its columns side by side, as an 8-bit PNG.

    Raises:
        OutputError: it cannot be written.
    """
    rows = [torch.cat([images[name][0] for name in COLUMNS], dim=2) for images in columns]
    picture = torch.ones(3, sum(r.shape[1] for r in rows), max(r.shape[2] for r in rows))
    top = 0
    for row in rows:
        picture[:, top : top + row.shape[1], : row.shape[2]] = row
        top += row.shape[1]
    pixels = picture.add(1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0)
    write(Photo(np.ascontiguousarray(pixels.numpy())), path, force=True)
