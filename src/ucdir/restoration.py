"""The way of one photograph, file to file: read it, note what is known of the damage, restore it, write it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ucdir.devices import choose_device
from ucdir.errors import WeightsError
from ucdir.images import Photo, check_writable, default_output, read, write
from ucdir.images.messages import shown
from ucdir.images.photo import Pixels
from ucdir.pipeline import Pipeline
from ucdir.tasks import TASKS

WEIGHTS = Path(__file__).parent / "weights"
"""The models that come with the package: one folder each, named like the task."""


@dataclass(frozen=True)
class Restored:
    """What was done to one photograph."""

    output: Path
    width: int
    height: int
    steps: int
    seconds: float
    scalars: dict[str, float]
    """What was known of the damage."""
    notes: tuple[str, ...]
    """One sentence for each thing that the photograph's owner should know."""


def models() -> list[str]:
    """The names of the models in the package."""
    return sorted(index.parent.name for index in WEIGHTS.glob("*/model_index.json"))


def load(model: str | Path = "jpeg_restoration", device: str = "auto") -> Pipeline:
    """Load a model of the package by its name, or one's own by its folder.

    Args:
        model: a name of `models()`, or a folder that `save_pretrained` wrote.
        device: auto, cpu, cuda, cuda:1 …, or mps.

    Raises:
        WeightsError: there is no such model, or it is damaged.
        DeviceError: the device is not there.
    """
    folder = WEIGHTS / str(model) if str(model) in models() else Path(model)
    if not os.path.isdir(folder):  # noqa: PTH112 (never an error, however odd the name)
        known = (
            f"choose one of {', '.join(models())} or name" if models() else "none came with the package; name"
        )
        raise WeightsError(
            f"{shown(Path(model))}: no model has this name and there is no such folder; {known} the folder of your own "
            "model."
        )
    pipeline = Pipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(choose_device(device))  # type: ignore[no-any-return]


def restore(
    photo: str | Path,
    output: str | Path | None = None,
    *,
    pipeline: Pipeline | None = None,  # by default the one for JPEG
    steps: int | None = None,  # by default what the model was made for
    seed: int = 0,
    patch_size: int | None = None,  # by default as memory allows
    scalars: Mapping[str, float] | None = None,  # what is known of the damage, over what the file tells
    force: bool = False,  # whether an existing output is overwritten
    on_step: Callable[[int, int], None] | None = None,  # called as (steps done, steps in all)
) -> Restored:
    """Restore a photograph.

    Args:
        photo: a JPEG, PNG, WebP, TIFF, AVIF, BMP or GIF file.
        output: the file to write, its format by its suffix; `photo.restored.png` by default.
        pipeline: from `load`.
        steps: evaluations of the diffusion model.
        seed: the same seed gives the same picture.
        patch_size: longest side of a patch in pixels.
        scalars: what is known of the damage, such as `{"jpeg_quality": 10}`; it overrules what the file tells.
        force: overwrite an existing output.
        on_step: told of the progress.

    Raises:
        ImageError: the photograph cannot be read.
        OutputError: the output cannot be written; nothing is left half-written.
        ConfigError: an argument is out of range.
    """
    began = time.perf_counter()
    source = Path(photo)
    target = default_output(source) if output is None else Path(output)
    check_writable(target, force=force)
    degraded = read(source)
    check_writable(target, force=force, photo=degraded)
    pipeline = load() if pipeline is None else pipeline
    count = pipeline.config.default_steps if steps is None else steps

    known = {**TASKS[pipeline.config.task].known_scalars(degraded), **(scalars or {})}
    restored = _restored_pixels(degraded, pipeline, known, count, seed, patch_size, on_step)
    notes = write(replace(degraded, pixels=restored), target, force=force)
    height, width = restored.shape[:2]
    return Restored(
        target, width, height, count, time.perf_counter() - began, known, (*degraded.warnings, *notes)
    )


def _restored_pixels(
    photo: Photo,
    pipeline: Pipeline,
    scalars: dict[str, float],
    steps: int,
    seed: int,
    patch_size: int | None,
    on_step: Callable[[int, int], None] | None,
) -> Pixels:
    def report(_: Pipeline, step: int, __: int, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if on_step is not None:
            on_step(step + 1, steps)
        return tensors

    (images,) = pipeline(
        to_signal(photo.pixels), steps, seed=seed, scalars=scalars, patch_size=patch_size, output_type="pt",
        return_dict=False, callback_on_step_end=report,
    )  # fmt: skip
    return from_signal(images, photo.pixels)


def to_signal(pixels: Pixels) -> Tensor:
    """uint8 or uint16 [H,W,1|3] -> float32 [1,3,H,W] in [-1,1]."""
    peak = np.iinfo(pixels.dtype).max
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0), dtype=np.float32)
    return torch.from_numpy(planes).mul_(2 / peak).sub_(1).expand(3, -1, -1)[None]


def from_signal(images: Tensor, like: Pixels) -> Pixels:
    """float32 [1,3,H,W] in [-1,1] -> the type and the number of channels of `like`; changes `images`."""
    peak = int(np.iinfo(like.dtype).max)
    if like.shape[2] == 1:
        images = images.mean(dim=1, keepdim=True)
    rounded = images[0].add_(1).mul_(peak / 2).round_().clamp_(0, peak)
    return np.ascontiguousarray(np.moveaxis(rounded.numpy(), 0, -1), dtype=like.dtype)
