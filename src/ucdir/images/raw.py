"""A camera's RAW file, developed by the simple pipeline of `camera.py`: light, amplified, sRGB."""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ImageError, listed, reason
from ucdir.images.camera import NO_COLOURS, SPAN, Camera, develop_rgb, srgb_to_balanced
from ucdir.images.decode import upright, vips
from ucdir.images.density import Density
from ucdir.images.exif import EXIF_IFD, GPS_IFD, TiffStructure, Values, byte_order, exif_of_ifds
from ucdir.images.jpeg import jpeg_header
from ucdir.images.photo import Exposure, Metadata, Photo
from ucdir.images.raw_light import (
    default_crop,
    halved,
    in_cells,
    is_monochrome,
    linear_light,
    monochrome_light,
    mosaic_of,
)
from ucdir.images.readers import check_size
from ucdir.images.tiff import RawImage, raw_images, tiff_metadata

NORMAL_LIGHT: Final = 0.16
"""Mean of the light that "auto" amplifies a photograph to, as a fraction of white: an ordinary scene."""
MAX_RATIO: Final = 300.0
"""Most that "auto" and "file" amplify: the largest exposure ratio of SID."""
LONG_EXPOSURE: Final = 10.0
"""Seconds that "file" amplifies to, as SID's long exposures."""

LINEAR: Final = "is a linear DNG, demosaiced by the camera or a program before."
"""Its noise is not that of a sensor any more."""
X_TRANS: Final = "comes from an X-Trans sensor, which LibRaw has demosaiced."
"""The paper's half size, by cells of 2x2, is Bayer's."""
UNKNOWN_COLOURS: Final = "is of a camera whose colours are not known to LibRaw; they are taken as sRGB's."

DARK: Final = 16
"""Exposure ratio from which on a file is demosaiced as one with much noise."""
VERY_DARK: Final = 200
"""Exposure ratio from which on half size is better than full size, see docs/raw.md."""
VERY_DARK_AT_FULL_SIZE: Final = (
    "is so dark ({:.0f} times amplified) that at half size less noise would be left."
)

RawSize = Literal["half", "full"]
"""Size of a developed RAW file: a pixel for each 2x2 of the sensor, as in the paper (Sec. 4.3), or for each one."""
RAW_SIZES: Final[tuple[RawSize, ...]] = get_args(RawSize)

_COMPRESSIONS: Final = {
    8: "Deflate of integers",
    32946: "Deflate of integers",
    34892: "lossy JPEG",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_READ_COMPRESSIONS: Final = {1, 7}
LEAST_GAIN, MOST_GAIN = 0.01, 1000.0
"""Gains outside of these are none of cameras."""
_SMOOTHING: Final = 2.0
"""Standard deviation of a blur, in pixels."""
_ROWS: Final = 256
_ORIENTATIONS: Final = {1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
"""LibRaw's flip (1: columns, 2: rows, 4: rows for columns) -> EXIF orientation."""


def read_raw(
    data: bytes,
    exposure_ratio: float | Literal["auto", "file"],
    size: RawSize = "half",
    *,
    outside: bool = False,
) -> Photo:
    """Develop a RAW file: ARW, NEF, CR2, CR3, DNG, RAF and what else LibRaw knows of Bayer, X-Trans and linear files.

    Black level off, divided by the white level, brought to its size, amplified, white balance as the camera noted it,
    colours to sRGB. Nothing is sharpened, denoised or stretched. What the camera does not mean to be seen (outside
    of DNG's default crop) is cut off.

    Args:
        data: the file's content.
        exposure_ratio: what the light is multiplied by; "auto" makes the image as bright as an ordinary one, "file"
            as if it had been exposed for 10 s; both from 1 to 300.
        size: "half": each 2x2 cell of a Bayer sensor becomes a pixel, and of other files each 2x2 pixels; "full":
            LibRaw demosaics. Brightness and colours are the same.
        outside: whether light that sRGB cannot hold is kept.

    Returns:
        the photograph, uint16 [h,w,3] ([h,w,1] of a monochrome sensor), upright, with the `exposure` and `camera`.

    Raises:
        ImageError: it cannot be read, or its sensor has another pattern; the text continues the file's name.
    """
    import rawpy

    images = raw_images(data) or []
    if any(image.end > len(data) for image in images):
        raise ImageError(
            "is a damaged or incomplete RAW file (it ends before its picture does); get a complete copy of it."
        )
    try:
        with rawpy.RawPy() as raw:
            with _silence():
                raw.open_buffer(io.BytesIO(data))
                check_size(int(raw.sizes.raw_width), int(raw.sizes.raw_height), len(data))
                raw.unpack()
            photo = _developed(raw, exposure_ratio, size, outside=outside)
            assert photo.exposure is not None  # noqa: S101 (for the type checker)
            exposure = replace(photo.exposure, gain=_gain(images))
            return replace(photo, exposure=exposure, metadata=raw_metadata(data))
    except rawpy.LibRawUnsufficientMemoryError as error:
        raise MemoryError from error
    except rawpy.LibRawFileUnsupportedError as error:
        raise ImageError(_unsupported(data)) from error
    except (rawpy.LibRawError, ValueError, TypeError, IndexError, RuntimeError, struct.error) as error:
        raise ImageError(
            f"is a damaged or incomplete RAW file ({reason(error)}); get a complete copy of it."
        ) from error


def _gain(images: Sequence[RawImage]) -> float | None:
    """Digital numbers of 14 bits per electron, as the networks know it, where the file says what its shot noise is.

    The variance of light in [0,1] is light times NoiseProfile's scale, and that of n electrons is n.
    """
    scales = {image.noise[0] for image in images if image.noise is not None}
    gain = SPAN * scales.pop() if len(scales) == 1 else math.nan
    return gain if LEAST_GAIN <= gain <= MOST_GAIN else None


def _unsupported(data: bytes) -> str:
    """Why LibRaw does not know a file."""
    images = raw_images(data)
    if images == []:
        return "holds no RAW image, only previews; get a complete copy of it."
    numbers = {image.compression for image in images or ()} - _READ_COMPRESSIONS
    if names := {_COMPRESSIONS.get(number, f"number {number}") for number in numbers}:
        return (
            f"is compressed as {listed(sorted(names))}, which LibRaw does not read; save it as a DNG without "
            "compression or with lossless JPEG, such as with Adobe's DNG converter."
        )
    return (
        "is a RAW file of a camera or kind that LibRaw does not know, or damaged; make a DNG of it with Adobe's DNG "
        "converter, or a 16-bit TIFF with the camera's software."
    )


def raw_metadata(data: bytes) -> Metadata:
    """What a RAW file says besides pixels: in its first IFD, or Fujifilm's in its JPEG file, Canon's in CR3's boxes."""
    if data[:2] in (b"II", b"MM"):  # whatever number makers put in place of TIFF's 42
        tiff = data[:2] + (b"*\0" if data[:2] == b"II" else b"\0*") + data[4:]
        return replace(tiff_metadata(tiff), density=Density.of_exif(tiff))
    if data.startswith(b"FUJIFILM"):
        start, size = struct.unpack_from(">II", data, 84)
        segments = jpeg_header(data[start : start + size]).app(1)
        return Metadata(exif=next((body for body in segments if body.startswith(b"Exif\0\0")), None))
    ifds = {name: _first_ifd(_box(data, name)) for name in (b"CMT1", b"CMT2", b"CMT4")}
    subs = {EXIF_IFD: ifds[b"CMT2"], GPS_IFD: ifds[b"CMT4"]}
    order = byte_order(_box(data, b"CMT1"))
    return Metadata(
        exif=exif_of_ifds(order, ifds[b"CMT1"], {tag: values for tag, values in subs.items() if values})
    )


def _box(data: bytes, name: bytes) -> bytes:
    """The content of one of CR3's boxes, which stand near its beginning."""
    at = data.find(name, 0, 1 << 20)
    return data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")] if at >= 4 else b""


def _first_ifd(block: bytes) -> dict[int, Values]:
    try:
        structure = TiffStructure(block)
        main = structure.ifd(structure.first)
    except ValueError:
        return {}
    return {} if main is None else structure.values(main)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep LibRaw, whose stderr Python cannot redirect, from printing the errors that it also raises."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _developed(
    raw: Any, exposure_ratio: float | Literal["auto", "file"], size: RawSize, *, outside: bool
) -> Photo:
    import rawpy

    camera, flip, crop, notes = _camera(raw), int(raw.sizes.flip), default_crop(raw), []
    if raw.raw_type == rawpy.RawType.Stack:  # all colours at each pixel: demosaiced before
        light = linear_light(raw)[crop]
        ratio = _ratio(raw, light, exposure_ratio)
        light = halved(light) if size == "half" else light
        notes.append(LINEAR)
    elif is_monochrome(raw):
        light, camera = monochrome_light(raw)[crop], NO_COLOURS
        ratio = _ratio(raw, light, exposure_ratio)
        light = halved(light) if size == "half" else light
    else:
        mosaic = mosaic_of(raw)
        ratio = _ratio(raw, mosaic.light[crop], exposure_ratio)
        if mosaic.is_bayer and size == "half":
            light = mosaic.binned()[in_cells(crop)]
        else:
            light = mosaic.demosaiced(raw, camera.white_balance, dark=ratio >= DARK)[crop]
            light = halved(light) if size == "half" else light
        if not mosaic.is_bayer:
            notes.append(X_TRANS)
    if not camera.known:
        notes.append(UNKNOWN_COLOURS)
    if size == "full" and ratio >= VERY_DARK:
        notes.append(VERY_DARK_AT_FULL_SIZE.format(ratio))
    pixels = np.empty(light.shape, np.uint16)
    beyond = np.empty(light.shape, np.float32) if outside and light.shape[2] == 3 else None
    for top in range(0, len(light), _ROWS):
        rows = np.s_[top : top + _ROWS]
        rgb = np.broadcast_to(light[rows] * np.float32(ratio), (*light[rows].shape[:2], 3))
        srgb = develop_rgb(rgb, camera.white_balance, camera.to_srgb)
        if beyond is not None:
            beyond[rows] = np.minimum(rgb * camera.white_balance, 1) - srgb_to_balanced(srgb, camera.to_srgb)
        pixels[rows] = np.rint(srgb[..., : light.shape[2]] * 65535)
    orientation = _ORIENTATIONS.get(flip, 1)
    return Photo(
        np.ascontiguousarray(upright(pixels, orientation)),
        format="RAW",
        exposure=Exposure(
            ratio,
            seconds=_positive(raw.other.shutter_speed),
            iso=_positive(raw.other.iso_speed),
            demosaiced=size == "full",
        ),
        warnings=tuple(notes),
        camera=camera,
        outside=None if beyond is None else upright(_smoothed(beyond), orientation),
    )


def _smoothed(light: NDArray[np.float32]) -> NDArray[np.float16]:
    """Without its noise, [H,W,3]: what restoration has removed must not come back."""
    height, width, bands = light.shape
    image = vips().Image.new_from_memory(light.data, width, height, bands, "float")
    memory = image.gaussblur(_SMOOTHING, precision="float").write_to_memory()
    return np.frombuffer(memory, np.float32).reshape(light.shape).astype(np.float16)


def _positive(number: Any) -> float | None:
    return float(number) if 0 < float(number) < math.inf else None


def _ratio(raw: Any, light: NDArray[np.float32], wanted: float | Literal["auto", "file"]) -> float:
    if wanted == "file":
        seconds = float(raw.other.shutter_speed)
        if not seconds > 0:
            raise ImageError("does not say its exposure time; give the exposure ratio as a number.")
        return float(np.clip(LONG_EXPOSURE / seconds, 1, MAX_RATIO))
    if wanted == "auto":
        # the mean and not a percentile: noise has no mean, and lamps in the night are few
        mean = float(np.minimum(light, 1).mean(dtype=np.float64))
        return float(np.clip(NORMAL_LIGHT / max(mean, 1e-6), 1, MAX_RATIO))
    return float(wanted)


def _camera(raw: Any) -> Camera:
    """The camera's colours, by LibRaw, which has them from the file or its table of cameras."""
    matrix = np.array(raw.color_matrix, dtype=np.float64)[:, :3]
    known = bool(np.isfinite(matrix).all() and np.allclose(matrix.sum(axis=1), 1, atol=0.01))
    known = known and abs(float(np.linalg.det(matrix))) > 0.01
    daylight = _gains(raw.daylight_whitebalance)
    balance = _gains(raw.camera_whitebalance, daylight)
    return Camera(balance, matrix if known else np.eye(3), daylight, known)


def _gains(found: Any, default: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Gains of R, G and B, the smallest 1; where they are none, the default."""
    gains: NDArray[np.float32] = np.array(found[:3], dtype=np.float32)
    if np.isfinite(gains).all() and gains.min() > 0:
        gains /= gains.min()
        return gains
    return np.ones(3, dtype=np.float32) if default is None else default
