"""A photograph -> the bytes of a file, in the format that a suffix names."""

import io
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from ucdir.images.decode import vips
from ucdir.images.photo import Metadata, Photo
from ucdir.images.pixels import to_uint8
from ucdir.images.png import with_metadata
from ucdir.images.tiff_file import tiff_pieces

Pieces = Sequence[bytes | memoryview]
"""A file in pieces, to be written one after the other."""

JPEG_QUALITY: Final = 95
WEBP_QUALITY: Final = 95
AVIF_QUALITY: Final = 90


class EncodeError(Exception):
    """An encoder gave up; its text is the encoder's."""


def encode_png(photo: Photo) -> Pieces:
    """PNG of 8 or 16 bits, every row with the filter that suits it; 12 megapixels take 2 to 5 seconds."""
    height, width, channels = photo.pixels.shape
    kind = "ushort" if photo.pixels.dtype == np.uint16 else "uchar"
    interpretation = {
        (1, "uchar"): "b-w",
        (1, "ushort"): "grey16",
        (3, "uchar"): "srgb",
        (3, "ushort"): "rgb16",
    }
    new = vips().Image.new_from_memory
    try:
        image = new(np.ascontiguousarray(photo.pixels).data, width, height, channels, kind)
        image = image.copy(interpretation=interpretation[channels, kind])
        if photo.alpha is not None:
            image = image.bandjoin(new(np.ascontiguousarray(photo.alpha).data, width, height, 1, kind))
        data = image.pngsave_buffer(compression=6, filter="all", keep="none")
    except vips().Error as error:
        raise EncodeError(str(error)) from error
    kept = photo.metadata
    return with_metadata(data, exif=kept.exif, icc=kept.icc, xmp=kept.xmp)


def encode_jpeg(photo: Photo) -> Pieces:
    """JPEG of quality 95, colour at full size (4:4:4)."""
    return _with_pillow(photo, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")


def encode_webp(photo: Photo) -> Pieces:
    """Lossy WebP of quality 95; colours under full transparency are kept."""
    return _with_pillow(photo, "WEBP", quality=WEBP_QUALITY, method=4, exact=True)


def encode_avif(photo: Photo) -> Pieces:
    """AVIF of quality 90, colour at full size (4:4:4), 8 bits."""
    colour = "4:0:0" if photo.is_grey else "4:4:4"
    return _with_pillow(photo, "AVIF", quality=AVIF_QUALITY, subsampling=colour, speed=8)


def encode_bmp(photo: Photo) -> Pieces:
    """BMP of 8 bits (grey) or 24 bits a pixel."""
    return _with_pillow(photo, "BMP")


def _with_pillow(photo: Photo, format: str, **settings: Any) -> Pieces:
    from PIL import Image

    pixels = to_uint8(photo.pixels)
    file = io.BytesIO()
    exif = photo.metadata.exif
    if exif is not None and format == "JPEG":
        exif = b"Exif\0\0" + exif
    kept = {"exif": exif, "icc_profile": photo.metadata.icc, "xmp": photo.metadata.xmp}
    try:
        image = Image.fromarray(pixels[:, :, 0] if photo.is_grey else pixels)
        if photo.alpha is not None:
            image.putalpha(Image.fromarray(to_uint8(photo.alpha)))
        image.save(file, format, **settings, **{name: block for name, block in kept.items() if block})
    except (OSError, ValueError, OverflowError, SyntaxError, LookupError, TypeError, struct.error) as error:
        raise EncodeError(str(error)) from error
    return [file.getbuffer()]


@dataclass(frozen=True, slots=True)
class Format:
    """What a format holds.

    Args:
        name: for messages.
        encode: the encoder.
        alpha: whether it holds transparency.
        side: longest side in pixels.
        exif: longest EXIF block in bytes.
        xmp: longest XMP block in bytes.
        icc: for how many channels it holds a colour profile.
    """

    name: str
    encode: Callable[[Photo], Pieces]
    alpha: bool = True
    side: int = 65_535
    exif: int = 1 << 30
    xmp: int = 1 << 30
    icc: tuple[int, ...] = (1, 3)

    def fitted(self, photo: Photo) -> tuple[Photo, list[str]]:
        """The photograph without the metadata that the format cannot hold, and the names of those."""
        kept, dropped = photo.metadata, []
        if kept.exif is not None and len(kept.exif) > self.exif:
            kept = replace(kept, exif=None)
            dropped.append("EXIF")
        if kept.xmp is not None and len(kept.xmp) > self.xmp:
            kept = replace(kept, xmp=None)
            dropped.append("XMP")
        if kept.icc is not None and photo.pixels.shape[2] not in self.icc:
            kept = replace(kept, icc=None)
            dropped.append("colour profile")
        return replace(photo, metadata=kept), dropped


_JPEG: Final = Format("JPEG", encode_jpeg, alpha=False, side=65_500, exif=65_527, xmp=65_504)
_TIFF: Final = Format("TIFF", tiff_pieces)

FORMATS: Final[Mapping[str, Format]] = {
    ".avif": Format("AVIF", encode_avif),
    ".bmp": Format("BMP", encode_bmp, alpha=False, exif=0, xmp=0, icc=()),
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".png": Format("PNG", encode_png),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": Format("WebP", encode_webp, side=16_383, icc=(3,)),
}


def without_exif(photo: Photo) -> Photo:
    """The photograph without its EXIF."""
    return replace(photo, metadata=Metadata(None, photo.metadata.icc, photo.metadata.xmp))
