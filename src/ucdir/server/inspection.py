"""What is known of a photo, and what would be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ucdir.images import read
from ucdir.images.photo import Metadata, Photo
from ucdir.images.raw import RawSize
from ucdir.inspection import Inspection, JpegFinding
from ucdir.inspection import inspect as inspect_photo
from ucdir.tasks import TASKS
from ucdir.workflows.choice import Choice, choose_task, left_alone, with_jpeg_quality
from ucdir.workflows.restore import brightened
from ucdir.workflows.sampling import check_task

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
    found = inspect_photo(photo)
    known = {
        "format": photo.format,
        "width": width,
        "height": height,
        "channels": channels,
        "bits": photo.pixels.dtype.itemsize * 8,
        "alpha": photo.alpha is not None,
        "jpeg_quality": {"tables": photo.jpeg_quality, "pixels": _earlier_quality(found.jpeg)},
        "metadata": _names(photo.metadata),
        "inspection": found.as_dict(),
    }
    plan, notes = _plan(photo, found, model_of, task_of, model, task, scalars or {}, brighten)
    return {**known, "plan": plan, "notes": notes}


def _earlier_quality(jpeg: JpegFinding) -> int | None:
    """Of a compression that is not the file's own."""
    return jpeg.quality if jpeg.compressions > (jpeg.tables is not None) else None


def _names(metadata: Metadata) -> list[str]:
    present = {
        "EXIF": metadata.exif, "colour profile": metadata.icc, "XMP": metadata.xmp, "IPTC": metadata.iptc,
        "density": metadata.density, "texts": metadata.texts,
    }  # fmt: skip
    return [name for name, value in present.items() if value]


def _plan(
    photo: Photo,
    found: Inspection,
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
    bright = brightened(photo, brighten)  # type: ignore[arg-type]
    if model is not None:
        choice = Choice(task_of(model), "what the model is for")
    elif task != "auto":
        choice = Choice(task, "as chosen")
    else:
        choice = choose_task(bright, scalars, found=found)
    chosen = choice.task
    if chosen is None:
        reason = left_alone(NAME, choice.reason)
        return {"task": None, "model": None, "reason": reason, "scalars": dict(scalars)}, list(photo.warnings)
    if chosen == "jpeg_restoration":
        photo = with_jpeg_quality(photo, NAME, found)
    bright = brightened(photo, brighten)  # type: ignore[arg-type]
    known = dict(TASKS[chosen].known_scalars(bright)) | dict(choice.scalars) | dict(scalars)
    plan = {
        "task": chosen,
        "model": model or model_of(chosen),
        "reason": choice.reason,
        "scalars": known,
    }
    return plan, list(photo.warnings)
