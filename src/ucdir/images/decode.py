"""Bytes of a known kind -> pixels. libvips decodes everything but BMP, which it cannot, and WebP."""

import functools
import io
import logging
import os
import struct
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from ucdir.images.large import FileBytes, in_file, reading
from ucdir.images.pixels import Pixels
from ucdir.memory import RELEASED_BYTES, release

# The slightest problem at which a decoder gives up. A warning of libjpeg mostly says that pixels were lost,
# one of libtiff mostly that a tag is unknown.
_LOADERS: Final[Mapping[str, tuple[str, str]]] = {
    "JPEG": ("jpegload_buffer", "warning"),
    "PNG": ("pngload_buffer", "warning"),
    "WebP": ("webpload_buffer", "warning"),
    "TIFF": ("tiffload_buffer", "error"),
    "AVIF": ("heifload_buffer", "warning"),
    "GIF": ("gifload_buffer", "warning"),
    "JPEG XL": ("jxlload_buffer", "warning"),
}

_FETCH_BYTES: Final = 1 << 16
_FETCH_ROWS = 256
"""At most so many rows at once: libvips looks through all rows of a fetch for each of them."""

PILLOW_ERRORS: Final = (
    *(OSError, EOFError, ValueError, SyntaxError, LookupError, OverflowError, TypeError, AttributeError),
    struct.error,
)
"""What Pillow raises over damaged files."""


_Sample = TypeVar("_Sample", bound=np.generic)

SPARE_BYTES: Final = 64 << 20
"""Memory that decoding takes beside the pixels."""


class DecodeError(Exception):
    """A decoder gave up; its text is the decoder's."""


def check_memory(size_bytes: int) -> None:
    """Raise MemoryError where so much is not to be had: GLib and OpenBLAS would end the program instead."""
    np.empty(size_bytes + SPARE_BYTES, np.uint8)


@functools.cache
def vips() -> ModuleType:
    """pyvips with every loader that libvips itself does not trust switched off, silent, without a cache."""
    # libvips looks at this when it starts. pyvips passes messages on to logging, but not those of the exit.
    os.environ.setdefault("VIPS_WARNING", "0")
    import pyvips

    pyvips.block_untrusted_set(True)
    pyvips.cache_set_max(0)
    logging.getLogger("pyvips").propagate = False
    module: ModuleType = pyvips
    return module


def has_jpeg_xl() -> bool:
    """Whether libvips was built with JPEG XL, whose loader it does not trust by itself."""
    found = bool(vips().type_find("VipsOperation", "jxlload_buffer"))
    if found:
        vips().operation_block_set("VipsForeignLoadJxlBuffer", False)
    return found


def open_with_vips(kind: str, data: bytes, place: Mapping[str, int] = MappingProxyType({})) -> Any:
    """An image of libvips with its header read and its pixels not yet; raises DecodeError over a damaged header.

    Of several images in a file `place` names one, by options of libvips' loader.
    """
    loader, fail_on = _LOADERS[kind]
    source: Any = data
    try:
        if isinstance(data, FileBytes):
            loader, source = loader.replace("_buffer", "_source"), _source(data)
        image = getattr(vips().Image, loader)(source, access="sequential", fail_on=fail_on, **place)
        # or the functions of a source would end before the image does; pyvips keeps what it needs here, too
        image._references.append(source)
        return image
    except vips().Error as error:
        raise DecodeError(str(error)) from error


def _source(data: FileBytes) -> Any:
    """A file that libvips reads piece by piece; of one that it opened itself, it would map all.

    One that cannot be read further ends there: an error in here would be printed, and lost.
    """
    at = 0

    def read(size: int) -> bytes:
        nonlocal at
        try:
            piece = data[at : at + size]
        except OSError:
            return b""
        at += len(piece)
        return piece

    def seek(offset: int, whence: int) -> int:
        nonlocal at
        at = offset + (0, at, len(data))[whence]
        return at

    source = vips().SourceCustom()
    source.on_read(read)
    source.on_seek(seek)
    return source


def rgb_of_ycbcr(image: Any) -> Any:
    """An image of libvips of 8 bits that holds YCbCr as JPEG files do, and is taken for RGB -> RGB, not yet decoded.

    Raises:
        DecodeError: libvips found another kind of image than the header says.
    """
    if (image.bands, image.format) != (3, "uchar"):
        raise DecodeError(
            f"it has {image.bands} channels of the type {image.format}, and says that it is YCbCr"
        )
    rows = [[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]
    return (image - [0, 128, 128]).recomb(vips().Image.new_from_array(rows)).rint().cast("uchar")


def decode_with_vips(image: Any) -> Pixels:
    """Samples [H,W,1..4] of an image of libvips as stored; CMYK becomes sRGB.

    Raises:
        DecodeError: the data are damaged or cut off, or the samples are not whole numbers of 8 or 16 bits.
    """
    try:
        wide = image.format == "ushort"
        if image.format not in ("uchar", "ushort"):
            raise DecodeError(f"its samples are of the type {image.format}")
        if image.interpretation == "cmyk":
            image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=16 if wide else 8)
        if wide and image.get_typeof("heif-compression"):
            # libvips shifts the 10 or 12 bits of AVIF up to 16; white must be 65535.
            white = 65536 - (65536 >> image.get("bits-per-sample"))
            image = (image * (65535 / white)).rint().cast("ushort")
        if image.bands not in (1, 2, 3, 4):
            raise DecodeError(f"it has {image.bands} channels")
        return _fetch(image)
    except vips().Error as error:
        raise DecodeError(str(error)) from error


def _fetch(image: Any) -> Pixels:
    """Pixels of an image of libvips, computed from top to bottom in this thread.

    libvips' own way uses threads that a forked process would wait for in vain, and worker processes that load
    training data are forked. Its reader of WebP does so always, so Pillow reads that.
    """
    width, height, bands = image.width, image.height, image.bands
    dtype, folder = np.uint16 if image.format == "ushort" else np.uint8, reading().folder
    if folder is None or not reading().is_streamed(width, height):
        samples: Pixels = np.empty((height, width, bands), dtype)
    else:
        samples = in_file((height, width, bands), dtype, folder)
    region = vips().Region.new(image)
    rows = max(1, min(_FETCH_ROWS, _FETCH_BYTES // (samples.nbytes // height)))
    touched = 0
    for top in range(0, height, rows):
        part = samples[top : top + rows]
        part[...] = np.frombuffer(region.fetch(0, top, width, len(part)), samples.dtype).reshape(part.shape)
        touched += part.nbytes
        if touched > RELEASED_BYTES:
            release(samples)
            touched = 0
    return samples


def open_with_pillow(kind: str, data: bytes) -> Any:
    """A BMP or WebP image of Pillow with its header read; raises DecodeError over a damaged header."""
    # The plugins are called by name: Image.open would try others, and warns of sizes that limits.py allows.
    from PIL import BmpImagePlugin, Image, WebPImagePlugin

    opener: Any = {"BMP": BmpImagePlugin.BmpImageFile, "WebP": WebPImagePlugin.WebPImageFile}[kind]
    try:
        return opener(io.BytesIO(data))
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        raise DecodeError(str(error)) from error


def decode_with_pillow(image: Any) -> Pixels:
    """uint8 samples [H,W,1..4] of an image of Pillow; palettes and 1 to 5 bits a sample become 8 bits.

    Raises:
        DecodeError: the data are damaged or cut off.
    """
    try:
        image.load()
        if image.mode not in ("L", "RGB", "RGBA"):
            image = image.convert("L" if image.mode == "1" else "RGB")
    except PILLOW_ERRORS as error:
        raise DecodeError(str(error)) from error
    samples: Pixels = np.array(image)
    return samples.reshape(samples.shape[0], samples.shape[1], -1)


def upright(samples: NDArray[_Sample], orientation: int) -> NDArray[_Sample]:
    """Samples [H,W,C] turned by an EXIF orientation 1..8; any other value leaves them as they are."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples[::-1] if orientation in (3, 4, 7, 8) else samples
