"""`--consistent`: the restored photo is moved to the nearest one that its JPEG file does not contradict.

Not asked for, it is done to files of high quality, where it keeps a model from making the photo worse.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ucdir.degradations.jpeg_consistency import nearest_consistent, share_consistent
from ucdir.errors import ConfigError
from ucdir.images import Photo
from ucdir.images.decode import upright
from ucdir.images.pixels import Pixels
from ucdir.memory import mapping
from ucdir.tasks.jpeg_restoration import CONSISTENT_FROM, JpegRestoration

QUICK = 4
"""Corrections of an MCU where consistency is not promised: nearly all of the gain, in a part of the time."""
ENOUGH = 0.999
"""Share of identical coefficients below which a note says how many there are."""


def check_consistent(photo: Photo | None, task: str, name: str) -> None:
    """Refuse what has no coefficients to be consistent with.

    Args:
        photo: as read with `coefficients=True`, or None for an image in memory.
        task: of the model.
        name: of the image, for the message.

    Raises:
        ConfigError: it is no JPEG file, or the task or the brightening wants pixels that differ from the file's.
    """
    if photo is None or photo.jpeg_coefficients is None:
        kind = "an image in memory" if photo is None else f"a {photo.format} file"
        raise ConfigError(
            f"{name}: only the restoration of a JPEG file can be consistent with it; this is {kind}."
        )
    if task != "jpeg_restoration" or photo.exposure is not None:
        what = f"the task {task}" if photo.exposure is None else "brightening"
        raise ConfigError(
            f"{name}: {what} changes what the JPEG file says; leave out --consistent, or choose jpeg_restoration."
        )


def gains_by_consistency(photo: Photo, task: str, scalars: Mapping[str, float]) -> bool:
    """Whether a restoration is made consistent with its file where a call does not say: see `CONSISTENT_FROM`.

    The file's own quality is not what counts where the photo was compressed more strongly before.
    """
    quality = scalars.get("jpeg_quality", 0)
    known = photo.jpeg_coefficients is not None and photo.exposure is None
    return known and task == JpegRestoration.name and quality >= CONSISTENT_FROM


def made_consistent(
    pixels: Pixels, photo: Photo, name: str, *, promised: bool = True
) -> tuple[Pixels, tuple[str, ...]]:
    """The nearest pixels that are consistent with the photo's file, and a note if they are only in part.

    Args:
        pixels: uint8 [H,W,C], upright.
        photo: as `check_consistent` accepts it.
        name: of the photo, for the note.
        promised: else `QUICK` corrections are enough, and there is no note.
    """
    file = photo.jpeg_coefficients
    assert file is not None  # noqa: S101 (for the type checker)
    back = {6: 8, 8: 6}.get(file.orientation, file.orientation)
    if not promised:
        stored = nearest_consistent(upright(pixels, back), file, QUICK)
        return _contiguous(upright(stored, file.orientation)), ()
    stored = nearest_consistent(upright(pixels, back), file)
    share = share_consistent(stored, file)
    notes: tuple[str, ...] = ()
    if share < ENOUGH:
        notes = (f"{name}: consistent with {share:.1%} of the JPEG file's coefficients, not with all.",)
    return _contiguous(upright(stored, file.orientation)), notes


def _contiguous(pixels: Pixels) -> Pixels:
    """Those that lie in a file stay where they are."""
    return np.ascontiguousarray(pixels) if mapping(pixels) is None else pixels
