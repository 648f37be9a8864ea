"""Restoration of a photo of any size, part by part from file to file, in memory that its size hardly changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import ucdir
from ucdir.errors import ConfigError
from ucdir.images import Photo
from ucdir.images.atomic import refusal
from ucdir.images.parts import PhotoParts
from ucdir.images.pixels import Signal
from ucdir.images.write import DEEP_ZOOM
from ucdir.images.write_large import check_disk, disk_bytes
from ucdir.limits import STREAMED_PIXELS
from ucdir.memory import check_address_space, free_memory, mapped_array, put
from ucdir.model.pretrained import model_digest
from ucdir.pipeline import RestorationPipeline
from ucdir.workflows.records import digest
from ucdir.workflows.unfinished import Unfinished, bytes_begun

WHOLE_BYTES_PER_PIXEL: Final = 60
"""Memory that restoring a photo as a whole takes, about, with one step."""


def is_streamed(photo: Photo, output: Path, limit: int | None) -> bool:
    """Whether a photo is restored part by part: the same picture, so it is only a question of memory and time.

    Args:
        photo: as read.
        output: where the result goes.
        limit: bytes that this process may take.
    """
    pixels = math.prod(photo.pixels.shape[:2])
    free = free_memory(limit)
    short = free is not None and pixels * WHOLE_BYTES_PER_PIXEL > free
    return short or pixels > STREAMED_PIXELS or output.suffix.lower() == DEEP_ZOOM


def mean_and_std(samples: Iterable[Signal]) -> tuple[Signal, NDArray[np.float32] | None]:
    """Mean [B,3,H,W] of samples, and their standard deviation [H,W] if there are several.

    They are running values (Welford 1962), so that no two samples are kept; the first is overwritten by the mean.
    """
    mean: Any = None
    squares: Any = None
    number = 0
    for number, sample in enumerate(samples):
        if mean is None:
            mean, squares = sample, np.zeros(sample.shape[-2:], np.float32)
            continue
        change = sample - mean
        squares += number / (number + 1) * (change * change).sum(axis=(0, 1))
        change /= number + 1
        mean += change
    return mean, np.sqrt(squares / (mean.shape[1] * number)) if number else None


@contextmanager
def restored_in_file(
    photo: Photo,
    source: Path,
    output: Path,
    pipeline: RestorationPipeline,
    options: Mapping[str, Any],
    report: Mapping[str, Any],
    *,
    seeds: Sequence[int],
    scalars: Mapping[str, float],
    resume: Mapping[str, Any] | None,
    grey: Callable[[NDArray[np.float32]], NDArray[np.uint8]] | None,
) -> Iterator[tuple[Photo, Photo | None]]:
    """A photo restored part by part into a file beside its output, which is gone when the context ends.

    Args:
        photo: as read, in memory or in a file.
        source: the photo's file.
        output: where the result is going to be written.
        pipeline: restores it.
        options: of `RestorationPipeline.restore_parts`, on which the result may depend.
        report: its other options.
        seeds: of the samples whose mean is taken.
        scalars: what is known of the degradation.
        resume: further settings that change the result, if its state is to be kept until the context ends without an
            error, and one that is there gone on with; else None.
        grey: makes a grey image of the standard deviation of the samples; None: none is wanted.

    Yields:
        the restored photo, its samples in the file, and the grey image.

    Raises:
        ConfigError: an argument is out of range.
        OutputError: there is not enough disk space, or the state that is there is of something else.
    """
    parts, folder = PhotoParts(photo), output.parent
    height, width, colours = photo.pixels.shape
    shape = height, width, colours + (photo.alpha is not None)
    raw_bytes = math.prod(shape) * photo.pixels.dtype.itemsize
    state: Unfinished | None = None
    check_address_space(raw_bytes, f"an image of {width}x{height} pixels")
    try:
        there = 0 if resume is None else bytes_begun(output)
        needed = disk_bytes(output, raw_bytes) + max(raw_bytes - there, 0) + (height * width if grey else 0)
        check_disk(folder, needed, output)
        if resume is None:
            samples = mapped_array(shape, photo.pixels.dtype, folder)
        else:
            settings = _settings(
                photo, source, pipeline, options, {**resume, "seeds": [*seeds], "scalars": {**scalars}}
            )
            patch_size = pipeline.patch_size(height, width, options.get("max_memory"))
            state = Unfinished(output, settings, shape, photo.pixels.dtype, patch_size)
            samples, options = state.samples, {**options, "patch_size": state.settings["patch_size"]}
        levels = mapped_array((height, width, 1), np.uint8, folder) if grey else None

        def write(rows: slice, columns: slice, restored: list[Signal]) -> None:
            mean, std = mean_and_std(restored)
            put(parts.pixels(mean, rows, columns), samples[..., :colours], rows, columns)
            if (alpha := parts.alpha(rows, columns)) is not None:
                put(alpha, samples[..., colours], rows, columns)
            if levels is not None and grey is not None and std is not None:
                put(grey(std), levels, rows, columns)
            if state is not None and columns.stop == width:
                state.finished_rows(rows.stop)

        done = 0 if state is None else state.done
        if done < height:
            pipeline.restore_parts(
                parts.signal, height, width, write,
                folder=folder, seeds=seeds, scalars=scalars, first_row=done, **options, **report,
            )  # fmt: skip
        yield (
            replace(
                photo,
                pixels=samples[..., :colours],
                alpha=None if photo.alpha is None else samples[..., colours],
            ),
            None if levels is None else Photo(levels),
        )
        if state is not None:
            state.remove()
    except OSError as error:
        raise refusal(error, output) from error
    finally:
        if state is not None:
            state.close()


def _settings(
    photo: Photo,
    source: Path,
    pipeline: RestorationPipeline,
    options: Mapping[str, Any],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """All that a result depends on."""
    if pipeline.folder is None:
        raise ConfigError("resume needs a model that was loaded by its name or folder; leave it out.")
    of_result = {name: value for name, value in options.items() if name != "max_memory"}
    return {
        "version": ucdir.__version__,
        "photo": digest(source),
        "model": model_digest(pipeline.folder),
        "engine": f"{type(pipeline.engine).__name__} {getattr(pipeline.engine, 'precision', '')}",
        "patch_size": None,
        **given,
        **of_result,
    }
