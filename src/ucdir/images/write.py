"""Writes a photograph: the suffix chooses the format, and the file appears whole or not at all."""

import functools
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ucdir.errors import OutputError, listed, reason
from ucdir.images.atomic import atomic_write, check_path
from ucdir.images.decode import PILLOW_ERRORS, vips
from ucdir.images.density import Density
from ucdir.images.dng import MAX_PIXELS, encode_dng
from ucdir.images.exif import byte_order, exif_with, without_orientation
from ucdir.images.iptc import iptc_segment, xmp_with_iptc
from ucdir.images.paths import shown
from ucdir.images.photo import Metadata, Photo
from ucdir.images.pixels import to_uint8
from ucdir.images.png import png_chunk, text_chunk
from ucdir.images.srgb import as_srgb, own_space
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
    return png_with_metadata(data, photo.metadata)


def png_with_metadata(data: bytes, kept: Metadata) -> list[bytes | memoryview]:
    """A PNG file in pieces, with chunks for metadata behind its header, without the density that libvips makes up."""
    chunks = {
        b"iCCP": kept.icc and b"icc\0\0" + zlib.compress(kept.icc),
        b"pHYs": kept.density and kept.density.phys(),
        b"eXIf": kept.exif,
        b"iTXt": kept.xmp and b"XML:com.adobe.xmp\0\0\0\0\0" + kept.xmp,
    }
    added = [png_chunk(name, body) for name, body in chunks.items() if body is not None]
    added += [text_chunk(keyword, text) for keyword, text in kept.texts]
    invented = data.find(b"\0\0\0\x09pHYs", 0, data.find(b"IDAT"))
    end = len(data) if invented < 0 else invented
    return [data[:33], *added, memoryview(data)[33:end], memoryview(data)[end + 21 :]]


def encode_with_pillow(photo: Photo, *, format: str, **settings: Any) -> Pieces:
    """A file of 8 bits a sample, by Pillow's encoder of a format."""
    from PIL import Image

    kept = photo.metadata
    blocks = {"exif": kept.exif, "icc_profile": kept.icc, "xmp": kept.xmp}
    if format == "JPEG":
        blocks["exif"] = kept.exif and b"Exif\0\0" + kept.exif
        blocks["extra"] = b"".join(_jpeg_segments(kept))
    if format == "AVIF":
        if kept.exif is not None:
            # Pillow makes EXIF with an orientation anew: text loses accents, maker notes move
            blocks["exif"] = without_orientation(kept.exif)
        settings["subsampling"] = "4:0:0" if photo.is_grey else "4:4:4"
    file = io.BytesIO()
    try:
        image = Image.fromarray(to_uint8(photo.pixels[:, :, 0] if photo.is_grey else photo.pixels))
        if photo.alpha is not None:
            image.putalpha(Image.fromarray(to_uint8(photo.alpha)))
        with warnings.catch_warnings(action="ignore"):  # of what cameras write into EXIF
            image.save(file, format, **settings, **{name: block for name, block in blocks.items() if block})
    except PILLOW_ERRORS as error:
        raise EncodeError(str(error)) from error
    data = file.getbuffer()
    if format == "JPEG" and kept.density is not None:
        data[13:18] = kept.density.jfif()
    if format == "BMP":  # Pillow makes 96 per inch up
        data[38:46] = bytes(8) if kept.density is None else kept.density.bmp()
    return [data]


def _jpeg_segments(kept: Metadata) -> Iterator[bytes]:
    """Segments of IPTC and comments."""
    bodies = [(0xFE, body) for body in map(_comment, kept.texts)]
    if kept.iptc is not None:
        bodies = [(0xED, iptc_segment(kept.iptc)), *bodies]
    for marker, body in bodies:
        yield struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _comment(text: tuple[str, str]) -> bytes:
    """A text as JPEG's comment, which has no keyword."""
    keyword, words = text
    return (words if keyword == "Comment" else f"{keyword}: {words}").encode("utf-8", "replace")


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
        iptc: longest IPTC records in bytes; where there is no place for them they become XMP.
        density: for which values of `Density.absolute` it has a place; for others there is EXIF.
        text: longest comment in bytes.
        lossless: whether 8 bits a sample come back as they were.
        camera: whether it is for the light of a camera, which only RAW files have.
    """

    name: str
    encode: Callable[[Photo], Pieces]
    alpha: bool = True
    side: int = 65_535
    exif: int = 1 << 30
    xmp: int = 1 << 30
    icc: tuple[int, ...] = (1, 3)
    iptc: int = 0
    density: tuple[bool, ...] = (True, False)
    text: int = 0
    lossless: bool = False
    camera: bool = False

    def holding(self, photo: Photo) -> tuple[Photo, list[str]]:
        """The photograph with its metadata as the format can hold them, and the names of those that it cannot."""
        kept, dropped = photo.metadata, []
        if kept.iptc is not None and not self.iptc:
            xmp, complete = xmp_with_iptc(kept.xmp, kept.iptc) if self.xmp else (kept.xmp, False)
            kept = replace(kept, xmp=xmp, iptc=None)
            dropped += [] if complete else ["rarer IPTC fields" if self.xmp else "IPTC"]
        density = kept.density
        if density is not None and density.absolute not in self.density:
            if not self.exif:
                kept = replace(kept, density=None)
                dropped.append("density")
            elif Density.of_exif(kept.exif or b"") != density:
                kept = replace(kept, exif=exif_with(kept.exif, density.tags(byte_order(kept.exif))))
        fits = {
            "exif": (len(kept.exif or b"") <= self.exif, "EXIF"),
            "xmp": (len(kept.xmp or b"") <= self.xmp, "XMP"),
            "iptc": (len(kept.iptc or b"") <= self.iptc, "IPTC"),
            "icc": (kept.icc is None or photo.pixels.shape[2] in self.icc, "colour profile"),
        }
        if not fits["icc"][0] and own_space(photo) is not None:
            photo = as_srgb(photo)
            fits["icc"] = False, "colour profile (its colours become sRGB's)"
        nothing: dict[str, Any] = dict.fromkeys(name for name, (fit, _) in fits.items() if not fit)
        kept = replace(kept, **nothing)
        dropped += [shown for fit, shown in fits.values() if not fit]
        texts = tuple(text for text in kept.texts if len(_comment(text)) <= self.text)
        if texts != kept.texts:
            dropped.append("comments")
        return replace(photo, metadata=replace(kept, texts=texts)), dropped


def _pillow(format: str, **settings: Any) -> Callable[[Photo], Pieces]:
    return functools.partial(encode_with_pillow, format=format, **settings)


_JPEG: Final = Format(
    *("JPEG", _pillow("JPEG", quality=95, subsampling="4:4:4")),
    alpha=False, side=65_500, exif=65_527, xmp=65_504, iptc=65_506, text=65_533,
)  # fmt: skip
MAX_BMP_SAMPLES: Final = 4_294_000_000
"""Its sizes are numbers of 32 bits."""
_TIFF: Final = Format("TIFF", encode_tiff, iptc=1 << 30, lossless=True)

FORMATS: Final[Mapping[str, Format]] = {
    ".avif": Format("AVIF", _pillow("AVIF", quality=90, speed=8), density=()),
    ".bmp": Format(
        *("BMP", _pillow("BMP")), alpha=False, exif=0, xmp=0, icc=(), density=(True,), lossless=True
    ),
    ".dng": Format("DNG", encode_dng, alpha=False, icc=(), iptc=1 << 30, camera=True),
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".png": Format("PNG", encode_png, text=1 << 30, lossless=True),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": Format(
        *("WebP", _pillow("WEBP", quality=95, method=4, exact=True)), side=16_383, icc=(3,), density=()
    ),
}
"""The formats that are written, by suffix."""


def _refuse(_: Photo) -> Pieces:
    raise EncodeError("it is a folder of tiles beside a file, which only a path names")


DEEP_ZOOM: Final = ".dzi"
FOLDERS: Final[Mapping[str, Format]] = {DEEP_ZOOM: Format("DeepZoom", _refuse, exif=0, xmp=0, density=())}
"""Formats of more than one file, which `write_large` writes."""

WRITABLE_SUFFIXES: Final = tuple(FORMATS)
"""In lower case; upper case is the same."""


def is_format(format: str, kind: str) -> bool:
    """Whether a format, by name or suffix, is that of this name, such as "JPEG"."""
    found = FORMATS.get(f".{format.lower().removeprefix('.')}")
    return found is not None and found.name == kind


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
    format_of(Path(path), photo)
    check_path(Path(path), force=force)


def write(photo: Photo, path: Path, *, force: bool = False, times_of: Path | None = None) -> tuple[str, ...]:
    """Write a photograph with its transparency, and of its metadata what the format can hold: see docs/files.md.

    PNG and TIFF keep 16 bits; the other formats get values rounded to 8. JPEG is of quality 95 and 4:4:4. DNG holds the
    camera's own light, see `dng.py`.

    Args:
        photo: the photograph.
        path: the file, taken literally; its suffix is one of `WRITABLE_SUFFIXES`.
        force: whether a file that exists is replaced.
        times_of: a file whose times of access and change the new one gets.

    Returns:
        a sentence on metadata that the format cannot hold, if there are such.

    Raises:
        OutputError: the suffix is unknown, the format cannot hold the size or transparency, the file exists
            (without `force`), or it cannot be written. Then nothing is left behind.
    """
    path = Path(path)
    chosen = format_of(path, photo)
    check_path(path, force=force)
    pieces, dropped = _encoded(photo, chosen, path)
    atomic_write(pieces, path, force=force, times_of=times_of)
    return dropped


def encode_photo(photo: Photo, format: str) -> tuple[Pieces, tuple[str, ...]]:
    """The file that `write` would write, in pieces, and the same sentences.

    Args:
        photo: the photograph.
        format: by name or suffix, such as "png"; GIF, RAW, HEIC, JPEG XL and "" become PNG.

    Raises:
        OutputError: as `write`.
    """
    path = _name_for(format)
    return _encoded(photo, format_of(path, photo), path)


def check_encodable(photo: Photo, format: str) -> None:
    """Refuse at once what `encode_photo` would refuse after hours of work.

    Raises:
        OutputError: as `write`.
    """
    format_of(_name_for(format), photo)


def _name_for(format: str) -> Path:
    suffix = f".{format.lower().removeprefix('.')}"
    return Path("the image" + (".png" if suffix in (".gif", ".raw", ".heic", ".jpeg xl", ".") else suffix))


def _encoded(photo: Photo, chosen: Format, path: Path) -> tuple[Pieces, tuple[str, ...]]:
    photo, dropped = chosen.holding(photo)
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
        raise cannot_be_encoded(path, chosen, error) from error
    return pieces, said_of(dropped, chosen, path)


def cannot_be_encoded(path: Path, chosen: Format, error: Exception) -> OutputError:
    """What is said where an encoder gave up."""
    return OutputError(
        f"{shown(path)} cannot be encoded as {chosen.name} ({reason(error)}); choose another format, such as PNG."
    )


def said_of(dropped: Sequence[str], chosen: Format, path: Path) -> tuple[str, ...]:
    """A sentence on metadata that a format cannot hold, if there are such."""
    return (
        (f"{shown(path)}: {chosen.name} cannot hold the photograph's {listed(dropped)}.",) if dropped else ()
    )


def format_of(path: Path, photo: Photo | None) -> Format:
    """The format of a suffix; refused if it is unknown or cannot hold a photograph's size or transparency."""
    found = FORMATS.get(path.suffix.lower()) or FOLDERS.get(path.suffix.lower())
    if found is None:
        raise OutputError(
            f"{shown(path)} has the unknown suffix {path.suffix!r}; choose one of {', '.join(WRITABLE_SUFFIXES)}."
        )
    if photo is not None and photo.alpha is not None and not found.alpha:
        names = ", ".join(suffix for suffix, other in FORMATS.items() if other.alpha)
        raise OutputError(
            f"{shown(path)} cannot hold the photograph's transparency as {found.name}; choose one of {names}."
        )
    if photo is not None and found.camera and photo.camera is None:
        raise OutputError(
            f"{shown(path)} cannot hold the photograph: a DNG is for the light of a camera's sensor, and this is no "
            "RAW file; choose .png or .tif."
        )
    if photo is not None and (
        max(photo.pixels.shape) > found.side
        or (found.camera and photo.pixels[..., 0].size > MAX_PIXELS)
        or (found.name == "BMP" and photo.pixels.size > MAX_BMP_SAMPLES)
    ):
        height, width = photo.pixels.shape[:2]
        limit = "4 GiB" if max(height, width) <= found.side else f"{found.side:,} a side"
        raise OutputError(
            f"{shown(path)} cannot hold {width} x {height} pixels as {found.name}, which ends at {limit}; "
            "choose .png or .tif."
        )
    return found
