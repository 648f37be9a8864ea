"""Reads a photograph from a file that need not be trusted."""

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ucdir.errors import ImageError, reason
from ucdir.images.decode import DecodeError, check_memory, upright
from ucdir.images.exif import clean_exif, clean_xmp, icc_channels
from ucdir.images.jpeg_coefficients import jpeg_coefficients
from ucdir.images.paths import shown
from ucdir.images.photo import Metadata, Photo
from ucdir.images.raw import read_raw
from ucdir.images.readers import READERS, Contents
from ucdir.images.signatures import RawFile, kind_of
from ucdir.limits import MAX_FILE_BYTES, MAX_METADATA_BYTES


def read(
    source: Path | bytes,
    *,
    exposure_ratio: float | Literal["auto", "file"] = "auto",
    coefficients: bool = False,
) -> Photo:
    """A photograph, upright, with 8 or 16 bits a sample as its file has them.

    CMYK becomes sRGB, palettes RGB, 1 to 4 bits a sample 8; of several frames or pages the first is
    read and a warning says so.

    Args:
        source: a file, taken literally, or the bytes of one; its content says what it is.
        exposure_ratio: of RAW files, see `read_raw`; others are left as bright as they are.
        coefficients: whether a JPEG file's quantised coefficients are read too.

    Raises:
        ImageError: it cannot be opened, is not a supported image, is damaged or cut off (rather than half
            of it being restored), or is larger than `limits.py` allows.
    """
    path = Path() if isinstance(source, bytes) else Path(source)
    name, kind = "the image" if isinstance(source, bytes) else shown(path), "RAW"
    try:
        data = source if isinstance(source, bytes) else _bytes_of(path)
        if not data:
            raise ImageError("is empty; get a complete copy of it.")
        check_memory(len(data))
        try:
            kind = kind_of(data, path.suffix.lower())
            contents = READERS[kind](data)
        except RawFile:
            return read_raw(data, exposure_ratio)
        photo = _assemble(name, kind, contents)
        if coefficients and kind == "JPEG":
            photo = replace(photo, jpeg_coefficients=jpeg_coefficients(data, contents.orientation))
        return photo
    except ImageError as error:
        raise ImageError(f"{name} {error}") from error
    except MemoryError as error:
        raise ImageError(
            f"{name} does not fit into the memory; close other programs, or save it smaller."
        ) from error
    except (DecodeError, ValueError) as error:
        raise ImageError(
            f"{name} is a damaged or incomplete {kind} file ({reason(error)}); get a complete copy of it or save it "
            "anew."
        ) from error


def _bytes_of(path: Path) -> bytes:
    try:
        # Without O_NONBLOCK a named pipe would be waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("is a device or pipe; name an ordinary file.")
            if status.st_size > MAX_FILE_BYTES:
                raise ImageError(
                    f"is {status.st_size:,} bytes long, more than the {MAX_FILE_BYTES:,} that ucdir opens; save it "
                    "smaller."
                )
            data = file.read(status.st_size)  # reading MAX_FILE_BYTES would ask for that much memory
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        known: dict[type[Exception], str] = {
            FileNotFoundError: "does not exist; check the name.",
            IsADirectoryError: "is a folder; name an image file in it.",
            PermissionError: "may not be read; change its permissions.",
        }
        raise ImageError(known.get(type(error), f"cannot be opened ({text}); check the name.")) from error
    return data


def _assemble(name: str, kind: str, contents: Contents) -> Photo:
    """Turn pixels upright and add what is kept beside them; what is left out gets a warning."""
    warnings, found = [], contents.metadata
    samples = upright(contents.samples, contents.orientation)
    colours = samples.shape[2] if samples.shape[2] in (1, 3) else samples.shape[2] - 1
    if contents.frames > 1:
        part = "page" if kind == "TIFF" else "frame"
        warnings.append(f"{name}: has {contents.frames} {part}s; only the first is restored.")
    exif, icc, xmp = (
        block if block and len(block) <= MAX_METADATA_BYTES else None
        for block in (found.exif, found.icc, found.xmp)
    )
    if (exif, icc, xmp) != (found.exif or None, found.icc or None, found.xmp or None):
        warnings.append(f"{name}: metadata of more than {MAX_METADATA_BYTES >> 20} MiB are left out.")
    if exif is not None and (exif := clean_exif(exif)) is None:
        warnings.append(f"{name}: its EXIF data are damaged and are left out.")
    if contents.converted:
        icc = None
        warnings.append(f"{name}: its CMYK colours were converted to sRGB.")
    elif icc is not None and icc_channels(icc) != colours:
        icc = None
        warnings.append(f"{name}: its colour profile does not fit its pixels and is left out.")
    return Photo(
        pixels=np.ascontiguousarray(samples[:, :, :colours]),
        alpha=None if colours == samples.shape[2] else np.ascontiguousarray(samples[:, :, colours]),
        jpeg_quality=contents.jpeg_quality,
        metadata=Metadata(exif, icc, None if xmp is None else clean_xmp(xmp)),
        warnings=tuple(warnings),
        format=kind,
    )
