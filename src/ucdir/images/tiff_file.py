"""Writes TIFF files: 8 or 16 bits, deflate with horizontal differences, EXIF byte for byte."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np

from ucdir.images.ifd import Structure
from ucdir.images.metadata import DESCRIPTIVE
from ucdir.images.photo import Photo
from ucdir.images.pixels import Pixels

_STRIP_BYTES: Final = 1 << 18
_BYTE, _SHORT, _LONG, _UNDEFINED = 1, 3, 4, 7


def tiff_pieces(photo: Photo) -> list[bytes]:
    """The file in pieces, to be written one after the other.

    An EXIF block is itself a TIFF structure. The file begins with it, so that all offsets in it stay right
    (a maker's notes too); strips of pixels follow, then a directory with EXIF's entries and the image's.
    """
    exif = photo.metadata.exif
    block = bytearray(b"II*\0" + bytes(4) if exif is None else exif + bytes(-len(exif) % 2))
    structure = Structure(block)
    order = structure.order
    height, width, channels = photo.pixels.shape
    samples = channels + (photo.alpha is not None)
    bits = 8 * photo.pixels.dtype.itemsize
    rows = max(1, _STRIP_BYTES // (width * samples * bits // 8))
    strips = list(_strips(photo, rows, order))
    starts, at = [], len(block)
    for strip in strips:
        starts.append(at)
        at += len(strip)
    tags: dict[int, tuple[int, tuple[int, ...] | bytes]] = {
        256: (_LONG, (width,)),
        257: (_LONG, (height,)),
        258: (_SHORT, (bits,) * samples),
        259: (_SHORT, (8,)),
        262: (_SHORT, (1 if channels == 1 else 2,)),
        273: (_LONG, tuple(starts)),
        274: (_SHORT, (1,)),
        277: (_SHORT, (samples,)),
        278: (_LONG, (rows,)),
        279: (_LONG, tuple(len(strip) for strip in strips)),
        284: (_SHORT, (1,)),
        317: (_SHORT, (2,)),
        339: (_SHORT, (1,) * samples),
    }
    if photo.alpha is not None:
        tags[338] = (_SHORT, (2,))
    if photo.metadata.xmp is not None:
        tags[700] = (_BYTE, photo.metadata.xmp)
    if photo.metadata.icc is not None:
        tags[34675] = (_UNDEFINED, photo.metadata.icc)
    taken = _entries_of(structure) if exif is not None else {}
    struct.pack_into(order + "I", block, 4, at + at % 2)
    return [bytes(block), *strips, bytes(at % 2), _directory(order, at + at % 2, tags, taken)]


def _strips(photo: Photo, rows: int, order: str) -> Iterator[bytes]:
    """Compressed strips; what is stored of a pixel is its difference from the one to its left."""
    stored = photo.pixels.dtype.newbyteorder("<" if order == "<" else ">")
    for top in range(0, photo.pixels.shape[0], rows):
        strip: Pixels = photo.pixels[top : top + rows]
        if photo.alpha is not None:
            strip = np.concatenate([strip, photo.alpha[top : top + rows, :, None]], axis=2)
        differences = strip.astype(stored)
        differences[:, 1:] -= strip[:, :-1]
        yield zlib.compress(differences.tobytes(), 4)


def _entries_of(structure: Structure) -> dict[int, bytes]:
    """The descriptive entries of an EXIF block's first directory, as stored."""
    main = structure.directory(structure.first)
    if main is None:
        return {}
    return {
        tag: bytes(structure.data[entry.field : entry.field + 12])
        for tag, entry in main.entries.items()
        if tag in DESCRIPTIVE
    }


def _directory(
    order: str, at: int, tags: dict[int, tuple[int, tuple[int, ...] | bytes]], taken: dict[int, bytes]
) -> bytes:
    """One directory, at a place in the file, with the values that do not fit into it behind it."""
    numbers = sorted({*tags, *taken})
    head, tail = struct.pack(order + "H", len(numbers)), b""
    values_at = at + 2 + 12 * len(numbers) + 4
    for tag in numbers:
        if tag not in tags:
            head += taken[tag]
            continue
        kind, values = tags[tag]
        code = "H" if kind == _SHORT else "I"
        stored = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{code}", *values)
        head += struct.pack(order + "HHI", tag, kind, len(values))
        if len(stored) <= 4:
            head += stored.ljust(4, b"\0")
        else:
            head += struct.pack(order + "I", values_at + len(tail))
            tail += stored + bytes(len(stored) % 2)
    return head + bytes(4) + tail
