"""Reads a photograph from a file that need not be trusted."""

import math
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ucdir.errors import ImageError, listed, reason
from ucdir.images.colour import ADOBE_RGB, UNKNOWN, refuse_hdr_profile
from ucdir.images.decode import DecodeError, check_memory, upright
from ucdir.images.density import Density
from ucdir.images.exif import clean_exif, orientation_of, says_adobe_rgb
from ucdir.images.icc import icc_channels
from ucdir.images.jpeg import estimate_quality, jpeg_header
from ucdir.images.jpeg_coefficients import jpeg_coefficients
from ucdir.images.large import JPEG_HEADER_BYTES, FileBytes, large_images, reading
from ucdir.images.paths import shown
from ucdir.images.photo import Metadata, Photo
from ucdir.images.pixels import Pixels
from ucdir.images.raw import RawSize, read_raw
from ucdir.images.readers import READERS, Contents
from ucdir.images.signatures import RawFile, kind_of
from ucdir.images.xmp import DEVELOPED, TURNED, scan_xmp
from ucdir.limits import MAX_FILE_BYTES, MAX_IMAGE_PIXELS, MAX_METADATA_BYTES
from ucdir.memory import mapping

_BEHIND = frozenset({"gain map", "motion video", "depth map", "further parts"})
"""Things that lie behind the image of a JPEG file."""


def read(  # noqa: PLR0912 (each error has a sentence of its own)
    source: Path | bytes,
    *,
    exposure_ratio: float | Literal["auto", "file"] = "auto",
    raw_size: RawSize = "half",
    outside: bool = False,
    coefficients: bool | int = False,
) -> Photo:
    """A photograph, upright, with 8 or 16 bits a sample as its file has them.

    CMYK becomes sRGB, palettes RGB, 1 to 4 bits a sample 8; of several frames or pages the first is
    read and a warning says so.

    Args:
        source: a file, taken literally, or the bytes of one; its content says what it is.
        exposure_ratio: of RAW files, see `read_raw`; others are left as bright as they are.
        raw_size: of RAW files, see `read_raw`.
        outside: of RAW files, whether light that sRGB cannot hold is kept, which a DNG can.
        coefficients: whether a JPEG file's quantised coefficients are read too; a number: from that quality on, and
            only if they can be.

    Raises:
        ImageError: it cannot be opened, is not a supported image, is damaged or cut off (rather than half
            of it being restored), or is larger than `limits.py` allows.
        OutputError: there is no space for the file that a large one is decoded into.
    """
    path = Path() if isinstance(source, bytes) else Path(source)
    name, kind = "the image" if isinstance(source, bytes) else shown(path), "RAW"
    try:
        data: Any = source if isinstance(source, bytes) else _bytes_of(path)
        if not data:
            raise ImageError("is empty; get a complete copy of it.")
        try:
            kind = kind_of(data, path.suffix.lower())
            if isinstance(data, FileBytes) and kind not in ("JPEG", "PNG", "TIFF"):
                data = _in_memory(data)
            elif isinstance(data, bytes):
                check_memory(len(data))
            contents = READERS[kind](data)
        except RawFile:
            photo = read_raw(_in_memory(data), exposure_ratio, raw_size, outside=outside)
            height, width = photo.pixels.shape[:2]
            metadata, _, warnings = _kept(name, photo.metadata, (), width, height, raw=True)
            said = [f"{name}: {text}" for text in photo.warnings]
            return replace(photo, metadata=metadata, warnings=(*said, *warnings))
        orientation = _orientation(contents)
        photo = _assemble(name, kind, contents, orientation)
        if kind == "JPEG" and (coefficients is True or 0 < coefficients <= (photo.jpeg_quality or 0)):
            if math.prod(photo.pixels.shape[:2]) > MAX_IMAGE_PIXELS:
                what = (
                    f"has more than {MAX_IMAGE_PIXELS:,} pixels, too many to be made consistent with its file"
                )
                if coefficients is True:
                    raise ImageError(f"{what}; leave out --consistent.")
                return replace(photo, warnings=(*photo.warnings, f"{name}: {what}."))
            try:
                photo = replace(photo, jpeg_coefficients=jpeg_coefficients(bytes(data), orientation))
            except (DecodeError, ImageError):
                if coefficients is True:
                    raise
        return photo
    except ImageError as error:
        raise ImageError(f"{name} {error}") from error
    except MemoryError as error:
        raise ImageError(
            f"{name} does not fit into the memory; close other programs, or save it smaller."
        ) from error
    except OSError as error:
        raise ImageError(
            f"{name} cannot be read ({error.strerror or error}); get another copy of it."
        ) from error
    except (DecodeError, ValueError) as error:
        raise ImageError(
            f"{name} is a damaged or incomplete {kind} file ({reason(error)}); get a complete copy of it or save it "
            "anew."
        ) from error


def _in_memory(data: bytes | FileBytes) -> bytes:
    """The contents of a file of a kind that cannot be decoded row by row."""
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(_too_long(len(data), MAX_FILE_BYTES))
    check_memory(len(data))
    return bytes(data)


def _too_long(size: int, most: int) -> str:
    return f"is {size:,} bytes long, more than the {most:,} that ucdir opens; save it smaller."


def _bytes_of(path: Path) -> bytes | FileBytes:
    try:
        # Without O_NONBLOCK a named pipe would be waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            status, most = os.fstat(file.fileno()), reading().file_bytes
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("is a device or pipe; name an ordinary file.")
            if status.st_size > most:
                raise ImageError(_too_long(status.st_size, most))
            if reading().is_large_file(status.st_size):
                return FileBytes(os.dup(file.fileno()))
            data = file.read(status.st_size)  # reading as many as are allowed would ask for that much memory
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        link = "is a link that points nowhere; mend or remove it." if os.path.islink(path) else None  # noqa: PTH114
        known: dict[type[Exception], str] = {
            FileNotFoundError: link or "does not exist; check the name.",
            IsADirectoryError: "is a folder; name an image file in it.",
            PermissionError: "may not be read; change its permissions.",
        }
        raise ImageError(known.get(type(error), f"cannot be opened ({text}); check the name.")) from error
    return data


def _orientation(contents: Contents) -> int:
    """1..8, how the samples are to be turned: by the format itself, else EXIF, else XMP."""
    exif, xmp = contents.metadata.exif, contents.metadata.xmp
    found = contents.orientation or (orientation_of(exif) if exif else None)
    if found is None and xmp and len(xmp) <= MAX_METADATA_BYTES and (scan := scan_xmp(xmp)) is not None:
        found = scan.orientation
    return found or 1


def _assemble(name: str, kind: str, contents: Contents, orientation: int) -> Photo:
    """Turn pixels upright and add what is kept beside them; what is left out gets a warning."""
    samples = upright(contents.samples, orientation)
    height, width, channels = samples.shape
    colours = channels if channels in (1, 3) else channels - 1
    metadata, gone, warnings = _kept(name, contents.metadata, contents.left_out, width, height, orientation)
    frames = contents.frames - (kind == "JPEG" and "gain map" in gone)  # which is stored as a picture, too
    if frames > 1:
        part = {"TIFF": "page", "JPEG": "picture"}.get(kind, "frame")
        warnings.append(f"{name}: has {frames} {part}s; only the first is restored.")
    if contents.bytes_behind and frames <= 1 and _BEHIND.isdisjoint(gone):  # else they are said already
        warnings.append(
            f"{name}: the {contents.bytes_behind:,} bytes behind its image, perhaps a video or another picture, are "
            "left out."
        )
    if contents.converted:
        by = "by a usual profile, as it has none" if metadata.icc is None else "by its own profile"
        metadata = replace(metadata, icc=None)
        warnings.append(f"{name}: its CMYK colours were converted to sRGB {by}.")
    elif metadata.icc is not None and icc_channels(metadata.icc) != colours:
        metadata = replace(metadata, icc=None)
        warnings.append(f"{name}: its colour profile does not fit its pixels and is left out.")
    elif not contents.metadata.icc:
        exif, colour = contents.metadata.exif, contents.colour
        if colour is None and exif and says_adobe_rgb(exif):
            colour = ADOBE_RGB
        if colour is UNKNOWN:
            warnings.append(f"{name}: its colour space is of a kind that is not known; it is taken as sRGB.")
        metadata = replace(metadata, icc=None if colour is None else colour.profile(colours))
    refuse_hdr_profile(metadata.icc)
    return Photo(
        pixels=_own(samples[:, :, :colours]),
        alpha=None if colours == channels else _own(samples[:, :, colours]),
        jpeg_quality=contents.jpeg_quality,
        metadata=metadata,
        warnings=tuple(warnings),
        format=kind,
    )


def _own(samples: Pixels) -> Pixels:
    """Contiguous samples; those that lie in a file stay where they are."""
    return np.ascontiguousarray(samples) if mapping(samples) is None else samples


def _kept(
    name: str,
    found: Metadata,
    left_out: tuple[str, ...],
    width: int,
    height: int,
    orientation: int = 1,
    *,
    raw: bool = False,
) -> tuple[Metadata, list[str], list[str]]:
    """Metadata as they hold of the upright image of a size, what else the file holds, and what is to be said."""
    warnings = []
    blocks = {key: block for key in ("exif", "icc", "xmp", "iptc") if (block := getattr(found, key))}
    kept = {key: block for key, block in blocks.items() if len(block) <= MAX_METADATA_BYTES}
    texts = found.texts if sum(len(text) for _, text in found.texts) <= MAX_METADATA_BYTES else ()
    if len(kept) < len(blocks) or texts != found.texts:
        warnings.append(f"{name}: metadata of more than {MAX_METADATA_BYTES >> 20} MiB are left out.")
    exif, xmp, density, quarter = kept.get("exif"), kept.get("xmp"), found.density, orientation >= 5
    if density is not None and quarter:
        density = density.turned
    if exif is not None and (exif := clean_exif(exif, width, height, orientation)) is None:
        warnings.append(f"{name}: its EXIF data are damaged and are left out.")
    if density is None and exif is not None:
        density = Density.of_exif(exif)
    stale = DEVELOPED if raw else TURNED if orientation != 1 else {}
    scan = None if xmp is None else scan_xmp(xmp, width, height, stale)
    if xmp is not None and scan is None:
        warnings.append(f"{name}: its XMP data are damaged and are left out.")
    gone = [*dict.fromkeys((*left_out, *(() if scan is None else scan.gone)))]
    if gone:
        one = len(gone) == 1 and not gone[0].endswith("s")
        warnings.append(f"{name}: its {listed(gone)} {'is' if one else 'are'} left out.")
    metadata = Metadata(exif, kept.get("icc"), scan and scan.cleaned, kept.get("iptc"), density, texts)
    return metadata, gone, warnings


def file_bytes(path: Path) -> bytes:
    """The contents of a file.

    Raises:
        ImageError: it cannot be read, is no file, or is larger than `limits.py` allows.
    """
    try:
        return bytes(_bytes_of(path))
    except ImageError as error:
        raise ImageError(f"{shown(path)} {error}") from error


def identify(path: Path) -> tuple[str, int | None]:
    """What a file is, such as `"JPEG"` or `"RAW"`, and a JPEG file's quality, without decoding it.

    Raises:
        ImageError: it cannot be opened, or is no supported image; damage further on is not found.
    """
    try:
        with large_images(Path(path).parent):  # of any size, as only its header is looked at
            data = _bytes_of(Path(path))[:JPEG_HEADER_BYTES]
        if not data:
            raise ImageError("is empty; get a complete copy of it.")
        kind = kind_of(data, path.suffix.lower())
        return kind, estimate_quality(jpeg_header(data)) if kind == "JPEG" else None
    except RawFile:
        return "RAW", None
    except ImageError as error:
        raise ImageError(f"{shown(path)} {error}") from error
    except (DecodeError, ValueError) as error:
        raise ImageError(f"{shown(path)} is damaged ({reason(error)}); get a complete copy of it.") from error
