"""A camera's RAW file, developed by the simple pipeline of `camera.py`: half size, amplified, sRGB."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ucdir.errors import ImageError, reason
from ucdir.images.camera import develop, develop_rgb, pack_bayer
from ucdir.images.decode import upright
from ucdir.images.density import Density
from ucdir.images.exif import EXIF_IFD, GPS_IFD, TiffStructure, Values, byte_order, exif_of_ifds
from ucdir.images.jpeg import jpeg_header
from ucdir.images.photo import Exposure, Metadata, Photo
from ucdir.images.readers import check_size
from ucdir.images.tiff import tiff_metadata

NORMAL_LIGHT: Final = 0.16
"""Mean of the light that "auto" amplifies a photograph to, as a fraction of white: an ordinary scene."""
MAX_RATIO: Final = 300.0
"""Most that "auto" and "file" amplify: the largest exposure ratio of SID."""
LONG_EXPOSURE: Final = 10.0
"""Seconds that "file" amplifies to, as SID's long exposures."""

MOST_EMPTY_ROWS: Final = 0.02
"""Share of rows that are all zero, which no sensor gives, from which on a file is taken to be cut off."""

LINEAR: Final = "is a linear DNG, demosaiced by the camera or a program; it is restored at full size."
"""Its noise is not that of a sensor any more."""

_ORIENTATIONS: Final = {1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
"""LibRaw's flip (1: columns, 2: rows, 4: rows for columns) -> EXIF orientation."""


def read_raw(data: bytes, exposure_ratio: float | Literal["auto", "file"]) -> Photo:
    """Develop a RAW file with a Bayer sensor: ARW, NEF, CR2, CR3, DNG, RAF and what else LibRaw knows.

    Black level off, divided by the white level, packed to half size, amplified, white balance as the camera noted it,
    colours to sRGB. Nothing is sharpened, denoised or stretched. A linear DNG, which phones write, has all three
    colours at every pixel and keeps its size.

    Args:
        data: the file's content.
        exposure_ratio: what the light is multiplied by; "auto" makes the image as bright as an ordinary one, "file"
            as if it had been exposed for 10 s; both from 1 to 300.

    Returns:
        the photograph, uint16 [h,w,3], upright, with the `exposure` used.

    Raises:
        ImageError: it cannot be read, or its sensor has another pattern; the text continues the file's name.
    """
    import rawpy

    try:
        with _silence(), rawpy.RawPy() as raw:
            raw.open_buffer(io.BytesIO(data))
            check_size(int(raw.sizes.raw_width), int(raw.sizes.raw_height), len(data))
            photo = _developed(raw, exposure_ratio)
            return replace(photo, metadata=raw_metadata(data))
    except (rawpy.LibRawError, ValueError, TypeError, IndexError, RuntimeError, struct.error) as error:
        raise ImageError(
            f"is a RAW file that cannot be decoded ({reason(error)}); get a complete copy of it, or "
            "develop it to a 16-bit TIFF with the camera's software first."
        ) from error


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


def _developed(raw: Any, exposure_ratio: float | Literal["auto", "file"]) -> Photo:
    import rawpy

    raw.unpack()
    linear = raw.raw_type == rawpy.RawType.Stack  # all colours at each pixel: demosaiced before
    light = _linear_light(raw) if linear else _bayer_light(raw)
    ratio = _ratio(raw, light, exposure_ratio)
    light *= np.float32(ratio)
    srgb = (develop_rgb if linear else develop)(light, _white_balance(raw), _matrix(raw))
    pixels = np.rint(srgb * 65535).astype(np.uint16)
    turned = np.ascontiguousarray(upright(pixels, _ORIENTATIONS.get(int(raw.sizes.flip), 1)))
    iso, seconds = float(raw.other.iso_speed), float(raw.other.shutter_speed)
    return Photo(
        turned,
        format="RAW",
        exposure=Exposure(ratio, seconds=seconds if seconds > 0 else None, iso=iso if iso > 0 else None),
        warnings=(LINEAR,) if linear else (),
    )


def _bayer_light(raw: Any) -> npt.NDArray[np.float32]:
    """Packed light of a Bayer sensor, [h,w,4] at half size; black is 0 and white is 1."""
    import rawpy

    pattern = raw.raw_pattern
    if raw.raw_type != rawpy.RawType.Flat or pattern is None or pattern.shape != (2, 2):
        what = "X-Trans" if pattern is not None and pattern.shape == (6, 6) else "no Bayer"
        raise ImageError(
            f"comes from a sensor with {what} pattern, which ucdir does not develop; develop it to a "
            "16-bit TIFF with the camera's software first."
        )
    mosaic = raw.raw_image_visible
    _check_rows(mosaic)
    colours = raw.raw_colors_visible[:2, :2]
    letters = "".join(raw.color_desc.decode("ascii")[number] for number in colours.flat)
    if sorted(letters) != ["B", "G", "G", "R"]:
        raise ImageError(f"comes from a sensor of the colours {letters}; ucdir knows red, green, blue.")
    black = np.array(raw.black_level_per_channel, dtype=np.float32)[colours]
    light = pack_bayer(mosaic, letters).astype(np.float32)
    light -= pack_bayer(black, letters)[0, 0]
    light /= _white_above(raw, black)
    return light


def _linear_light(raw: Any) -> npt.NDArray[np.float32]:
    """Light of a linear DNG, [h,w,3] at full size; black is 0 and white is 1."""
    image = raw.raw_image_visible
    if raw.num_colors != 3 or not raw.color_desc.startswith(b"RGB") or image.shape[2] < 3:
        raise ImageError(f"holds {raw.num_colors} colours {raw.color_desc!r}; ucdir knows red, green, blue.")
    _check_rows(image[..., :3])
    black = np.array(raw.black_level_per_channel[:3], dtype=np.float32)
    light: npt.NDArray[np.float32] = image[..., :3].astype(np.float32)
    light -= black
    light /= _white_above(raw, black)
    return light


def _check_rows(samples: npt.NDArray[Any]) -> None:
    empty = float((~samples.reshape(len(samples), -1).any(axis=1)).mean())
    if empty > MOST_EMPTY_ROWS:  # LibRaw fills what is missing with zeros and raises nothing
        raise ImageError(
            f"is a damaged or incomplete RAW file ({empty:.0%} of its rows hold nothing); get a complete "
            "copy of it."
        )


def _white_above(raw: Any, black: npt.NDArray[np.float32]) -> np.float32:
    white = float(raw.white_level)
    if not white > black.max():
        raise ImageError(f"is damaged: its white level {white:g} is not above black; copy it again.")
    return np.float32(white - black.max())


def _ratio(raw: Any, light: npt.NDArray[np.float32], wanted: float | Literal["auto", "file"]) -> float:
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


def _white_balance(raw: Any) -> npt.NDArray[np.float32]:
    """Gains of R, G and B as the camera noted them, else for daylight, else none; the smallest is 1."""
    for gains in (raw.camera_whitebalance, raw.daylight_whitebalance):
        rgb: npt.NDArray[np.float32] = np.array(gains[:3], dtype=np.float32)
        if np.isfinite(rgb).all() and rgb.min() > 0:
            rgb /= rgb.min()
            return rgb
    return np.ones(3, dtype=np.float32)


def _matrix(raw: Any) -> npt.NDArray[np.float64]:
    """Balanced camera colours to linear sRGB, [3,3]: LibRaw's, from the file or its table of cameras."""
    matrix = np.array(raw.color_matrix, dtype=np.float64)[:, :3]
    if np.isfinite(matrix).all() and np.allclose(matrix.sum(axis=1), 1, atol=0.01):
        return matrix
    return np.eye(3)
