"""Reads the directories (IFDs) of a TIFF structure: TIFF and BigTIFF files, and EXIF blocks.

Every offset is checked and every count is bounded, so any bytes are safe to pass.
"""

import struct
from dataclasses import dataclass
from typing import Final, Literal

MAX_ENTRIES: Final = 1024
"""Most entries of one directory that are looked at; cameras write about 30."""

MAX_DIRECTORIES: Final = 1000
"""Most directories of one chain that are followed."""

_SIZES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_CODES: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag of a directory.

    Args:
        kind: the type of its values, 1 (BYTE) to 18 (IFD8).
        count: how many values.
        place: where the values start, in bytes from the start of the structure; they lie within it.
        field: where the entry itself starts.
    """

    kind: int
    count: int
    place: int
    field: int

    @property
    def size(self) -> int:
        """Bytes that the values take."""
        return self.count * _SIZES[self.kind]


@dataclass(frozen=True, slots=True)
class Directory:
    """One IFD.

    Args:
        entries: tag number -> entry; of a tag that stands twice the first counts.
        link: where the offset of the next directory is stored.
        following: the offset of the next directory; 0 after the last.
    """

    entries: dict[int, Entry]
    link: int
    following: int


class Structure:
    """A TIFF structure.

    Args:
        data: the bytes, which begin with `II` or `MM`.

    Raises:
        ValueError: they do not begin like a TIFF structure.
    """

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data
        orders: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
        self.order = orders.get(bytes(data[:2]), "<")
        magic = self._number("H", 2)
        if bytes(data[:2]) not in orders or magic not in (42, 43):
            raise ValueError("not a TIFF structure")
        self.big = magic == 43
        self.first = self._number("Q", 8) if self.big else self._number("I", 4)

    def directory(self, offset: int) -> Directory | None:
        """The directory at an offset, without entries that point outside; None where none can be."""
        head, width, link = ("Q", 20, 8) if self.big else ("H", 12, 4)
        start = offset + struct.calcsize(head)
        if offset < 8 or start > len(self.data):
            return None
        count = self._number(head, offset)
        end = start + count * width
        if count > MAX_ENTRIES or end > len(self.data):
            return None
        entries: dict[int, Entry] = {}
        for field in range(start, end, width):
            tag, kind = struct.unpack_from(self.order + "HH", self.data, field)
            number = self._number("Q" if self.big else "I", field + 4)
            if kind not in _SIZES or tag in entries:
                continue
            place = field + (12 if self.big else 8)
            if number * _SIZES[kind] > link:
                place = self._number("Q" if self.big else "I", place)
            if place + number * _SIZES[kind] <= len(self.data):
                entries[tag] = Entry(kind, number, place, field)
        complete = end + link <= len(self.data)
        return Directory(entries, end, self._number("Q" if self.big else "I", end) if complete else 0)

    def directories(self) -> list[Directory]:
        """The chain of directories, up to a loop, a broken link or `MAX_DIRECTORIES`."""
        found: list[Directory] = []
        seen: set[int] = set()
        offset = self.first
        while offset and offset not in seen and len(found) < MAX_DIRECTORIES:
            seen.add(offset)
            directory = self.directory(offset)
            if directory is None:
                break
            found.append(directory)
            offset = directory.following
        return found

    def numbers(self, directory: Directory, tag: int) -> tuple[int, ...]:
        """The first 16 whole numbers of a tag; empty where it is absent or of another type."""
        entry = directory.entries.get(tag)
        if entry is None or entry.kind not in _CODES:
            return ()
        count = min(entry.count, 16)
        return struct.unpack_from(f"{self.order}{count}{_CODES[entry.kind]}", self.data, entry.place)

    def number(self, directory: Directory, tag: int, default: int) -> int:
        """The first whole number of a tag."""
        return next(iter(self.numbers(directory, tag)), default)

    def bytes_of(self, entry: Entry) -> bytes:
        """The values as they are stored."""
        return bytes(self.data[entry.place : entry.place + entry.size])

    def _number(self, code: str, offset: int) -> int:
        if offset + struct.calcsize(code) > len(self.data):
            raise ValueError("the structure ends too early")
        value: int = struct.unpack_from(self.order + code, self.data, offset)[0]
        return value
