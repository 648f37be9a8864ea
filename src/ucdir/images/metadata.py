"""EXIF, colour profiles and XMP: taken over byte for byte, except for what no longer holds."""

import re
import struct
from typing import Final

from ucdir.images.ifd import Directory, Entry, Structure

_ORIENTATION, _EXIF_IFD, _GPS_IFD = 0x0112, 0x8769, 0x8825
_THUMBNAIL_START, _THUMBNAIL_LENGTH = 0x0201, 0x0202

DESCRIPTIVE: Final = frozenset(
    {270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 0x4746, 0x4749, 33432, _EXIF_IFD, _GPS_IFD}
    | {*range(0x9C9B, 0x9CA0)}
)
"""Tags of a first directory that tell of the photograph, not of how its pixels are stored: description,
maker, model, resolution, software, date, artist, host, rating, copyright, and where EXIF and GPS stand."""

# A maker note holds offsets that break where it is moved; the interoperability directory says nothing.
_UNMOVABLE: Final = frozenset({0x927C, 0xA005})

_ICC_SPACES: Final = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}


def clean_exif(block: bytes) -> bytes | None:
    """An EXIF block for the upright image: orientation 1, the thumbnail unlinked and, if it stands last, cut.

    All else stays where it is, so a maker's notes stay readable. Returns None for a block that is no EXIF.
    """
    data = bytearray(block.removeprefix(b"Exif\0\0"))
    try:
        structure = Structure(data)
        main = None if structure.big else structure.directory(structure.first)
        if main is None or not main.entries:
            return None
        orientation = main.entries.get(_ORIENTATION)
        if orientation is not None and orientation.count >= 1 and orientation.kind in (3, 4):
            code = structure.order + ("H" if orientation.kind == 3 else "I")
            struct.pack_into(code, data, orientation.place, 1)
        thumbnail = structure.directory(main.following) if main.following else None
        if main.following:
            data[main.link : main.link + 4] = bytes(4)
        if thumbnail is not None:
            start = structure.number(thumbnail, _THUMBNAIL_START, 0)
            length = structure.number(thumbnail, _THUMBNAIL_LENGTH, 0)
            if max(main.link, thumbnail.link) < start < len(data) <= start + length + 4:
                del data[start:]
    except (ValueError, struct.error):
        return None
    return bytes(data)


def exif_of_tiff(structure: Structure, main: Directory) -> bytes | None:
    """An EXIF block from the first directory of a TIFF file; None where that describes nothing."""
    order = structure.order
    try:
        subs = {
            tag: structure.directory(structure.number(main, tag, 0))
            for tag in (_EXIF_IFD, _GPS_IFD)
            if tag in main.entries
        }
        kept = {
            tag: entry
            for tag, entry in main.entries.items()
            if tag in DESCRIPTIVE and (tag not in subs or subs[tag] is not None)
        }
        if not kept.keys() - {282, 283, 296}:
            return None
        block = bytearray(b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
        _append(block, structure, kept)
        for tag, sub in subs.items():
            if sub is not None:
                place = _place_of(block, order, tag)
                struct.pack_into(order + "I", block, place, len(block))
                _append(block, structure, {t: e for t, e in sub.entries.items() if t not in _UNMOVABLE})
    except (ValueError, struct.error):
        return None
    return bytes(block)


def exif_of_raw(data: bytes) -> bytes | None:
    """An EXIF block from a RAW file that is a TIFF structure (ARW, NEF, CR2, DNG, …); None of any other."""
    try:
        structure = Structure(data)
        main = None if structure.big else structure.directory(structure.first)
    except (ValueError, struct.error):
        return None
    return None if main is None else exif_of_tiff(structure, main)


def _append(block: bytearray, structure: Structure, entries: dict[int, Entry]) -> None:
    """Adds one directory with its values behind a block of even length."""
    order = structure.order
    small = {
        tag: entry
        for tag, entry in sorted(entries.items())
        if tag in (_EXIF_IFD, _GPS_IFD) or (entry.kind <= 13 and entry.size <= 65_535)
    }
    values = len(block) + 2 + 12 * len(small) + 4
    head, tail = bytearray(struct.pack(order + "H", len(small))), bytearray()
    for tag, entry in small.items():
        stored = structure.bytes_of(entry)
        if tag in (_EXIF_IFD, _GPS_IFD):
            head += struct.pack(order + "HHII", tag, 4, 1, 0)
        elif len(stored) <= 4:
            head += struct.pack(order + "HHI4s", tag, entry.kind, entry.count, stored)
        else:
            head += struct.pack(order + "HHII", tag, entry.kind, entry.count, values + len(tail))
            tail += stored + b"\0" * (len(stored) % 2)
    block += head + bytes(4) + tail


def _place_of(block: bytearray, order: str, tag: int) -> int:
    """Where the value of a tag of the first directory of a block of ours stands."""
    count = struct.unpack_from(order + "H", block, 8)[0]
    fields = (10 + 12 * i for i in range(count))
    return next(field for field in fields if struct.unpack_from(order + "H", block, field)[0] == tag) + 8


def exif_of_text(comment: str) -> bytes | None:
    """EXIF from a PNG file's text chunk `Raw profile type exif`: a name, the length, and hex digits."""
    words = comment.split()
    if len(words) < 3 or words[0] not in ("exif", "APP1"):
        return None
    try:
        return bytes.fromhex("".join(words[2:]))
    except ValueError:
        return None


def orientation_of(block: bytes) -> int:
    """The orientation in an EXIF block, 1 where there is none."""
    try:
        structure = Structure(block.removeprefix(b"Exif\0\0"))
        main = structure.directory(structure.first)
    except ValueError:
        return 1
    return 1 if main is None else structure.number(main, _ORIENTATION, 1)


def icc_channels(profile: bytes) -> int | None:
    """How many channels a colour profile describes: 1 grey, 3 RGB, 4 CMYK; None if it is none of these."""
    if len(profile) < 128 or profile[36:40] != b"acsp":
        return None
    return _ICC_SPACES.get(profile[16:20])


def clean_xmp(block: bytes) -> bytes:
    """XMP with the orientation, where it is given, set to 1."""
    return re.sub(rb"""(tiff:Orientation(?:\s*=\s*["']|>))[2-8]""", rb"\g<1>1", block)
