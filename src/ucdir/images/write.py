"""Writes a photograph: the suffix chooses the format, and the file appears whole or not at all."""

import functools
import io
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ucdir.errors import OutputError, reason
from ucdir.images.decode import PILLOW_ERRORS, vips
from ucdir.images.paths import atomic_write, check_path, shown
from ucdir.images.photo import Metadata, Photo
from ucdir.images.pixels import to_uint8
from ucdir.images.tiff import encode_tiff

Pieces = Sequence[bytes | memoryview]
"""A file in pieces, to be written one after the other."""


class EncodeError(Exception):
    """An encoder gave up; its text is the encoder's."""


def encode_png(photo: Photo) -> Pieces:
    """PNG of 8 or 16 bits, every row with the filter that suits it; 12 megapixels take 2 to 5 seconds."""
    height, width, channels = photo.pixels.shape
    kind = "ushort" if photo.pixels.dtype == np.uint16 else "uchar"
    interpretation = {"uchar": ("b-w", "srgb"), "ushort": ("grey16", "rgb16")}[kind][not photo.is_grey]
    new = vips().Image.new_from_memory
    try:
        image = new(np.ascontiguousarray(photo.pixels).data, width, height, channels, kind)
        image = image.copy(interpretation=interpretation)
        if photo.alpha is not None:
            image = image.bandjoin(new(np.ascontiguousarray(photo.alpha).data, width, height, 1, kind))
        data = image.pngsave_buffer(compression=6, filter="all", keep="none")
    except vips().Error as error:
        raise EncodeError(str(error)) from error
    return _png_with_metadata(data, photo.metadata)


def _png_with_metadata(data: bytes, kept: Metadata) -> list[bytes | memoryview]:
    """A PNG file in pieces, with the chunks iCCP, eXIf and iTXt (XMP) behind its header chunk."""
    chunks = {
        b"iCCP": kept.icc and b"icc\0\0" + zlib.compress(kept.icc),
        b"eXIf": kept.exif,
        b"iTXt": kept.xmp and b"XML:com.adobe.xmp\0\0\0\0\0" + kept.xmp,
    }
    added = [_chunk(name, body) for name, body in chunks.items() if body is not None]
    return [data[:33], *added, memoryview(data)[33:]]


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def encode_with_pillow(photo: Photo, *, format: str, **settings: Any) -> Pieces:
    """A file of 8 bits a sample, by Pillow's encoder of a format."""
    from PIL import Image

    kept = photo.metadata
    exif = b"Exif\0\0" + kept.exif if kept.exif is not None and format == "JPEG" else kept.exif
    blocks = {"exif": exif, "icc_profile": kept.icc, "xmp": kept.xmp}
    if format == "AVIF":
        settings["subsampling"] = "4:0:0" if photo.is_grey else "4:4:4"
    file = io.BytesIO()
    try:
        image = Image.fromarray(to_uint8(photo.pixels[:, :, 0] if photo.is_grey else photo.pixels))
        if photo.alpha is not None:
            image.putalpha(Image.fromarray(to_uint8(photo.alpha)))
        image.save(file, format, **settings, **{name: block for name, block in blocks.items() if block})
    except PILLOW_ERRORS as error:
        raise EncodeError(str(error)) from error
    return [file.getbuffer()]


@dataclass(frozen=True, slots=True)
class Format:
    """What a format that is written can hold.

    Args:
        name: for messages.
        encode: the encoder.
        alpha: whether it holds transparency.
        side: longest side in pixels.
        exif: longest EXIF block in bytes.
        xmp: longest XMP block in bytes.
        icc: numbers of channels for which it holds a colour profile.
        lossless: whether 8 bits a sample come back as they were.
    """

    name: str
    encode: Callable[[Photo], Pieces]
    alpha: bool = True
    side: int = 65_535
    exif: int = 1 << 30
    xmp: int = 1 << 30
    icc: tuple[int, ...] = (1, 3)
    lossless: bool = False

    def without_excess(self, photo: Photo) -> tuple[Photo, list[str]]:
        """The photograph without the metadata that the format cannot hold, and the names of those."""
        kept, channels = photo.metadata, photo.pixels.shape[2]
        fits = {
            "exif": len(kept.exif or b"") <= self.exif,
            "xmp": len(kept.xmp or b"") <= self.xmp,
            "icc": kept.icc is None or channels in self.icc,
        }
        dropped = [name for name, fit in fits.items() if not fit]
        names = {"exif": "EXIF", "xmp": "XMP", "icc": "colour profile"}
        return replace(photo, metadata=replace(kept, **dict.fromkeys(dropped))), [
            names[name] for name in dropped
        ]


def _pillow(format: str, **settings: Any) -> Callable[[Photo], Pieces]:
    return functools.partial(encode_with_pillow, format=format, **settings)


_JPEG: Final = Format(
    *("JPEG", _pillow("JPEG", quality=95, subsampling="4:4:4")),
    alpha=False, side=65_500, exif=65_527, xmp=65_504,
)  # fmt: skip
_TIFF: Final = Format("TIFF", encode_tiff, lossless=True)

FORMATS: Final[Mapping[str, Format]] = {
    ".avif": Format("AVIF", _pillow("AVIF", quality=90, speed=8)),
    ".bmp": Format("BMP", _pillow("BMP"), alpha=False, exif=0, xmp=0, icc=(), lossless=True),
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".png": Format("PNG", encode_png, lossless=True),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": Format("WebP", _pillow("WEBP", quality=95, method=4, exact=True), side=16_383, icc=(3,)),
}
"""The formats that are written, by suffix."""

WRITABLE_SUFFIXES: Final = tuple(FORMATS)
"""In lower case; upper case is the same."""


def is_lossless(format: str) -> bool:
    """Whether a format, by name or suffix, gives 8 bits a sample back as they were."""
    found = FORMATS.get(f".{format.lower().removeprefix('.')}")
    return found is not None and found.lossless


def check_writable(path: Path, *, force: bool = False, photo: Photo | None = None) -> None:
    """Refuse at once what `write` would refuse after hours of work.

    Args:
        path: the file to be written.
        force: whether a file that exists may be replaced.
        photo: if given, whether the format holds its size and transparency is checked too.

    Raises:
        OutputError: as `write`, except for a disk that is full by then.
    """
    _format(Path(path), photo)
    check_path(Path(path), force=force)


def write(photo: Photo, path: Path, *, force: bool = False) -> tuple[str, ...]:
    """Write a photograph with its EXIF (orientation 1), colour profile, XMP and transparency.

    PNG and TIFF keep 16 bits; the other formats get values rounded to 8. JPEG is of quality 95 and 4:4:4.

    Args:
        photo: the photograph.
        path: the file, taken literally; its suffix is one of `WRITABLE_SUFFIXES`.
        force: whether a file that exists is replaced.

    Returns:
        One sentence for each piece of metadata that the format cannot hold.

    Raises:
        OutputError: the suffix is unknown, the format cannot hold the size or transparency, the file exists
            (without `force`), or it cannot be written. Then nothing is left behind.
    """
    path = Path(path)
    chosen = _format(path, photo)
    check_path(path, force=force)
    pieces, dropped = _encoded(photo, chosen, path)
    atomic_write(pieces, path, force=force)
    return dropped


def encode_photo(photo: Photo, format: str) -> tuple[Pieces, tuple[str, ...]]:
    """The file that `write` would write, in pieces, and the same sentences.

    Args:
        photo: the photograph.
        format: by name or suffix, such as "png"; GIF, RAW and "", which cannot be written, become PNG.

    Raises:
        OutputError: as `write`.
    """
    suffix = f".{format.lower().removeprefix('.')}"
    path = Path("the image" + (".png" if suffix in (".gif", ".raw", ".") else suffix))
    return _encoded(photo, _format(path, photo), path)


def _encoded(photo: Photo, chosen: Format, path: Path) -> tuple[Pieces, tuple[str, ...]]:
    photo, dropped = chosen.without_excess(photo)
    try:
        try:
            pieces = chosen.encode(photo)
        except EncodeError:
            # Pillow parses the EXIF of some formats and stumbles over what cameras wrote into it.
            if photo.metadata.exif is None:
                raise
            pieces = chosen.encode(replace(photo, metadata=replace(photo.metadata, exif=None)))
            dropped.append("EXIF")
    except EncodeError as error:
        raise OutputError(
            f"{shown(path)} cannot be encoded as {chosen.name} ({reason(error)}); choose another "
            "format, such as PNG."
        ) from error
    return pieces, tuple(
        f"{shown(path)}: {chosen.name} cannot hold the photograph's {name}." for name in dropped
    )


def _format(path: Path, photo: Photo | None) -> Format:
    """The format of a suffix; refused if it is unknown or cannot hold a photograph's size or transparency."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise OutputError(
            f"{shown(path)} has the unknown suffix {path.suffix!r}; choose one of {', '.join(WRITABLE_SUFFIXES)}."
        )
    if photo is not None and photo.alpha is not None and not found.alpha:
        names = ", ".join(suffix for suffix, other in FORMATS.items() if other.alpha)
        raise OutputError(
            f"{shown(path)} cannot hold the photograph's transparency as {found.name}; choose one of {names}."
        )
    if photo is not None and max(photo.pixels.shape) > found.side:
        height, width = photo.pixels.shape[:2]
        raise OutputError(
            f"{shown(path)} cannot hold {width} x {height} pixels as {found.name}, which ends at {found.side:,} a "
            "side; choose .png or .tif."
        )
    return found
