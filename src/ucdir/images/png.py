"""Chunks of PNG files, and the text in them."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

Texts = tuple[tuple[str, str], ...]
"""Keyword and text, such as `("Author", "A. Nother")`; a comment of JPEG and GIF has the keyword "Comment"."""


RAW_PROFILE: Final = "Raw profile type "
"""What the keyword of a text begins with that is EXIF, IPTC or XMP as hexadecimal digits."""


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the chunks but those of pixels, up to a damaged one; and nothing of other files."""
    at = 8 if data.startswith(b"\x89PNG\r\n\x1a\n") else len(data)
    while at + 12 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name != b"IDAT":
            yield name, data[at + 8 : at + 8 + size]
        at += 12 + size


def png_texts(data: bytes, most: int) -> tuple[Texts, bool]:
    """Keywords and texts of the chunks tEXt, zTXt and iTXt, of at most `most` bytes; and whether they are all."""
    texts: list[tuple[str, str]] = []
    for name, body in png_chunks(data):
        if name not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        keyword, _, text = body.partition(b"\0")
        packed = name == b"zTXt"
        if name == b"iTXt":
            packed = text[:1] == b"\1"
            text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
        elif packed:
            text = text[1:]
        if packed:
            try:
                text = zlib.decompressobj().decompress(text, most)
            except zlib.error:
                continue
        most -= len(text) + 100  # of memory for each
        if most <= 0:
            return tuple(texts), False
        coding = "utf-8" if name == b"iTXt" else "latin-1"
        texts.append((keyword.decode("latin-1"), text.decode(coding, "replace")))
    return tuple(texts), True


def png_chunk(name: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def text_chunk(keyword: str, text: str) -> bytes:
    """A chunk of text: tEXt, or where Latin-1 has not all its letters, iTXt; long ones are compressed."""
    key = keyword.encode("latin-1", "replace")[:79] or b"Comment"
    try:
        plain = text.encode("latin-1")
    except UnicodeEncodeError:
        packed = len(text) > 1000
        body = zlib.compress(text.encode()) if packed else text.encode()
        return png_chunk(b"iTXt", key + bytes((0, packed, 0, 0, 0)) + body)
    return (
        png_chunk(b"zTXt", key + b"\0\0" + zlib.compress(plain))
        if len(plain) > 1000
        else png_chunk(b"tEXt", key + b"\0" + plain)
    )


def raw_profile(texts: Texts, *kinds: str) -> bytes | None:
    """What ImageMagick stores in a text `Raw profile type exif`: lines of a name, a length, and hexadecimal digits."""
    for keyword, text in texts:
        if keyword in [RAW_PROFILE + kind for kind in kinds]:
            try:
                return bytes.fromhex("".join(text.strip().split("\n")[2:]))
            except ValueError:
                return None
    return None
