"""The chunks of a PNG file: checked before decoding, and added after encoding."""

import struct
import zlib
from typing import Final, NamedTuple

from ucdir.images.photo import Metadata

MAX_CHUNKS: Final = 1_000_000
"""Most chunks that are looked at; a file of 1 GiB in pieces of 8 KiB has 131,072."""

_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


class PngHeader(NamedTuple):
    """Width and height in pixels, and the number of frames (1 where it is not animated)."""

    width: int
    height: int
    frames: int


def png_header(data: bytes) -> PngHeader:
    """Walk all chunks and check those that pixels depend on against their checksums.

    Raises:
        ValueError: the file is cut off or damaged; the text says where.
    """
    view = memoryview(data)
    header: PngHeader | None = None
    frames, at = 1, 8
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            raise ValueError("it ends before its last chunk")
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise ValueError(f"it ends within the chunk {name.decode('ascii', 'replace')}")
        if name in _CRITICAL and zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise ValueError(f"the checksum of its chunk {name.decode('ascii')} is wrong")
        if header is None:
            if name != b"IHDR" or length != 13:
                raise ValueError("it does not begin with a header chunk")
            width, height = struct.unpack_from(">II", data, at + 8)
            header = PngHeader(width, height, 1)
        elif name == b"acTL" and length == 8:
            frames = int(struct.unpack_from(">I", data, at + 8)[0])
        elif name == b"IEND":
            return PngHeader(header.width, header.height, frames)
        at = end + 4
    raise ValueError("it has too many chunks")


def with_metadata(data: bytes, kept: Metadata) -> list[bytes | memoryview]:
    """A PNG file in pieces, with the chunks iCCP, eXIf and iTXt (XMP) behind its header chunk."""
    chunks = {
        b"iCCP": kept.icc and b"icc\0\0" + zlib.compress(kept.icc),
        b"eXIf": kept.exif,
        b"iTXt": kept.xmp and b"XML:com.adobe.xmp\0\0\0\0\0" + kept.xmp,
    }
    added = [_chunk(name, body) for name, body in chunks.items() if body is not None]
    return [data[:33], *added, memoryview(data)[33:]]


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
