"""Restoration of one photo: read it, note what is known of its degradation, restore it, write it.

file             ->  file, and a `RestoredPhoto` that says what was done
bytes of a file  ->  bytes of a file
PIL image, NumPy array, torch tensor, or a list of them  ->  the same kind
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ConfigError, DeviceError
from ucdir.images import (
    Exposure,
    Photo,
    check_encodable,
    check_writable,
    default_output,
    encode_photo,
    is_format,
    is_lossless,
    read,
    write,
)
from ucdir.images.large import large_images
from ucdir.images.paths import shown
from ucdir.images.pixels import Pixels, Signal, from_signal, to_signal
from ucdir.images.raw import RAW_SIZES, RawSize
from ucdir.images.srgb import amplified, from_srgb_signal, to_srgb_signal
from ucdir.images.write_large import check_encoder, write_large
from ucdir.memory import bytes_of
from ucdir.pipeline import OnStep, is_number, is_whole, load
from ucdir.tasks import JpegRestoration
from ucdir.tasks.jpeg_restoration import CONSISTENT_FROM
from ucdir.tasks.scalars import SCALARS
from ucdir.workflows.choice import left_alone, told_task
from ucdir.workflows.consistent import gains_by_consistency, made_consistent
from ucdir.workflows.inspect import photo_of
from ucdir.workflows.sampling import Chosen, Models, Sampling, SamplingOptions
from ucdir.workflows.streamed import is_streamed, restored_in_file

UNCERTAIN = 16
"""Standard deviation of the samples, in 8-bit levels, that is white in the uncertainty map."""


@dataclass(frozen=True)
class RestoredPhoto:
    """What was done to one photo."""

    output: Path | None
    """The file; None where nothing was wrong with the photo, so that nothing was done and no file was written."""
    width: int
    height: int
    task: str | None
    """None where nothing was done."""
    steps: int
    seconds: float
    scalars: dict[str, float]
    """What was known of the degradation."""
    notes: tuple[str, ...]
    """One sentence for each thing that the photo's owner should know."""
    reason: str | None = None
    """What the task was chosen for, if it was not named."""


def restore(
    image: Any,
    output: str | Path | None = None,
    *,
    task: str = "auto",
    pipeline: Models = load,
    scalars: Mapping[str, float] | None = None,
    brighten: float | Literal["auto", "file"] = "auto",
    raw_size: RawSize = "full",
    seed: int = 0,
    samples: int = 1,
    one_of_several: bool = False,
    uncertainty: str | Path | None = None,
    consistent: bool | None = None,
    format: str | None = None,
    force: bool = False,
    keep_times: bool = False,
    resume: bool = False,
    max_pixels: int | None = None,
    on_step: OnStep | None = None,
    **options: Unpack[SamplingOptions],
) -> Any:
    """Restore a photo.

    Args:
        image: a path, or the bytes of a file: JPEG, PNG, WebP, TIFF, AVIF, HEIC, BMP, GIF, or a camera's RAW file. Or
            an image in memory, as `RestorationPipeline` takes it: a PIL image, an array [H,W,3] of uint8 or in [0,1], a
            tensor [3,H,W] in [0,1], or several in a batch or list; its numbers are taken as sRGB's.
        output: of a path, the file to write, its format by its suffix; `photo.restored.png` by default.
        task: a name in `tasks.TASKS`, or "auto": what `ucdir.inspect` finds, unless `scalars` or a RAW file tell. A
            photo that nothing is wrong with is left alone: no file is written, an image or bytes are returned as they
            are.
        pipeline: from `load`, or a function that gives the pipeline of a pretrained model's name.
        scalars: what is known of the degradation, such as `{"jpeg_quality": 10}`; overrules what the file says.
        brighten: how many times to amplify the light of a RAW file or a dark photo: a number from 1 to 1000, or "auto"
            or "file", see `images.read`, which leave photos that are not RAW as bright as they are. Only of a path or
            bytes. What was amplified before is told by the scalar `exposure_ratio`.
        raw_size: of a RAW file, "full" for the size of its sensor, demosaiced by LibRaw, or "half" for a pixel of each
            2x2, as in the paper.
        seed: the same seed gives the same image.
        samples: how many restorations are sampled, with the seeds `seed`, `seed` + 1, …; the result is their mean,
            which is closer to the clean image than any of them, and smoother.
        one_of_several: whether samples with other seeds are taken, too, to choose from. Of models that have the dial
            `diversity`, it is 0.5 then unless `scalars` has it, so that the samples differ; of a mean it is 1.
        uncertainty: of a path, file for a grey image of where the samples differ, and detail was therefore invented:
            their standard deviation, white from `UNCERTAIN` 8-bit levels on. It needs 2 samples or more.
        consistent: whether the result is moved to the nearest image that compresses to the JPEG file's own
            coefficients, see `degradations.jpeg_consistency`; only of a JPEG file or its bytes, for JPEG restoration.
            A lossy format undoes it. None: from quality `CONSISTENT_FROM` on, where it can be.
        format: of bytes, the format of the result, such as "png"; by default that of `image`, or PNG for GIF, HEIC and
            RAW.
        force: overwrite an existing output.
        keep_times: of a path, whether the output gets the photo's times of access and change.
        resume: of a path, whether what is done of it is kept in a hidden folder beside the output until it is finished,
            and one that was interrupted goes on where it stopped.
        max_pixels: of a path, largest width x height, of a file of any size; by default see `limits.py`.
        on_step: called as (steps done, steps in all); of a file of more than `limits.STREAMED_PIXELS`, which is
            restored part by part, as (patches done, patches in all).
        options: steps, start_fraction, eta, fidelity, amount, patch_size, max_memory: see `RestorationPipeline`.

    Returns:
        a `RestoredPhoto` for a path, else the restored image of the same kind as `image`.

    Raises:
        ImageError: the photo cannot be read.
        OutputError: the output cannot be written; nothing is left half-written.
        ConfigError: an argument is out of range.
        ResultError: the networks gave numbers that are not finite; nothing is written.
        DeviceError: the memory does not hold the photo.
    """
    is_file = isinstance(image, (str, os.PathLike))
    of_files = (output, uncertainty, force, keep_times, resume, max_pixels)
    if not is_file and of_files != (None, None, False, False, False, None):
        raise ConfigError(
            "output, uncertainty, force, keep_times, resume and max_pixels are for files; an image in memory is "
            "returned."
        )
    if max_pixels is not None and not (is_whole(max_pixels) and max_pixels > 0):
        raise ConfigError(f"max_pixels {max_pixels!r:.80} is not a whole number above 0.")
    if not (is_file or isinstance(image, bytes) or brighten == "auto"):
        raise ConfigError("brighten is for files; an image in memory is restored as bright as it is.")
    developing = _Developing(brighten, raw_size)
    if format is not None and not isinstance(image, bytes):
        raise ConfigError(
            "format is for the bytes of a file; the suffix of output chooses the format of a file."
        )
    if uncertainty is not None and samples == 1:
        raise ConfigError("samples 1: choose 2 or more for an uncertainty map.")
    sampling = Sampling(
        task,
        pipeline,
        scalars or {},
        seed,
        samples,
        consistent,
        on_step,
        options,
        one_of_several=one_of_several,
    )
    with _named_if_memory_is_short(shown(Path(image)) if is_file else "image"):
        if is_file:
            source = Path(image)
            target = default_output(source) if output is None else Path(output)
            uncertain = None if uncertainty is None else Path(uncertainty)
            files = _Files(source, target, uncertain, force, source if keep_times else None, resume)
            with large_images(target.parent, max_pixels):
                return _restore_file(files, sampling, developing)
        if isinstance(image, bytes):
            return _restore_bytes(image, sampling, developing, format)[0]
        return from_signal(_restore_signal(to_signal(image), sampling), image)


def restore_bytes(
    data: bytes,
    *,
    task: str = "auto",
    pipeline: Models = load,
    scalars: Mapping[str, float] | None = None,
    brighten: float | Literal["auto", "file"] = "auto",
    raw_size: RawSize = "full",
    seed: int = 0,
    samples: int = 1,
    consistent: bool | None = None,
    format: str | None = None,
    on_step: OnStep | None = None,
    **options: Unpack[SamplingOptions],
) -> tuple[bytes, RestoredPhoto]:
    """As `restore` of the bytes of a file, and what was done."""
    developing = _Developing(brighten, raw_size)
    sampling = Sampling(task, pipeline, scalars or {}, seed, samples, consistent, on_step, options)
    with _named_if_memory_is_short("image"):
        return _restore_bytes(data, sampling, developing, format)


@contextmanager
def _named_if_memory_is_short(name: str) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise DeviceError(
            f"{name}: the memory does not hold its restoration; close other programs, raise the limit (--max-memory, "
            "ulimit -v, the container's), or use a machine with more memory."
        ) from error


@dataclass(frozen=True)
class _Developing:
    """The arguments of `restore` that say how a file becomes an image."""

    brighten: float | Literal["auto", "file"]
    raw_size: RawSize

    def __post_init__(self) -> None:
        low, high = SCALARS["exposure_ratio"].range
        named = isinstance(self.brighten, str) and self.brighten in ("auto", "file")
        if not named and not (is_number(self.brighten) and low <= float(self.brighten) <= high):
            raise ConfigError(
                f"brighten {self.brighten!r:.80} is neither a number from {low:g} to {high:g}, nor 'auto', nor 'file'."
            )
        if self.raw_size not in RAW_SIZES:
            raise ConfigError(f"raw_size {self.raw_size!r:.80} is unknown; choose {' or '.join(RAW_SIZES)}.")


# ----------------------------------------------------------------------------------------------- files and their bytes


@dataclass(frozen=True)
class _Files:
    """The arguments of `restore` that are about files."""

    source: Path
    target: Path
    uncertainty: Path | None
    force: bool
    times_of: Path | None
    resume: bool


def _restore_file(files: _Files, sampling: Sampling, developing: _Developing) -> RestoredPhoto:
    began = time.perf_counter()
    source, target, uncertainty = files.source, files.target, files.uncertainty
    check_writable(target, force=files.force)
    if uncertainty is not None:
        if uncertainty.resolve() in (source.resolve(), target.resolve()):
            raise ConfigError(f"{shown(uncertainty)}: the uncertainty map needs a file of its own.")
        check_writable(uncertainty, force=files.force, photo=Photo(np.zeros((1, 1, 1), np.uint8)))
    photo = _read(source, developing, sampling, target.suffix)
    sampling, photo = _settled(source, photo, sampling, shown(source))
    if sampling.left_alone:
        return _left(photo, sampling, shown(source), began)
    check_writable(target, force=files.force, photo=photo)
    if uncertainty is not None:
        size = Photo(np.broadcast_to(np.uint8(0), (*photo.pixels.shape[:2], 1)))
        check_writable(uncertainty, force=files.force, photo=size)
    limit = sampling.options.get("max_memory")
    try:
        if is_streamed(photo, target, None if limit is None else bytes_of(limit)):
            for path in filter(None, (target, uncertainty)):
                check_encoder(path, *photo.pixels.shape[:2])
            result, notes = _restore_parts(photo, files, sampling, developing)
        else:
            result = sampling(to_srgb_signal(photo), photo, shown(source))
            pixels, notes = _consistent(
                from_srgb_signal(result.mean, photo), result, photo, sampling, shown(source)
            )
            notes += write(replace(photo, pixels=pixels), target, force=files.force, times_of=files.times_of)
            if uncertainty is not None and result.std is not None:
                write_large(Photo(_grey(result.std)), uncertainty, force=files.force)
    except DeviceError as error:
        raise DeviceError(f"{shown(source)}: {error}") from error
    if sampling.consistent and not is_lossless(target.suffix):
        notes += (
            f"{shown(target)}: its format is lossy, so it is not consistent with the JPEG file; choose .png or .tif.",
        )
    height, width = photo.pixels.shape[:2]
    return RestoredPhoto(
        target, width, height, result.task, result.steps, time.perf_counter() - began, result.scalars,
        (*photo.warnings, *notes), sampling.reason,
    )  # fmt: skip


def _restore_parts(
    photo: Photo, files: _Files, sampling: Sampling, developing: _Developing
) -> tuple[Chosen, tuple[str, ...]]:
    """What is done of a photo whose signal need not fit the memory."""
    name = shown(files.source)
    chosen = sampling.chosen(photo, name)
    resume = (
        {"task": chosen.task, "consistent": sampling.consistent, **asdict(developing)}
        if files.resume
        else None
    )
    report = {} if sampling.on_step is None else {"on_patch": sampling.on_step}
    with restored_in_file(
        photo, files.source, files.target, chosen.pipeline, sampling.options, report,
        seeds=range(sampling.seed, sampling.seed + sampling.samples), scalars=chosen.scalars, resume=resume,
        grey=None if files.uncertainty is None else _grey,
    ) as (restored, levels):  # fmt: skip
        pixels, notes = _consistent(restored.pixels, chosen, photo, sampling, name)
        result = replace(restored, pixels=pixels)
        notes += write_large(result, files.target, force=files.force, times_of=files.times_of)
        if levels is not None and files.uncertainty is not None:
            write_large(levels, files.uncertainty, force=files.force)
    return chosen, notes


def _settled(source: Path | bytes, photo: Photo, sampling: Sampling, name: str) -> tuple[Sampling, Photo]:
    """As `Sampling.settled`; what JPEG restoration reads of a file beside its pixels is read once it is chosen."""
    settled, photo = sampling.settled(photo, name)
    if (
        settled is not sampling
        and settled.task == JpegRestoration.name
        and photo.format == "JPEG"
        and (photo.jpeg_quality or 0) >= CONSISTENT_FROM
        and photo.jpeg_coefficients is None
    ):
        coefficients = read(source, coefficients=CONSISTENT_FROM).jpeg_coefficients
        photo = replace(photo, jpeg_coefficients=coefficients)
    return settled, photo


def _left(photo: Photo, sampling: Sampling, name: str, began: float) -> RestoredPhoto:
    """What is said of a photo that nothing is wrong with."""
    height, width = photo.pixels.shape[:2]
    note = left_alone(name, sampling.reason or "")
    seconds = time.perf_counter() - began
    return RestoredPhoto(None, width, height, None, 0, seconds, {}, (note,), sampling.reason)


def _restore_bytes(
    data: bytes, sampling: Sampling, developing: _Developing, format: str | None
) -> tuple[bytes, RestoredPhoto]:
    began = time.perf_counter()
    photo = _read(data, developing, sampling, format or "")
    sampling, photo = _settled(data, photo, sampling, "the image")
    if sampling.left_alone:
        left = _left(photo, sampling, "the image", began)
        if format is None or is_format(format, photo.format):
            return data, left
        pieces, dropped = encode_photo(photo, format)
        return b"".join(pieces), replace(left, notes=(*photo.warnings, *left.notes, *dropped))
    if sampling.consistent and not is_lossless(format or photo.format):
        raise ConfigError(
            f"format {format or photo.format}: a lossy format would not stay consistent; choose 'png' or 'tiff'."
        )
    check_encodable(photo, format or photo.format)
    result = sampling(to_srgb_signal(photo), photo)
    pixels, notes = _consistent(from_srgb_signal(result.mean, photo), result, photo, sampling, "the image")
    pieces, dropped = encode_photo(replace(photo, pixels=pixels), format or photo.format)
    height, width = photo.pixels.shape[:2]
    return b"".join(pieces), RestoredPhoto(
        Path("-"), width, height, result.task, result.steps, time.perf_counter() - began, result.scalars,
        (*photo.warnings, *notes, *dropped), sampling.reason,
    )  # fmt: skip


def _restore_signal(signal: Signal, sampling: Sampling) -> Signal:
    """Images in memory, [B,3,H,W]; of a batch, each may be for another task."""
    if not sampling.is_open:
        return sampling(signal).mean
    task = told_task(sampling.scalars)
    if task is not None:
        return replace(sampling, task=task)(signal).mean
    restored = []
    for number in range(len(signal)):
        one = signal[number : number + 1]
        own, _ = sampling.of(number).settled(photo_of(one), "image")
        restored.append(one if own.left_alone else own(one).mean)
    return restored[0] if len(restored) == 1 else np.concatenate(restored)


def _read(source: Path | bytes, developing: _Developing, sampling: Sampling, format: str) -> Photo:
    wanted: bool | int = bool(sampling.consistent)
    if sampling.consistent is None and sampling.is_of_jpeg:
        wanted = CONSISTENT_FROM
    photo = read(
        source, exposure_ratio=developing.brighten, raw_size=developing.raw_size,
        outside=format.lower().endswith("dng"), coefficients=wanted,
    )  # fmt: skip
    return brightened(photo, developing.brighten)


def _consistent(
    pixels: Pixels, result: Chosen, photo: Photo, sampling: Sampling, name: str
) -> tuple[Pixels, tuple[str, ...]]:
    """The restored photo's pixels, made consistent with its file if that is wanted, and what is to be said about it."""
    if sampling.consistent or (
        sampling.consistent is None and gains_by_consistency(photo, result.task, result.scalars)
    ):
        return made_consistent(pixels, photo, name, promised=sampling.consistent is not None)
    return pixels, ()


def brightened(photo: Photo, brighten: float | Literal["auto", "file"]) -> Photo:
    """A photo that is not RAW with its light amplified `brighten` times, if that is a number."""
    if photo.exposure is not None or isinstance(brighten, str):
        return photo
    return replace(photo, pixels=amplified(photo, brighten), exposure=Exposure(ratio=float(brighten)))


def _grey(std: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Standard deviation [H,W] of images in [-1,1] -> uint8 [H,W,1], white at `UNCERTAIN`."""
    levels: NDArray[np.float32] = np.minimum(std * (127.5 * 255 / UNCERTAIN), 255)
    return np.rint(levels)[..., None].astype(np.uint8)
