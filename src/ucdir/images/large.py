"""Large files and images: read where they are looked at, and kept in files instead of memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ucdir.images.atomic import refusal
from ucdir.images.pixels import Pixels
from ucdir.limits import (
    MAX_FILE_BYTES,
    MAX_IMAGE_PIXELS,
    MAX_IMAGE_SIDE,
    MAX_STREAMED_SIDE,
    STREAMED_PIXELS,
    max_streamed_file_bytes,
    max_streamed_pixels,
)
from ucdir.memory import is_turned, mapped_array, mapping

LARGE_FILE_BYTES: Final = 32 << 20
"""Files of more bytes are not read into memory, where an image may be kept in a file."""
JPEG_HEADER_BYTES: Final = 64 << 20
"""What is looked at of a large JPEG file for its segments."""
_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class Reading:
    """What is read.

    Args:
        pixels: largest width x height.
        side: longest side in pixels.
        file_bytes: largest file.
        any_proportion: whether a file may hold any number of pixels for each of its bytes.
        folder: where images of more than `STREAMED_PIXELS` are kept in a file; None: in memory.
        capped: whether who asks cannot choose the limits.
    """

    pixels: int
    side: int = MAX_IMAGE_SIDE
    file_bytes: int = MAX_FILE_BYTES
    any_proportion: bool = False
    folder: Path | None = None
    capped: bool = False

    def is_large_file(self, size_bytes: int) -> bool:
        """Whether a file is read where it is looked at."""
        return self.folder is not None and size_bytes > LARGE_FILE_BYTES

    def is_streamed(self, width: int, height: int) -> bool:
        """Whether an image is kept in a file if it can be decoded row by row."""
        return self.folder is not None and width * height > STREAMED_PIXELS


_reading: Final[ContextVar[Reading | None]] = ContextVar("reading", default=None)
_cap: Final[ContextVar[int | None]] = ContextVar("cap", default=None)


def reading() -> Reading:
    """What is read now."""
    return _reading.get() or Reading(MAX_IMAGE_PIXELS)


@contextmanager
def large_images(folder: Path, max_pixels: int | None = None) -> Iterator[None]:
    """Within it, images as large as `limits.py` allows are read, and large ones kept in files in a folder.

    Args:
        folder: any that can be written to; the files have no names.
        max_pixels: largest width x height, of a file of any size; None: the limits' own, in proportion to the file.
    """
    most, cap = max_streamed_pixels() if max_pixels is None else max_pixels, _cap.get()
    capped = cap is not None
    most = most if cap is None else min(most, cap)
    token = _reading.set(
        Reading(most, MAX_STREAMED_SIDE, max_streamed_file_bytes(), max_pixels is not None, folder, capped)
    )
    try:
        yield
    finally:
        _reading.reset(token)


@contextmanager
def at_most(pixels: int) -> Iterator[None]:
    """Within it, `large_images` allows no more pixels, as a server must, whose disk strangers would fill."""
    token = _cap.set(pixels)
    try:
        yield
    finally:
        _cap.reset(token)


def in_file(shape: tuple[int, ...], dtype: Any, folder: Path) -> NDArray[Any]:
    """As `mapped_array`, where images are kept.

    Raises:
        OutputError: there is no space for it.
    """
    try:
        return mapped_array(shape, dtype, folder)
    except OSError as error:
        raise refusal(error, folder) from error


def like(pixels: Pixels) -> Pixels:
    """An empty array of the shape and type of another, in a file if that lies in one, in the same order.

    Raises:
        OutputError: there is no space for it.
    """
    folder = reading().folder
    if folder is None or mapping(pixels) is None:
        return np.empty(pixels.shape, pixels.dtype)
    if is_turned(pixels):
        return like(pixels.swapaxes(0, 1)).swapaxes(0, 1)
    return in_file(pixels.shape, pixels.dtype, folder)


class FileBytes:
    """What is used of `bytes`, of a file that is open and not read into memory."""

    def __init__(self, descriptor: int, changes: tuple[tuple[int, bytes], ...] = ()) -> None:
        """The file is closed with this object; `changes` are read in place of what it holds there."""
        self.descriptor = descriptor
        self._changes = changes
        self._size = os.fstat(descriptor).st_size

    def __del__(self) -> None:
        """Close the file."""
        os.close(self.descriptor)

    def __len__(self) -> int:
        """Bytes of the file."""
        return self._size

    def __bytes__(self) -> bytes:
        """All of it."""
        return self[:]

    def __getitem__(self, part: slice) -> bytes:
        """Some of its bytes, read now; fewer if the file was cut off meanwhile."""
        first, stop, _ = part.indices(self._size)
        pieces, start = [], first
        while start < stop:
            piece = os.pread(self.descriptor, stop - start, start)
            if not piece:
                break
            pieces.append(piece)
            start += len(piece)
        found = b"".join(pieces)
        for at, new in self._changes:
            here, end = max(at, first), min(at + len(new), first + len(found))
            if here < end:
                found = found[: here - first] + new[here - at : end - at] + found[end - first :]
        return found

    def changed(self, start: int, new: bytes) -> FileBytes:
        """The same file with other bytes from `start` on; it is not written."""
        return FileBytes(os.dup(self.descriptor), (*self._changes, (start, new)))

    def __contains__(self, found: bytes) -> bool:
        """Whether it has some bytes; what is looked for is mostly at the end."""
        starts = range(0, self._size, _PIECE)
        return any(found in self[start : start + _PIECE + len(found) - 1] for start in reversed(starts))

    def startswith(self, start: bytes) -> bool:
        """As of bytes."""
        return self[: len(start)] == start

    def removeprefix(self, _: bytes) -> FileBytes:
        """As of bytes; what precedes EXIF in a JPEG file precedes no file."""
        return self

    def find(self, wanted: bytes, start: int = 0, stop: int | None = None) -> int:
        """As of bytes."""
        start, stop, _ = slice(start, stop).indices(self._size)
        for at in range(start, stop, _PIECE):
            found = self[at : min(at + _PIECE + len(wanted) - 1, stop)].find(wanted)
            if found >= 0:
                return at + found
        return -1
