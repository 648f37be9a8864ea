"""The boxes of AVIF and HEIC files (ISO/IEC 23008-12) that say how the primary image's colours are coded."""

import struct
from collections.abc import Iterator
from typing import Final

MAX_BOXES: Final = 10_000
"""Most boxes of one box that are looked at."""

Box = tuple[bytes, int, int]
"""Type, and where its body begins and ends."""


def code_points(data: bytes) -> tuple[int, int] | None:
    """Colour primaries and transfer characteristics (ITU-T H.273) of the primary image's box `colr` of type nclx.

    Returns:
        None where there is none, or the file is damaged.
    """
    try:
        meta = _child(data, b"meta", 0, len(data))
        inside = (meta[1] + 4, meta[2])
        item = _primary_item(data, _child(data, b"pitm", *inside))
        properties = _child(data, b"iprp", *inside)
        container = _child(data, b"ipco", *properties[1:])
        known = [*_boxes(data, *container[1:])]
        for number in _associated(data, item, properties):
            name, start, end = known[number - 1] if 0 < number <= len(known) else (b"", 0, 0)
            if name == b"colr" and data[start : start + 4] == b"nclx" and end - start >= 10:
                return struct.unpack_from(">HH", data, start + 4)
    except (struct.error, LookupError):
        pass
    return None


def _boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    for _ in range(MAX_BOXES):
        if at + 8 > end:
            return
        size, name = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        elif size == 0:
            size = end - at
        if at + size > end or at + size < body:
            return
        yield name, body, at + size
        at += size


def _child(data: bytes, name: bytes, start: int, end: int) -> Box:
    """The first box of a type; raises LookupError without one."""
    for box in _boxes(data, start, end):
        if box[0] == name:
            return box
    raise LookupError(name)


def _primary_item(data: bytes, pitm: Box) -> int:
    return int(struct.unpack_from(">I" if data[pitm[1]] else ">H", data, pitm[1] + 4)[0])


def _associated(data: bytes, item: int, properties: Box) -> Iterator[int]:
    """Numbers of the properties of an item, from 1."""
    for name, start, end in _boxes(data, *properties[1:]):
        if name != b"ipma":
            continue
        version, wide = data[start], data[start + 3] & 1
        (entries,) = struct.unpack_from(">I", data, start + 4)
        at = start + 8
        for _ in range(min(entries, end - start)):
            (found,) = struct.unpack_from(">I" if version else ">H", data, at)
            at += 4 if version else 2
            count = data[at]
            at += 1
            if found == item:
                for number in struct.unpack_from(f">{count}{'H' if wide else 'B'}", data, at):
                    yield number & (0x7FFF if wide else 0x7F)
            at += count * (2 if wide else 1)
            if at >= end:
                break
