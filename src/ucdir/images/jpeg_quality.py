"""The quality of a JPEG file, told from the quantisation tables it carries."""

import functools
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

# Annex K of the JPEG standard (ITU-T T.81), tables K.1 and K.2, in rows of vertical frequency.
_LUMINANCE: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE: Final = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
_ANNEX_K: Final = np.array([_LUMINANCE, _CHROMINANCE], dtype=np.int64).reshape(2, 64)

# Where the k-th coefficient of the zigzag order stands in a row-by-row table.
_ZIGZAG: Final = np.array(
    sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8)))
)

_SOS, _EOI, _DQT = 0xDA, 0xD9, 0xDB
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What the segments before the first scan say.

    Args:
        precision: bits a sample; 0 if there is no frame header.
        width: pixels.
        height: pixels.
        components: table number of each colour component, luminance first.
        tables: table number -> int64 [64], rows of vertical frequency.
        junk: places (start, end) of bytes between the segments, which belong to none; decoders skip them.
    """

    precision: int = 0
    width: int = 0
    height: int = 0
    components: tuple[int, ...] = ()
    tables: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    junk: tuple[tuple[int, int], ...] = ()


def jpeg_header(data: bytes) -> JpegHeader:
    """Walks the segments up to the first scan; stops where the file is damaged."""
    precision = width = height = 0
    components: tuple[int, ...] = ()
    tables: dict[int, npt.NDArray[np.int64]] = {}
    junk: list[tuple[int, int]] = []
    at = 2
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0x00 or marker in _ALONE:
            start, at = at, _next_marker(data, at)
            junk.append((start, at))
            continue
        if marker == 0xFF:
            at += 1
            continue
        if marker in (_SOS, _EOI):
            break
        body = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        if marker == _DQT:
            tables.update(_tables(body))
        elif marker in _FRAMES and len(body) >= 6 and not precision:
            precision = body[0]
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            components = tuple(body[8 : 6 + 3 * body[5] : 3])
        at += 4 + len(body)
    return JpegHeader(precision, width, height, components, tables, tuple(junk))


def _next_marker(data: bytes, at: int) -> int:
    """The place of the next marker of a segment, or the end."""
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        if data[at + 1] not in (0x00, *_ALONE):
            return at
        at += 2
    return len(data)


def without_junk(data: bytes, header: JpegHeader) -> bytes:
    """The file without the bytes that belong to no segment before the first scan."""
    pieces, end = [], 0
    for start, stop in header.junk:
        pieces.append(data[end:start])
        end = stop
    return b"".join([*pieces, data[end:]]) if header.junk else data


def _tables(body: bytes) -> dict[int, npt.NDArray[np.int64]]:
    """The tables of one DQT segment."""
    found: dict[int, npt.NDArray[np.int64]] = {}
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        if wide > 1 or len(body) < at + 65 + 64 * wide:
            break
        values = np.frombuffer(body[at + 1 : at + 65 + 64 * wide], dtype=">u2" if wide else "u1")
        table = np.empty(64, dtype=np.int64)
        table[_ZIGZAG] = values
        found[number] = table
        at += 65 + 64 * wide
    return found


def ijg_tables(quality: int) -> npt.NDArray[np.int64]:
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


def estimate(header: JpegHeader) -> int | None:
    """The quality 1..100 whose tables are these or, by least squares of their logarithms, come nearest.

    Returns None for a file without tables, which is not a lossy JPEG.

    Example:
        >>> tables = dict(enumerate(ijg_tables(35)))
        >>> estimate(JpegHeader(8, 16, 16, (0, 1, 1), tables))
        35
    """
    numbers = list(dict.fromkeys(header.components))[:2] or sorted(header.tables)[:2]
    found = [header.tables[number] for number in numbers if number in header.tables]
    if not found:
        return None
    measured = np.log(np.maximum(np.stack(found), 1))
    distance = np.square(_candidates()[:, : len(found)] - measured).sum(axis=(1, 2))
    return int(np.argmin(distance)) + 1
