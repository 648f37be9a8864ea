"""What is known of a photo, and what would be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ucdir.degradations.jpeg_traces import find_jpeg_traces
from ucdir.errors import ConfigError
from ucdir.images import read
from ucdir.images.photo import Metadata, Photo
from ucdir.images.raw import RawSize
from ucdir.tasks import TASKS
from ucdir.workflows.restore import brightened, check_task, explain_task, pretrained_of, with_jpeg_quality

NAME = "the image"


def inspect(
    source: Path,
    *,
    model_of: Callable[[str], str],
    task_of: Callable[[str], str],
    model: str | None = None,
    task: str = "auto",
    scalars: Mapping[str, float] | None = None,
    brighten: float | str = "auto",
    raw_size: RawSize = "full",
) -> dict[str, Any]:
    """A photo's properties, and what `restore` would do with the same arguments.

    Args:
        source: the file.
        model_of: the model that is taken for the name of a pretrained one.
        task_of: the task of a model.
        model: as named, or None.
        task: a name in `TASKS`, or "auto".
        scalars: as given.
        brighten: as given.
        raw_size: as given.

    Raises:
        ImageError: the photo cannot be read.
        ConfigError: the model is for another task.
    """
    photo = read(source, exposure_ratio=brighten, raw_size=raw_size)  # type: ignore[arg-type]
    height, width, channels = photo.pixels.shape
    found = {
        "format": photo.format,
        "width": width,
        "height": height,
        "channels": channels,
        "bits": photo.pixels.dtype.itemsize * 8,
        "alpha": photo.alpha is not None,
        "jpeg_quality": {"tables": photo.jpeg_quality, "pixels": _quality_of_pixels(photo)},
        "metadata": _names(photo.metadata),
    }
    plan, notes = _plan(photo, model_of, task_of, model, task, scalars or {}, brighten)
    return {**found, "plan": plan, "notes": notes}


def _quality_of_pixels(photo: Photo) -> int | None:
    if photo.pixels.dtype.itemsize != 1 or photo.exposure is not None:
        return None
    traces = find_jpeg_traces(photo.pixels)
    return None if traces is None else traces.quality


def _names(metadata: Metadata) -> list[str]:
    present = {
        "EXIF": metadata.exif, "colour profile": metadata.icc, "XMP": metadata.xmp, "IPTC": metadata.iptc,
        "density": metadata.density, "texts": metadata.texts,
    }  # fmt: skip
    return [name for name, value in present.items() if value]


def _plan(
    photo: Photo,
    model_of: Callable[[str], str],
    task_of: Callable[[str], str],
    model: str | None,
    task: str,
    scalars: Mapping[str, float],
    brighten: float | str,
) -> tuple[dict[str, Any], list[str]]:
    """What would be done, as `workflows.restore` decides it, and what would be said."""
    if model is not None:
        check_task(task, task_of(model))
    if task in ("auto", "jpeg_restoration"):
        photo = with_jpeg_quality(photo, NAME)
    photo = brightened(photo, brighten)  # type: ignore[arg-type]
    try:
        chosen, reason = explain_task(photo, scalars, NAME)
    except ConfigError as error:
        chosen, reason = None, str(error)
    if model is not None:
        chosen, reason = task_of(model), "what the model is for"
    elif task != "auto":
        chosen, reason = task, "as chosen"
    if chosen is None:
        return {"task": None, "model": None, "reason": reason, "scalars": dict(scalars)}, list(photo.warnings)
    known = dict(TASKS[chosen].known_scalars(photo)) | dict(scalars)
    plan = {
        "task": chosen,
        "model": model or model_of(pretrained_of(chosen, photo, scalars)),
        "reason": reason,
        "scalars": known,
    }
    return plan, list(photo.warnings)
