"""DNG: a restored RAW file as the camera's light again, for programs that develop RAW files (Adobe's DNG 1.4).

    sRGB ─ undo tone curve, colour matrix, white balance ─> linear light of the camera, uint16 [H,W,3] (LinearRaw)

White balance (AsShotNeutral) and colour matrix (ColorMatrix1) stand beside it, so that such a program shows what a PNG
would, and white balance can be changed. Colours outside of sRGB, which the networks were not given, are added again
where the restored photo is at the edge of sRGB, without their noise. Light above white stays lost.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ucdir.images.camera import Camera, srgb_to_balanced, srgb_to_linear
from ucdir.images.exif import DESCRIPTIVE, ORIENTATION, Ifd, TiffStructure, Values, ifd_bytes, stored_values
from ucdir.images.photo import Photo
from ucdir.images.pixels import Pixels, to_rgb8

MAX_PIXELS: Final = ((1 << 32) - (1 << 26)) // 6
"""Most pixels of a file whose offsets have 32 bits, beside its metadata."""

_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _SRATIONAL = 1, 2, 3, 4, 5, 7, 10
_CODES: Final = {_BYTE: "B", _SHORT: "H", _LONG: "I", _RATIONAL: "I", _SRATIONAL: "i"}
_RGB, _LINEAR_RAW = 2, 34892
_D65: Final = 21
_UNKNOWN: Final = "Unknown camera"
_PREVIEW_SIDE: Final = 256
_EDGE: Final = np.float32(0.02)
_ROWS: Final = 256
"""Rows that are converted at once, so that intermediate results stay small."""


def encode_dng(photo: Photo) -> list[bytes | memoryview]:
    """A file in pieces, to be written one after the other: an EXIF block, the light, a thumbnail, and what they are.

    As in `tiff.encode_tiff` the file begins with the EXIF block, so that all offsets in it stay right. The light is not
    compressed: LibRaw and others read integers in no other way but lossless JPEG.

    Args:
        photo: with a `camera`, of at most `MAX_PIXELS`.
    """
    camera, kept = photo.camera, photo.metadata
    assert camera is not None  # noqa: S101 (`write.Format` has seen to it)
    block = bytearray(b"II*\0\0\0\0\0" if kept.exif is None else kept.exif + bytes(len(kept.exif) % 2))
    structure = TiffStructure(block)
    order = structure.order
    light, preview = _light(photo, camera).astype(f"{order}u2", copy=False), _preview(photo.pixels)
    described = structure.ifd(structure.first)

    def numbers(kind: int, *values: float) -> Values:
        whole = [round(value) for value in values]
        if kind in (_RATIONAL, _SRATIONAL):
            whole = [part for value in values for part in (round(value * 1_000_000), 1_000_000)]
        return kind, len(values), struct.pack(f"{order}{len(whole)}{_CODES[kind]}", *whole)

    def picture(pixels: Pixels, at: int, colours: int) -> dict[int, Values]:
        height, width, samples = pixels.shape
        return {
            254: numbers(_LONG, colours == _RGB),  # a thumbnail, or the photograph
            256: numbers(_LONG, width),
            257: numbers(_LONG, height),
            258: numbers(_SHORT, *(8 * pixels.itemsize,) * samples),
            259: numbers(_SHORT, 1),
            262: numbers(_SHORT, colours),
            273: numbers(_LONG, at),
            277: numbers(_SHORT, samples),
            278: numbers(_LONG, height),
            279: numbers(_LONG, pixels.nbytes),
            284: numbers(_SHORT, 1),
        }

    height, width = light.shape[:2]
    sub = picture(light, len(block), _LINEAR_RAW) | {
        50713: numbers(_SHORT, 1, 1),  # BlackLevelRepeatDim
        50714: numbers(_SHORT, 0, 0, 0),  # BlackLevel
        50717: numbers(_SHORT, 65_535, 65_535, 65_535),  # WhiteLevel
        50718: numbers(_RATIONAL, 1, 1),  # DefaultScale
        50719: numbers(_LONG, 0, 0),  # DefaultCropOrigin
        50720: numbers(_LONG, width, height),  # DefaultCropSize
        50829: numbers(_LONG, 0, 0, height, width),  # ActiveArea
    }
    at = len(block) + light.nbytes
    sub_bytes = ifd_bytes(order, at, sub)
    preview_at = at + len(sub_bytes)
    padding = bytes(preview.nbytes % 2)
    main_at = preview_at + preview.nbytes + len(padding)
    tags = {tag: values for tag, values in stored_values(structure, described).items() if tag in DESCRIPTIVE}
    model = _model(structure, described)
    tags |= picture(preview, preview_at, _RGB) | {
        ORIENTATION: numbers(_SHORT, 1),
        330: numbers(_LONG, at),  # SubIFDs
        50706: numbers(_BYTE, 1, 4, 0, 0),  # DNGVersion
        50707: numbers(_BYTE, 1, 1, 0, 0),  # DNGBackwardVersion
        50708: (_ASCII, len(model), model),  # UniqueCameraModel
        50721: numbers(_SRATIONAL, *camera.xyz_to_camera.flat),  # ColorMatrix1
        50728: numbers(_RATIONAL, *(1 / camera.white_balance)),  # AsShotNeutral
        50730: numbers(_SRATIONAL, 0),  # BaselineExposure
        50778: numbers(_SHORT, _D65),  # CalibrationIlluminant1
    }
    for tag, kind, body in ((700, _BYTE, kept.xmp), (33723, _UNDEFINED, kept.iptc)):
        if body is not None:
            tags[tag] = kind, len(body), body
    if kept.density is not None:
        tags |= kept.density.tags(order)
    struct.pack_into(order + "I", block, 4, main_at)
    return [
        *(bytes(block), light.reshape(-1).view(np.uint8).data, sub_bytes, preview.tobytes(), padding),
        ifd_bytes(order, main_at, tags),
    ]


def _light(photo: Photo, camera: Camera) -> NDArray[np.uint16]:
    """The camera's linear colours, not balanced, [H,W,3]; white is 65535 over the white balance."""
    pixels, outside = photo.pixels, photo.outside
    light = np.empty((*pixels.shape[:2], 3), np.uint16)
    peak = np.float32(np.iinfo(pixels.dtype).max)
    for top in range(0, len(pixels), _ROWS):
        rows = np.s_[top : top + _ROWS]
        srgb = np.broadcast_to(pixels[rows] / peak, light[rows].shape)
        balanced = srgb_to_balanced(srgb, camera.to_srgb)
        if outside is not None:
            balanced = balanced + _at_edge(srgb_to_linear(srgb))[..., None] * outside[rows]
        light[rows] = np.rint(np.clip(balanced, 0, 1) / camera.white_balance * 65_535)
    return light


def _at_edge(linear: NDArray[Any]) -> NDArray[Any]:
    """How near a colour of linear sRGB [h,w,3] is to where sRGB ends: 1 at it, 0 from `_EDGE` on."""
    distance = np.minimum(linear.min(axis=2), 1 - linear.max(axis=2))
    share: NDArray[Any] = np.clip(1 - distance / _EDGE, 0, 1)
    return share


def _model(structure: TiffStructure, main: Ifd | None) -> bytes:
    """Maker and model as one name, ASCII, with the NUL behind it."""
    entries = [main and main.entries.get(tag) for tag in (271, 272)]
    stored = (
        bytes(structure.data[e.start : e.start + e.size]) if e and e.kind == _ASCII else b"" for e in entries
    )
    maker, model = (text.partition(b"\0")[0].decode("ascii", "ignore").strip() for text in stored)
    known = model if model.lower().startswith(maker.lower().partition(" ")[0]) else f"{maker} {model}"
    return (known.strip() or maker or _UNKNOWN).encode() + b"\0"


def _preview(pixels: Pixels) -> NDArray[np.uint8]:
    from PIL import Image

    step = max(1, max(pixels.shape) // (4 * _PREVIEW_SIDE))  # enough pixels for `thumbnail` to average
    image = Image.fromarray(to_rgb8(pixels[::step, ::step]))
    image.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
    return np.array(image)
