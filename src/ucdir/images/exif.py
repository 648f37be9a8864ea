"""EXIF, and the directories (IFDs) of TIFF structures, in which EXIF is stored.

Every offset is checked and every count is bounded, so any bytes are safe to pass. EXIF is kept byte for byte, except
for what no longer holds.
"""

import struct
from collections.abc import Container, Mapping
from typing import Final, NamedTuple

MAX_ENTRIES: Final = 1024
"""Most entries of an IFD that are read; cameras write about 30."""
MAX_IFDS: Final = 1000
"""Most IFDs of a chain that are followed, and"""
MAX_CHAIN_ENTRIES: Final = 50_000
"""most entries of them together; they may overlap, so that a small file holds many."""

ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825
_DENSITY: Final = frozenset({282, 283, 296})
_DENSITIES: Final = (0x011A, 0xA20E), (0x011B, 0xA20F)
_SUBJECT: Final = frozenset({0x9214, 0xA214})
_FOCAL_PLANE: Final = frozenset({0xA20E, 0xA20F, 0xA210})
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
_INTEROPERABILITY_IFD: Final = 0xA005
_THUMBNAIL_START, _THUMBNAIL_BYTES = 0x0201, 0x0202

DESCRIPTIVE: Final = frozenset(
    {269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 0x4746, 0x4749, 33432, EXIF_IFD, GPS_IFD}
    | {*range(0x9C9B, 0x9CA0)}
)
"""Tags of a first IFD that describe the photograph, not how its pixels are stored: names of document and page,
description, maker, model, resolution, software, date, artist, host, rating, copyright, and the offsets of EXIF and
GPS."""

# EXIF's tags that TIFF/EP, from which RAW formats come, has in the first IFD: exposure, sensitivity, dates, lens.
_OF_TIFF_EP: Final = frozenset({33434, 33437, 34850, 34855, 36867, 36868, *range(37377, 37387)})

# A maker note holds offsets that break when it is moved; the interoperability IFD says nothing.
_NOT_COPIED: Final = frozenset({0x927C, 0xA005, EXIF_IFD, GPS_IFD})

# Type of values -> bytes of one, and its code in `struct` if it is a whole number.
_SIZES: Final = dict(
    zip((*range(1, 14), 16, 17, 18), (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 8, 8, 8), strict=True)
)
_CODES: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}

_SHORT, _LONG, _RATIONAL = 3, 4, 5

Values = tuple[int, int, bytes]
"""Type, count and stored bytes of a tag."""

# ------------------------------------------------------------------------------------------- TIFF structures


class Entry(NamedTuple):
    """One tag of an IFD: the type of its values, how many, and the offsets of the values and of the entry itself."""

    kind: int
    number: int
    start: int
    field: int

    @property
    def size(self) -> int:
        """Bytes that the values take."""
        return self.number * _SIZES[self.kind]


class Ifd(NamedTuple):
    """Its offset, entries by tag, where the offset of the next IFD is stored, and that offset (0 after the last)."""

    start: int
    entries: dict[int, Entry]
    link: int
    following: int


class TiffStructure:
    """The IFDs of TIFF and BigTIFF files and of EXIF blocks.

    Args:
        data: the bytes, which begin with `II` or `MM`.

    Raises:
        ValueError: they do not begin like a TIFF structure.
    """

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        magic = self._number("H", 2)
        if data[:2] not in (b"II", b"MM") or magic not in (42, 43):
            raise ValueError("not a TIFF structure")
        self.big = magic == 43
        self._offset = "Q" if self.big else "I"
        self.first = self._number(self._offset, 8 if self.big else 4)

    def ifd(self, offset: int) -> Ifd | None:
        """The IFD at an offset without entries that point outside; None where none can be."""
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
            tag, kind = self._unpacked("HH", field)
            if kind not in _SIZES or tag in entries:
                continue
            entry = Entry(kind, self._number(self._offset, field + 4), field + width - link, field)
            if entry.size > link:
                entry = entry._replace(start=self._number(self._offset, entry.start))
            if entry.start + entry.size <= len(self.data):
                entries[tag] = entry
        return Ifd(
            offset, entries, end, self._number(self._offset, end) if end + link <= len(self.data) else 0
        )

    def ifds(self) -> list[Ifd]:
        """The chain of IFDs, up to a loop, a broken link or `MAX_IFDS`."""
        found: dict[int, Ifd] = {}
        offset, entries = self.first, 0
        while offset not in found and len(found) < MAX_IFDS and entries < MAX_CHAIN_ENTRIES:
            if (ifd := self.ifd(offset)) is None:
                break
            found[offset] = ifd
            entries += (ifd.link - offset) // 12
            offset = ifd.following
        return [*found.values()]

    def numbers(self, ifd: Ifd, tag: int) -> tuple[int, ...]:
        """The first 16 whole numbers of a tag; empty where it is absent or of another type."""
        entry = ifd.entries.get(tag)
        if entry is None or entry.kind not in _CODES:
            return ()
        return self._unpacked(f"{min(entry.number, 16)}{_CODES[entry.kind]}", entry.start)

    def number(self, ifd: Ifd, tag: int, default: int) -> int:
        """The first whole number of a tag."""
        return next(iter(self.numbers(ifd, tag)), default)

    def rational(self, ifd: Ifd, tag: int) -> float | None:
        """The first fraction of a tag."""
        entry = ifd.entries.get(tag)
        if entry is None or entry.kind != _RATIONAL or entry.number < 1:
            return None
        numerator, denominator = self._unpacked("II", entry.start)
        return numerator / denominator if denominator else None

    def values(self, ifd: Ifd) -> dict[int, Values]:
        """What an EXIF block can hold of an IFD."""
        return {
            tag: (entry.kind, entry.number, bytes(self.data[entry.start : entry.start + entry.size]))
            for tag, entry in ifd.entries.items()
            if entry.kind <= 13 and entry.size <= 65_535
        }

    def _number(self, code: str, offset: int) -> int:
        if offset + struct.calcsize(code) > len(self.data):
            raise ValueError("the structure ends too early")
        return int(self._unpacked(code, offset)[0])

    def _unpacked(self, codes: str, offset: int) -> tuple[int, ...]:
        size = struct.calcsize(self.order + codes)
        return struct.unpack(self.order + codes, self.data[offset : offset + size])


def ifd_bytes(order: str, at: int, tags: Mapping[int, Values]) -> bytes:
    """An IFD for the even offset `at`, and behind it the values of more than 4 bytes."""
    head, tail = struct.pack(order + "H", len(tags)), bytearray()
    for tag, (kind, count, stored) in sorted(tags.items()):
        head += struct.pack(order + "HHI", tag, kind, count)
        if len(stored) <= 4:
            head += stored.ljust(4, b"\0")
        else:
            head += struct.pack(order + "I", at + 2 + 12 * len(tags) + 4 + len(tail))
            tail += stored + bytes(len(stored) % 2)
    return head + bytes(4) + tail


# ------------------------------------------------------------------------------------------------ EXIF blocks


def clean_exif(block: bytes, width: int, height: int, orientation: int = 1) -> bytes | None:
    """An EXIF block for the upright image: orientation 1, its size, the thumbnail unlinked and cut off or blanked.

    Where the subject is in the image is left out if that was turned or made smaller, and so is the density on the
    sensor if it was made smaller. Everything else keeps its offset, so maker notes stay readable.

    Args:
        block: with or without the six bytes that JPEG puts before it.
        width: of the upright image, in pixels.
        height: of the upright image, in pixels.
        orientation: 1..8, how the image was turned; from 5 on, densities across and down change places.

    Returns:
        None for what is no EXIF.
    """
    data = bytearray(block.removeprefix(b"Exif\0\0"))
    try:
        structure = TiffStructure(data)
        main = None if structure.big else structure.ifd(structure.first)
        if main is None or not main.entries:
            return None
        sub = structure.ifd(structure.number(main, EXIF_IFD, 0))
        thumbnail = structure.ifd(main.following) if main.following else None
    except ValueError:
        return None
    stored = structure.number(sub or main, _WIDTHS[1], 0), structure.number(sub or main, _HEIGHTS[1], 0)
    smaller = all(stored) and stored != ((width, height) if orientation < 5 else (height, width))
    for ifd in (main, *([] if sub is None else [sub])):
        for tags, value in (((ORIENTATION,), 1), (_WIDTHS, width), (_HEIGHTS, height)):
            for entry in (ifd.entries[tag] for tag in tags if tag in ifd.entries):
                _set_whole_number(data, structure.order, entry, value)
        across, down = (
            next((ifd.entries[tag] for tag in tags if tag in ifd.entries), None) for tags in _DENSITIES
        )
        if orientation >= 5 and across and down and across[:2] == down[:2]:
            a, b = (slice(entry.field + 8, entry.field + 12) for entry in (across, down))
            data[a], data[b] = data[b], data[a]
    if sub is not None and (smaller or orientation != 1):
        _remove(data, structure.order, sub, _SUBJECT | (_FOCAL_PLANE if smaller else set()))
    if main.following:
        data[main.link : main.link + 4] = bytes(4)
    if thumbnail is not None:
        start = structure.number(thumbnail, _THUMBNAIL_START, 0)
        end = start + structure.number(thumbnail, _THUMBNAIL_BYTES, 0)
        if max(main.link, thumbnail.link) < start < len(data) <= end + 4:
            del data[start:]
        elif data[start : start + 2] == b"\xff\xd8" and end <= len(data):
            data[start:end] = bytes(end - start)
    # Entries of a broken block may have pointed anywhere, even to its header.
    return bytes(data) if data[:8] == block.removeprefix(b"Exif\0\0")[:8] else None


def _set_whole_number(data: bytearray, order: str, entry: Entry, value: int) -> None:
    """Overwrite an entry's first value where it is a SHORT or LONG; sides of more than 65,535 pixels make it a LONG."""
    if entry.number == 1 and entry.kind == _SHORT and value > 65_535:
        struct.pack_into(order + "HII", data, entry.field + 2, _LONG, 1, value)
    elif entry.number >= 1 and entry.kind in (_SHORT, _LONG):
        fitting = min(value, (1 << 8 * _SIZES[entry.kind]) - 1)
        struct.pack_into(order + _CODES[entry.kind], data, entry.start, fitting)


def _remove(data: bytearray, order: str, ifd: Ifd, tags: Container[int]) -> None:
    """Take entries out of an IFD, where it stands; what they point to stays."""
    start, size = ifd.start, ifd.link + 4 - ifd.start
    fields = [data[at : at + 12] for at in range(start + 2, ifd.link, 12)]
    kept = [field for field in fields if struct.unpack_from(order + "H", field)[0] not in tags]
    entries = struct.pack(order + "H", len(kept)) + b"".join(kept) + data[ifd.link : ifd.link + 4]
    data[start : start + size] = entries.ljust(size, b"\0")


def without_orientation(block: bytes) -> bytes:
    """An EXIF block without the tag of the orientation, which is 1 by then; nothing else moves."""
    data = bytearray(block)
    try:
        structure = TiffStructure(data)
        main = structure.ifd(structure.first)
    except ValueError:
        return block
    if main is None or ORIENTATION not in main.entries:
        return block
    _remove(data, structure.order, main, {ORIENTATION})
    return bytes(data)


def exif_with(block: bytes | None, tags: Mapping[int, Values]) -> bytes:
    """An EXIF block with tags, of its byte order, set in its first IFD, which moves to the end; nothing else moves."""
    data = bytearray(b"II*\0" + bytes(4) if block is None else block + bytes(len(block) % 2))
    structure = TiffStructure(data)
    main = structure.ifd(structure.first)
    struct.pack_into(structure.order + "I", data, 4, len(data))
    return bytes(data) + ifd_bytes(structure.order, len(data), {**stored_values(structure, main), **tags})


def stored_values(structure: TiffStructure, ifd: Ifd | None) -> dict[int, Values]:
    """The entries of an IFD as they can stand in another IFD of the same data, with the same offsets."""
    return {
        tag: (entry.kind, entry.number, bytes(structure.data[entry.field + 8 : entry.field + 12]))
        for tag, entry in ({} if ifd is None else ifd.entries).items()
        if entry.kind <= 13  # others are BigTIFF's
    }


def exif_of_tiff(data: bytes, offset: int | None = None) -> bytes | None:
    """An EXIF block from the first IFD of a TIFF or RAW file; None where that is absent or describes nothing.

    Where the image is in another one, at `offset`, what that says overrules the first, which still describes the
    photograph, but not its density.
    """
    try:
        structure = TiffStructure(data)
        main = structure.ifd(structure.first)
        own = main if offset is None else structure.ifd(offset)
        if main is None or own is None:
            return None
        ifds = [own] if own.start == main.start else [own, main]
        offsets = {
            tag: next(filter(None, (structure.number(ifd, tag, 0) for ifd in ifds)), 0)
            for tag in (EXIF_IFD, GPS_IFD)
        }
        subs = {tag: ifd for tag, offset in offsets.items() if (ifd := structure.ifd(offset)) is not None}
    except ValueError:
        return None
    values = structure.values
    of_main = {tag: found for tag, found in values(main).items() if len(ifds) == 1 or tag not in _DENSITY}
    described = of_main | values(own)
    return exif_of_ifds(structure.order, described, {tag: values(ifd) for tag, ifd in subs.items()})


def exif_of_ifds(
    order: str, main: Mapping[int, Values], subs: Mapping[int, Mapping[int, Values]]
) -> bytes | None:
    """An EXIF block of what describes the photograph in a first IFD, and of the IFDs that its tags `EXIF_IFD`… name."""
    if misplaced := {tag: found for tag, found in main.items() if tag in _OF_TIFF_EP}:
        subs = {**subs, EXIF_IFD: {**misplaced, **subs.get(EXIF_IFD, {})}}
    described = {tag: found for tag, found in main.items() if tag in DESCRIPTIVE - _NOT_COPIED}
    if not (described.keys() | subs.keys()) - _DENSITY:  # resolution alone is nothing
        return None
    tags = described | {tag: (4, 1, bytes(4)) for tag in subs}
    end, behind = 8 + len(ifd_bytes(order, 8, tags)), b""
    for tag, sub in subs.items():
        at = end + len(behind)
        tags[tag] = (4, 1, struct.pack(order + "I", at))
        copied = {tag: found for tag, found in sub.items() if tag not in _NOT_COPIED}
        behind += ifd_bytes(order, at, copied)
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return header + ifd_bytes(order, 8, tags) + behind


def byte_order(block: bytes | None) -> str:
    """Of an EXIF block, `<` or `>`."""
    return ">" if block is not None and block[:2] == b"MM" else "<"


def orientation_of(block: bytes, offset: int | None = None) -> int | None:
    """The orientation 1..8 in an IFD of an EXIF block or TIFF file, the first or that at an offset; None where there
    is none."""
    try:
        structure = TiffStructure(block.removeprefix(b"Exif\0\0"))
        main = structure.ifd(structure.first if offset is None else offset)
    except ValueError:
        return None
    found = 0 if main is None else structure.number(main, ORIENTATION, 0)
    return found if 1 <= found <= 8 else None


def says_adobe_rgb(block: bytes) -> bool:
    """Whether an EXIF block or TIFF file says that colours are Adobe RGB's, as cameras do (DCF 2.0): "R03"."""
    try:
        structure = TiffStructure(block.removeprefix(b"Exif\0\0"))
        inner = structure.ifd(structure.first)
        for tag in (EXIF_IFD, _INTEROPERABILITY_IFD):
            inner = inner and structure.ifd(structure.number(inner, tag, 0))
    except ValueError:
        return False
    index = inner and inner.entries.get(1)
    return bool(index and structure.data[index.start : index.start + 3] == b"R03")
