"""The way of one photograph, file to file: read it, note what is known of the damage, restore it, write it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ucdir.engines.devices import choose_device, choose_precision
from ucdir.errors import ConfigError, WeightsError
from ucdir.images import Exposure, Photo, check_writable, default_output, read, write
from ucdir.images.camera import linear_to_srgb, srgb_to_linear
from ucdir.images.paths import shown
from ucdir.images.pixels import Pixels
from ucdir.model.pretrained import list_models, model_folder
from ucdir.pipeline import Pipeline
from ucdir.tasks import TASKS

STRONG_JPEG = 60
"""JPEG files below this quality are taken to need JPEG restoration."""

UNCERTAIN = 8
"""Standard deviation of samples, in 8-bit levels, that is white in the picture of where they differ."""


@dataclass(frozen=True)
class Restored:
    """What was done to one photograph."""

    output: Path
    width: int
    height: int
    task: str
    steps: int
    seconds: float
    scalars: dict[str, float]
    """What was known of the damage."""
    notes: tuple[str, ...]
    """One sentence for each thing that the photograph's owner should know."""


def load(model: str | Path = "jpeg_restoration", device: str = "auto", precision: str = "auto") -> Pipeline:
    """Load a model of the package by its name, or one's own by its folder.

    Args:
        model: a name of `list_models()`, or a folder that `save_pretrained` wrote.
        device: auto, cpu, cuda, cuda:1 …, or mps.
        precision: auto, fp32 or bf16; see `devices.choose_precision`.

    Raises:
        WeightsError: there is no such model, or it is damaged.
        DeviceError: the device is not there.
        ConfigError: there is no such precision.
    """
    target = choose_device(device)
    arithmetic = choose_precision(precision, target)
    folder = model_folder(model)
    if not os.path.isdir(folder):  # noqa: PTH112 (never an error, however odd the name)
        known = (
            f"choose one of {', '.join(list_models())} or name"
            if list_models()
            else "none came with the package; name"
        )
        raise WeightsError(
            f"{shown(Path(model))}: no model has this name and there is no such folder; {known} the folder of your own "
            "model."
        )
    pipeline = Pipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.precision = arithmetic
    return pipeline.to(target)  # type: ignore[no-any-return]


def restore(
    photo: str | Path,
    output: str | Path | None = None,
    *,
    task: str = "auto",
    pipeline: Pipeline | Callable[[str], Pipeline] = load,
    steps: int | None = None,  # by default what the model was made for
    seed: int = 0,
    patch_size: int | None = None,  # by default as memory allows
    scalars: Mapping[str, float] | None = None,  # what is known of the damage, over what the file tells
    exposure_ratio: float | Literal["auto", "file"] = "auto",
    fidelity: float = 0.0,  # 0: all the detail that was drawn; 1: the initial prediction
    samples: int = 1,  # restorations by seeds one after another, whose mean is written
    uncertainty: str | Path | None = None,  # where samples differ, as a picture
    force: bool = False,  # whether an existing output is overwritten
    on_step: Callable[[int, int], None] | None = None,  # called as (steps done, steps in all)
) -> Restored:
    """Restore a photograph.

    Args:
        photo: a JPEG, PNG, WebP, TIFF, AVIF, BMP or GIF file, or a camera's RAW file.
        output: the file to write, its format by its suffix; `photo.restored.png` by default.
        task: a name in `tasks.TASKS`, or "auto": see `choose_task`.
        pipeline: from `load`, or a function that gives the pipeline of a task; with a pipeline, `task` does not matter.
        steps: evaluations of the diffusion model.
        seed: the same seed gives the same picture.
        patch_size: longest side of a patch in pixels.
        scalars: what is known of the damage, such as `{"jpeg_quality": 10}`; it overrules what the file tells.
        exposure_ratio: how many times the light is amplified, for RAW files and dark photographs: see `images.read`;
            "auto" leaves photographs that are not RAW as bright as they are.
        fidelity: see `Pipeline`.
        samples: how many restorations are drawn, with the seeds `seed`, `seed` + 1, …; their mean is written,
            which is nearer to the truth than any of them, and smoother.
        uncertainty: file for a grey picture of where the samples differ, and detail was therefore invented: their
            standard deviation, white from `UNCERTAIN` 8-bit levels on. It needs 2 samples or more.
        force: overwrite an existing output.
        on_step: told of the progress.

    Raises:
        ImageError: the photograph cannot be read.
        OutputError: the output cannot be written; nothing is left half-written.
        ConfigError: an argument is out of range, or the task cannot be told.
    """
    began = time.perf_counter()
    source = Path(photo)
    target = default_output(source) if output is None else Path(output)
    check_writable(target, force=force)
    if samples < 1 or (uncertainty is not None and samples < 2):
        raise ConfigError(f"samples {samples}: draw at least 1, and at least 2 to tell where they differ.")
    if uncertainty is not None:
        if Path(uncertainty).resolve() in (source.resolve(), target.resolve()):
            raise ConfigError(f"{uncertainty}: the map of where samples differ needs a file of its own.")
        check_writable(Path(uncertainty), force=force)
    degraded = brightened(read(source, exposure_ratio=exposure_ratio), exposure_ratio)
    check_writable(target, force=force, photo=degraded)
    if not isinstance(pipeline, Pipeline):
        name = choose_task(degraded, scalars or {}, shown(source)) if task == "auto" else task
        pipeline = pipeline(name)
    count = pipeline.config.default_steps if steps is None else steps

    told = TASKS[pipeline.config.task].known_scalars(degraded)
    known = {**pipeline.understood(told), **(scalars or {})}
    restored, differing = _restored_pixels(
        degraded, pipeline, known, count, range(seed, seed + samples), fidelity, patch_size, on_step
    )
    notes = write(replace(degraded, pixels=restored), target, force=force)
    if uncertainty is not None and differing is not None:
        write(Photo(differing), Path(uncertainty), force=force)
    height, width = restored.shape[:2]
    return Restored(
        target, width, height, pipeline.config.task, count, time.perf_counter() - began, known,
        (*degraded.warnings, *notes),
    )  # fmt: skip


def choose_task(photo: Photo, scalars: Mapping[str, float], name: str) -> str:
    """What a photograph needs, as far as its file tells.

    A RAW file is of low light; a JPEG file of a quality below 60 needs JPEG restoration. Otherwise the names of the
    scalars tell: only one task knows a jpeg_quality.

    Args:
        photo: as read.
        scalars: what the user knows of the damage.
        name: of the file, for the message.

    Raises:
        ConfigError: nothing tells.
    """
    if scalars:
        fitting = [task for task, kind in TASKS.items() if set(scalars) <= set(kind.scalars)]
        if len(fitting) == 1:
            return fitting[0]
    if photo.exposure is not None:
        return "low_light"
    if photo.jpeg_quality is not None and photo.jpeg_quality < STRONG_JPEG:
        return "jpeg_restoration"
    quality = "" if photo.jpeg_quality is None else f" (a JPEG file of quality {photo.jpeg_quality})"
    raise ConfigError(
        f"{name}: nothing in the file{quality} tells what has damaged the photograph; say it by --task "
        f"({', '.join(TASKS)})."
    )


def brightened(photo: Photo, exposure_ratio: float | Literal["auto", "file"]) -> Photo:
    """A photograph that is not RAW with its light amplified `exposure_ratio` times, if that is a number."""
    if photo.exposure is not None or isinstance(exposure_ratio, str):
        return photo
    peak = np.iinfo(photo.pixels.dtype).max
    light = srgb_to_linear(photo.pixels.astype(np.float32) / peak) * exposure_ratio
    pixels = np.rint(linear_to_srgb(light) * peak).astype(photo.pixels.dtype)
    return replace(photo, pixels=pixels, exposure=Exposure(ratio=float(exposure_ratio)))


def _restored_pixels(
    photo: Photo,
    pipeline: Pipeline,
    scalars: dict[str, float],
    steps: int,
    seeds: range,
    fidelity: float,
    patch_size: int | None,
    on_step: Callable[[int, int], None] | None,
) -> tuple[Pixels, Pixels | None]:
    """The mean of the samples, and how much they differ: uint8 [H,W,1], nothing of a single one."""
    degraded = to_signal(photo.pixels)
    total = squares = torch.zeros(())
    for number, seed in enumerate(seeds):

        def report(_: Pipeline, step: int, __: int, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            if on_step is not None:
                on_step(number * steps + step + 1, len(seeds) * steps)  # noqa: B023 (called within its round)
            return tensors

        (images,) = pipeline(
            degraded, steps, seed=seed, scalars=scalars, fidelity=fidelity, patch_size=patch_size,
            output_type="pt", return_dict=False, callback_on_step_end=report,
        )  # fmt: skip
        if len(seeds) == 1:
            return from_signal(images, photo.pixels), None
        total, squares = total + images, squares + images.square()
    mean = total / len(seeds)
    variance = (squares / len(seeds) - mean.square()).clamp(min=0) * (len(seeds) / (len(seeds) - 1))
    levels = variance.mean(dim=1)[0].sqrt() * 127.5
    differing = (levels * (255 / UNCERTAIN)).clamp(max=255).round().byte().numpy()[..., None]
    return from_signal(mean, photo.pixels), differing


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
