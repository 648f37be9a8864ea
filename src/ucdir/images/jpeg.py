"""JPEG headers: the segments before the first scan, and the quality that their quantisation tables amount to."""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Tables = npt.NDArray[np.int64]
"""[n,64], each table in rows of vertical frequency."""

# Annex K of the JPEG standard (ITU-T T.81), tables K.1 (luminance) and K.2 (chrominance).
_ANNEX_K: Final = np.array(
    [
        [
            *(16, 11, 10, 16, 24, 40, 51, 61),
            *(12, 12, 14, 19, 26, 58, 60, 55),
            *(14, 13, 16, 24, 40, 57, 69, 56),
            *(14, 17, 22, 29, 51, 87, 80, 62),
            *(18, 22, 37, 56, 68, 109, 103, 77),
            *(24, 35, 55, 64, 81, 104, 113, 92),
            *(49, 64, 78, 87, 103, 121, 120, 101),
            *(72, 92, 95, 98, 112, 100, 103, 99),
        ],
        [
            *(17, 18, 24, 47, 99, 99, 99, 99),
            *(18, 21, 26, 66, 99, 99, 99, 99),
            *(24, 26, 56, 99, 99, 99, 99, 99),
            *(47, 66, 99, 99, 99, 99, 99, 99),
            *(99,) * 32,
        ],
    ],
    dtype=np.int64,
)

# The place of the k-th coefficient of the zigzag order in a table of rows.
ZIGZAG: Final = np.array(
    sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8)))
)

_SOS, _EOI, _DQT, _COM = 0xDA, 0xD9, 0xDB, 0xFE
APP: Final = 0xE0
"""The marker APP0; those of APP1 to APP15 follow it."""
_SEQUENTIAL: Final = (0xC0, 0xC1)
_FOREIGN: Final = {0xDE: "a hierarchical JPEG", 0xF7: "a JPEG-LS"}
"""What the markers of frames of other codings say."""
_FRAMES: Final = frozenset({*range(0xC0, 0xD0), *_FOREIGN} - {0xC4, 0xC8, 0xCC})
MAX_SEGMENTS: Final = 10_000
"""Most segments that are looked at; encoders write up to some hundreds, of profiles and XMP."""
_NEXT_MARKER: Final = re.compile(rb"\xff+[^\x00\x01\xff\xd0-\xd8]", re.DOTALL)
_NO_SEGMENTS: Final = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
"""Second bytes after 0xFF that do not begin a segment: a stuffed 0xFF, TEM, restarts and the start of the image."""


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the segments before the first scan say.

    Args:
        precision: bits a sample; 0 if there is no frame header.
        width: pixels.
        height: pixels.
        components: table number of each colour component, luminance first.
        tables: table number -> int64 [64], rows of vertical frequency.
        junk: spans (start, end) of bytes that belong to no segment; decoders skip them.
        segments: markers and bodies of the segments APP0 to APP15 and COM.
        corrections: offsets of fields that decoders warn of and ignore, and what stands there in other files.
        scans: how many there are.
        foreign: what kind of file it is, with its article, if its coding is not libjpeg's; else empty.
        end: where the image ends and other data may begin; 0 if its end was not found.
    """

    precision: int = 0
    width: int = 0
    height: int = 0
    components: tuple[int, ...] = ()
    tables: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    junk: tuple[tuple[int, int], ...] = ()
    segments: tuple[tuple[int, bytes], ...] = ()
    corrections: tuple[tuple[int, bytes], ...] = ()
    scans: int = 0
    foreign: str = ""
    end: int = 0

    def app(self, number: int) -> Iterator[bytes]:
        """The bodies of the segments APPn."""
        return (body for marker, body in self.segments if marker == APP + number)

    @property
    def comments(self) -> tuple[str, ...]:
        """The texts of COM segments."""
        return tuple(
            body.rstrip(b"\0").decode(*_coding(body)) for marker, body in self.segments if marker == _COM
        )


def _coding(text: bytes) -> tuple[str, str]:
    """Of a comment, for which the standard names none: UTF-8 if it can be, else Latin-1."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return "latin-1", "strict"
    return "utf-8", "strict"


def jpeg_header(data: bytes) -> JpegHeader:
    """Walk the segments up to the first scan; stop where the file is damaged."""
    precision = width = height = 0
    foreign, end = "", 0
    components: tuple[int, ...] = ()
    tables: dict[int, npt.NDArray[np.int64]] = {}
    junk: list[tuple[int, int]] = []
    segments: list[tuple[int, bytes]] = []
    corrections: list[tuple[int, bytes]] = []
    scans: list[int] = []
    sequential, adobe = False, 0
    at = 2
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker in _NO_SEGMENTS:
            junk.append((at, at := _next_segment(data, at)))
            continue
        if marker == 0xFF:
            at += 1
            continue
        if marker == _SOS:
            scans, end = _scans(data, at)
            corrections += _scan_corrections(data, scans) if sequential else ()
        if marker in (_SOS, _EOI) or len(segments) > MAX_SEGMENTS:
            break
        body = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        if marker == _DQT:
            tables.update(dqt_tables(body))
        elif marker in _FRAMES and len(body) >= 6 and not precision:
            precision, foreign = body[0], _FOREIGN.get(marker, "")
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            components = tuple(body[8 : 6 + 3 * body[5] : 3])
            sequential = marker in _SEQUENTIAL
        elif APP <= marker < APP + 16 or marker == _COM:
            segments.append((marker, body))
            if body.startswith(b"JFIF\0") and body[5:6] != b"\1":  # of a version to come
                corrections.append((at + 9, b"\1"))
            elif body.startswith(b"Adobe") and body[11:12] > b"\2":
                adobe = at + 15
        at += 4 + len(body)
    if adobe:  # a transform of colours to come; YCCK's is 2
        corrections.append((adobe, b"\2" if len(components) == 4 else b"\1"))
    return JpegHeader(
        precision,
        width,
        height,
        components,
        tables,
        tuple(junk),
        tuple(segments),
        tuple(corrections),
        len(scans),
        foreign,
        end,
    )


def _scans(data: bytes, at: int) -> tuple[list[int], int]:
    """Where the scans begin, of which one is at `at`, and where the image ends, behind its last marker; 0: unknown."""
    marker, scans = _SOS, []
    for _ in range(MAX_SEGMENTS):
        if marker == _SOS:
            scans.append(at)
        found = _NEXT_MARKER.search(data, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
        if found is None:
            break
        if (marker := data[found.end() - 1]) == _EOI:
            return scans, found.end()
        at = found.end() - 2
    return scans, 0


def _scan_corrections(data: bytes, scans: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Scans of all coefficients that say they are of some; only a progressive file has such."""
    for at in scans:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[end - 3 : end] != b"\0\x3f\0" and end - at >= 8:
            yield end - 3, b"\0\x3f\0"


def _next_segment(data: bytes, at: int) -> int:
    """Where the next segment begins, or the end."""
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        if data[at + 1] not in _NO_SEGMENTS:
            return at
        at += 2
    return len(data)


def decodable(data: bytes, header: JpegHeader) -> bytes:
    """The file without what decoders warn of, though no pixel is lost: junk, and fields that they ignore."""
    if header.corrections or header.junk:
        data = bytes(data)  # of a `FileBytes`
    if header.corrections:
        corrected = bytearray(data)
        for at, right in header.corrections:
            corrected[at : at + len(right)] = right
        data = bytes(corrected)
    starts, ends = (0, *(end for _, end in header.junk)), (*(start for start, _ in header.junk), len(data))
    return b"".join(data[start:end] for start, end in zip(starts, ends, strict=True)) if header.junk else data


def dqt_tables(body: bytes) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """The numbers and tables of a DQT segment."""
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        end = at + 65 + 64 * wide
        if wide > 1 or len(body) < end:
            return
        table = np.empty(64, dtype=np.int64)
        table[ZIGZAG] = np.frombuffer(body[at + 1 : end], dtype=">u2" if wide else "u1")
        yield number, table
        at = end


def ijg_tables(quality: int) -> Tables:
    """The tables of the Independent JPEG Group, [2,64], 1..255: luminance, chrominance.

    `T = clip( ⌊(s T₀ + 50) / 100⌋, 1, 255 )` with `s = ⌊5000 / quality⌋` below 50, else `200 - 2 quality`.
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((_ANNEX_K * scale + 50) // 100, 1, 255)


@functools.cache
def _candidates() -> npt.NDArray[np.float64]:
    """Logarithms of the tables of quality 1 to 100, [100,2,64]."""
    logarithms: npt.NDArray[np.float64] = np.log(np.stack([ijg_tables(quality) for quality in range(1, 101)]))
    return logarithms


def estimate_quality(header: JpegHeader) -> int | None:
    """The quality 1..100 whose tables are these or, by least squares of their logarithms, come nearest.

    Returns None for a file without tables, which is not a lossy JPEG.

    Example:
        >>> tables = dict(enumerate(ijg_tables(35)))
        >>> estimate_quality(JpegHeader(8, 16, 16, (0, 1, 1), tables))
        35
    """
    numbers = list(dict.fromkeys(header.components))[:2] or sorted(header.tables)[:2]
    found = [header.tables[number] for number in numbers if number in header.tables]
    if not found:
        return None
    measured = np.log(np.maximum(np.stack(found), 1))
    distance = np.square(_candidates()[:, : len(found)] - measured).sum(axis=(1, 2))
    return int(np.argmin(distance)) + 1
