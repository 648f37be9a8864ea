"""The quantised DCT coefficients of a JPEG file, as they are coded: what the file says, before any rounding to pixels.

Pixels do not tell them: a decoder clips to 0..255, and interpolates subsampled colour. So the entropy code itself is
read here (ITU-T T.81, Annexes F and G): Huffman, sequential and progressive, any whole subsampling.
"""

import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ucdir.errors import ImageError
from ucdir.images.decode import DecodeError
from ucdir.images.jpeg import ZIGZAG, decodable, dqt_tables, jpeg_header
from ucdir.images.large import in_file, reading
from ucdir.limits import MAX_IMAGE_PIXELS
from ucdir.memory import release

_SOS, _EOI, _DQT, _DHT, _DRI, _APP0, _APP14 = 0xDA, 0xD9, 0xDB, 0xC4, 0xDD, 0xE0, 0xEE
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_NEXT_MARKER: Final = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_RESTART: Final = re.compile(rb"\xff+[\xd0-\xd7]")
_PLACE: Final = tuple(int(place) for place in ZIGZAG)

_LARGE: Final = 8_000_000
"""Numbers from which on they are kept in a file."""
_PIECE: Final = 1 << 20
"""Numbers that are computed at once."""
_RELEASED_UNITS: Final = 1 << 14
"""Blocks coded together after which what was touched of files is given back."""

Codes = list[tuple[int, int, int]]
"""What the next 16 bits begin with, [65536]: bits of the code, high and low half of its symbol."""


@dataclass(frozen=True, slots=True)
class CoefficientPlane:
    """Coefficients of one component: a coefficient of the image lay in `[(levels - 1/2) table, (levels + 1/2) table]`.

    Args:
        levels: int16 [rows of blocks, blocks, 8, 8], a row of a block is a vertical frequency.
        table: float32 [8,8], 1 or more.
        factors: rows and columns of the image that were averaged for one sample.
    """

    levels: npt.NDArray[np.int16]
    table: npt.NDArray[np.float32]
    factors: tuple[int, int]


@dataclass(frozen=True, slots=True)
class JpegCoefficients:
    """What a JPEG file says.

    Args:
        height: rows of the image as stored.
        width: columns of the image as stored.
        planes: Y, or Y, Cb and Cr.
        orientation: EXIF orientation that turns the stored image upright.
    """

    height: int
    width: int
    planes: tuple[CoefficientPlane, ...]
    orientation: int = 1


def jpeg_coefficients(data: bytes, orientation: int = 1) -> JpegCoefficients:
    """Decode the entropy code of a JPEG file of 8 bits a sample; about a second for a million non-zero coefficients.

    Raises:
        ImageError: it is coded in a way that is not read here; the text continues one that begins with the file's name.
        DecodeError: it is damaged.
        OutputError: there is no space for the files that the coefficients of a large one are kept in.
    """
    try:
        frame = _decode(decodable(data, jpeg_header(data)))
        planes = tuple(component.plane() for component in frame.components)
    except (IndexError, KeyError, OverflowError, ValueError) as error:
        raise DecodeError("its coefficients cannot be decoded") from error
    return JpegCoefficients(frame.height, frame.width, planes, orientation)


# ----------------------------------------------------------------------------------------------------------- segments


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Marker, body and, behind the header of a scan, its entropy-coded data."""
    at = 2
    while at + 4 <= len(data) and data[at + 1] != _EOI:
        if data[at + 1] == 0xFF:
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        scan = b""
        if data[at + 1] == _SOS:
            found = _NEXT_MARKER.search(data, end)
            scan = data[end : len(data) if found is None else found.start()]
        yield data[at + 1], data[at + 4 : end], scan
        at = end + len(scan)


def _decode(data: bytes) -> "_Frame":
    frame: _Frame | None = None
    codes: dict[int, Codes] = {}
    tables: dict[int, npt.NDArray[np.int64]] = {}
    interval, jfif, adobe = 0, False, None
    for marker, body, scan in _segments(data):
        if marker == _DHT:
            codes.update(_huffman_codes(body))
        elif marker == _DQT:
            tables.update(dqt_tables(body))
        elif marker == _DRI:
            interval = int.from_bytes(body[:2], "big")
        elif marker == _APP0 and body.startswith(b"JFIF\0"):
            jfif = True
        elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        elif marker in (*_SEQUENTIAL, _PROGRESSIVE):
            if frame is not None:
                raise ValueError
            frame = _Frame(body, progressive=marker == _PROGRESSIVE)
        elif 0xC3 <= marker <= 0xCF and marker not in (0xC8, 0xCC):
            raise ImageError("is a JPEG file that is not coded by Huffman's method; leave out --consistent.")
        elif marker == _SOS and frame is not None:
            if not codes:
                raise ImageError(
                    "is a JPEG file without Huffman tables, as the frames of films are; leave out --consistent."
                )
            _Scan(frame, body, codes, tables).decode(scan, interval)
    if frame is None:
        raise ValueError
    _check(frame, adobe, jfif=jfif)
    return frame


def _check(frame: "_Frame", adobe: int | None, *, jfif: bool) -> None:
    """Refuse colours other than Y, Cb and Cr, and coefficients that are known in part."""
    ids = bytes(c.identifier for c in frame.components)
    if len(ids) == 3 and not jfif and (adobe == 0 or (adobe is None and ids == b"RGB")):
        raise ImageError("is a JPEG file of R, G and B instead of Y, Cb and Cr; leave out --consistent.")
    if any(any(c.unknown_bits) for c in frame.components):  # which decoders take for 0
        raise ImageError("is a JPEG file that holds only some scans of the image; leave out --consistent.")


def _huffman_codes(body: bytes) -> Iterator[tuple[int, Codes]]:
    """Class (0: DC, 16: AC) plus number, and codes, of the tables in a DHT segment."""
    at = 0
    while at + 17 <= len(body):
        counts, symbols = body[at + 1 : at + 17], body[at + 17 :]
        codes: Codes = []
        for length, count in enumerate(counts, start=1):
            for symbol in symbols[:count]:
                codes += [(length, symbol >> 4, symbol & 15)] * (1 << 16 - length)
            symbols = symbols[count:]
        if len(codes) > 1 << 16:
            raise ValueError
        codes += [(16, 64, 1)] * ((1 << 16) - len(codes))  # no code: leads beyond the end of a block
        yield body[at], codes
        at += 17 + sum(counts)


class _Component:
    """One component's place in the file, and its coefficients as they become known."""

    table: npt.NDArray[np.int64] | None = None

    def __init__(self, identifier: int, sampling: int, number: int) -> None:
        self.identifier, self.number = identifier, number
        self.across, self.down = sampling >> 4, sampling & 15
        self.unknown_bits = [16] * 64  # of each coefficient, the lowest ones

    def allocate(self, frame: "_Frame") -> None:
        samples = (-(-frame.height * self.down // frame.down), -(-frame.width * self.across // frame.across))
        self.rows, self.blocks = (-(-n // 8) for n in samples)
        self.stride = frame.units[1] * self.across
        self.values = _numbers("h", 64 * self.stride * frame.units[0] * self.down)
        self.factors = (frame.down // self.down, frame.across // self.across)

    def plane(self) -> CoefficientPlane:
        assert self.table is not None  # noqa: S101 (for the type checker)
        levels = np.frombuffer(self.values, np.int16).reshape(-1, self.stride, 8, 8)
        return CoefficientPlane(
            levels[: self.rows, : self.blocks], self.table.reshape(8, 8).astype(np.float32), self.factors
        )


class _Frame:
    """The image's size and components, of a SOF segment."""

    def __init__(self, body: bytes, *, progressive: bool) -> None:
        if len(body) < 6 or len(body) < 6 + 3 * body[5]:
            raise ValueError
        if body[0] != 8:
            raise ImageError(f"is a JPEG file of {body[0]} bits a sample; leave out --consistent.")
        self.progressive = progressive
        self.height, self.width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        self.components = [_Component(*body[6 + 3 * n : 9 + 3 * n]) for n in range(body[5])]
        if not 0 < self.height * self.width <= MAX_IMAGE_PIXELS:
            raise ValueError
        if len(self.components) not in (1, 3):
            raise ImageError(
                f"is a JPEG file of {len(self.components)} colours (CMYK has 4); leave out --consistent."
            )
        if len(self.components) == 1:  # the factors of a single component mean nothing
            self.components[0].across = self.components[0].down = 1
        self.across, self.down = (
            max(getattr(c, side) for c in self.components) for side in ("across", "down")
        )
        if not all(c.across and c.down for c in self.components):
            raise ValueError
        if any(self.across % c.across or self.down % c.down for c in self.components):
            raise ImageError("is a JPEG file of a subsampling that is not whole; leave out --consistent.")
        self.units = -(-self.height // (8 * self.down)), -(-self.width // (8 * self.across))
        for component in self.components:
            component.allocate(self)


# --------------------------------------------------------------------------------------------------------------- scans


class _Scan:
    """One scan of a file: some components, a band `first` to `last` of their coefficients, from some bit `low` on."""

    def __init__(
        self,
        frame: _Frame,
        body: bytes,
        codes: dict[int, Codes],
        tables: dict[int, npt.NDArray[np.int64]],
    ) -> None:
        by_identifier = {c.identifier: c for c in frame.components}
        self.frame, self.components = frame, []
        for n in range(body[0]):
            chosen = body[2 + 2 * n]
            dc, ac = codes.get(chosen >> 4, []), codes.get(16 + (chosen & 15), [])
            self.components.append((by_identifier[body[1 + 2 * n]], dc, ac))
        self.first, self.last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
        self.low = bits & 15 if frame.progressive else 0
        known = slice(self.first, self.last + 1) if frame.progressive else slice(64)
        for component, *_ in self.components:
            if component.table is None:  # that of the first scan holds for all, as in libjpeg
                component.table = tables[component.number]
            component.unknown_bits[known] = [self.low] * len(component.unknown_bits[known])
        self.block: Callable[[int, _Component, Codes, Codes, int], None]
        if not frame.progressive:
            self.block = self._sequential
        elif bits >> 4:
            self.block = self._ac_refined if self.first else self._dc_refined
        else:
            self.block = self._ac if self.first else self._dc
        self.windows: Any = ()
        self.at = self.blocks_to_skip = 0
        self.predicted = [0] * len(self.components)

    def decode(self, data: bytes, interval: int) -> None:
        """Decode every block; predictions start anew behind each restart marker."""
        parts = iter(_RESTART.split(data))
        for number, blocks in enumerate(self._units()):
            if number == 0 or (interval and number % interval == 0):
                part = next(parts, None)
                if part is None:
                    raise ValueError
                self.windows, self.at, self.blocks_to_skip = _windows(part), 0, 0
                self.predicted = [0] * len(self.components)
            for n, at in blocks:
                self.block(n, *self.components[n], at)
            if number % _RELEASED_UNITS == 0:
                for numbers in (self.windows, *(component.values for component, *_ in self.components)):
                    release(np.asarray(numbers))

    def _units(self) -> Iterator[list[tuple[int, int]]]:
        """The components and places of the blocks that are coded together."""
        if len(self.components) == 1:
            only = self.components[0][0]
            for row in range(only.rows):
                for block in range(only.blocks):
                    yield [(0, 64 * (row * only.stride + block))]
            return
        places = [
            (n, c.down, c.across, c.stride, v, h)
            for n, (c, *_) in enumerate(self.components)
            for v in range(c.down)
            for h in range(c.across)
        ]
        for row in range(self.frame.units[0]):
            for unit in range(self.frame.units[1]):
                yield [
                    (n, 64 * ((row * down + v) * stride + unit * across + h))
                    for n, down, across, stride, v, h in places
                ]

    def _bits(self, count: int) -> int:
        value: int = self.windows[self.at >> 3] >> (64 - (self.at & 7) - count) & ((1 << count) - 1)
        self.at += count
        return value

    def _code(self, codes: Codes) -> tuple[int, int]:
        length, high, low = codes[self.windows[self.at >> 3] >> (48 - (self.at & 7)) & 0xFFFF]
        self.at += length
        return high, low

    def _value(self, size: int) -> int:
        """A signed number of `size` bits: one without its leading 1 is negative (T.81, F.2.2.1)."""
        bits = self._bits(size)
        return bits if size == 0 or bits >> (size - 1) else bits - (1 << size) + 1

    def _dc(self, n: int, component: _Component, dc: Codes, _ac: Codes, at: int) -> None:
        high, low = self._code(dc)
        self.predicted[n] += self._value(16 * high + low)
        component.values[at] = self.predicted[n] << self.low

    def _dc_refined(self, _n: int, component: _Component, _dc: Codes, _ac: Codes, at: int) -> None:
        component.values[at] |= self._bits(1) << self.low

    def _sequential(self, n: int, component: _Component, dc: Codes, ac: Codes, at: int) -> None:
        self._dc(n, component, dc, ac, at)
        values, windows, position, k = component.values, self.windows, self.at, 1
        while k < 64:  # most of the time is spent here, hence without `_code` and `_value`
            window, shift = windows[position >> 3], 64 - (position & 7)
            length, run, size = ac[window >> (shift - 16) & 0xFFFF]
            position += length + size
            if size:
                k += run
                bits = window >> (shift - length - size) & ((1 << size) - 1)
                values[at + _PLACE[k]] = bits if bits >> (size - 1) else bits - (1 << size) + 1
                k += 1
            elif run == 15:
                k += 16
            else:
                break
        self.at = position

    def _ac(self, _n: int, component: _Component, _dc: Codes, ac: Codes, at: int) -> None:
        if self.blocks_to_skip:
            self.blocks_to_skip -= 1
            return
        k = self.first
        while k <= self.last:
            run, size = self._code(ac)
            if size:
                k += run
                component.values[at + _PLACE[k]] = self._value(size) << self.low
                k += 1
            elif run == 15:
                k += 16
            else:
                self.blocks_to_skip = (1 << run) + self._bits(run) - 1
                break

    def _ac_refined(self, _n: int, component: _Component, _dc: Codes, ac: Codes, at: int) -> None:
        k = self.first
        while not self.blocks_to_skip and k <= self.last:
            run, size = self._code(ac)
            if not size and run < 15:
                self.blocks_to_skip = (1 << run) + self._bits(run)
                break
            new = (1 if self._bits(1) else -1) << self.low if size else 0
            k = self._refine(component.values, at, k, run)
            if new:
                component.values[at + _PLACE[k]] = new
            k += 1
        if self.blocks_to_skip:
            self._refine(component.values, at, k, 64)
            self.blocks_to_skip -= 1

    def _refine(self, values: "array[int]", at: int, k: int, zeros: int) -> int:
        """Add a bit to each coefficient that is not 0, past so many that are; the place where it stops."""
        for place in range(k, self.last + 1):
            value = values[at + _PLACE[place]]
            if value:
                if self._bits(1) and not abs(value) >> self.low & 1:
                    values[at + _PLACE[place]] = value + (1 << self.low if value > 0 else -1 << self.low)
            elif zeros == 0:
                return place
            else:
                zeros -= 1
        return self.last + 1


def _windows(part: bytes) -> Any:
    """The 64 bits from each byte on; stuffed zeros are removed, and zeros follow the end."""
    data = np.frombuffer(part.replace(b"\xff\x00", b"\xff") + bytes(16), np.uint8)
    words = _numbers("Q", len(data) - 7)
    numbers = np.frombuffer(words, np.uint64)
    for start in range(0, len(numbers), _PIECE):
        some = numbers[start : start + _PIECE]
        for place in range(start, start + 8):
            some <<= np.uint64(8)
            some |= data[place : place + len(some)]
        release(numbers)
    return words


def _numbers(code: str, count: int) -> Any:
    """Zeros, of a type as `array` names it; of a large image in a file, where such are kept in files."""
    folder = reading().folder
    if folder is None or count < _LARGE:
        return array(code, [0]) * count
    numbers: Any = in_file((count,), np.dtype(code), folder)
    return memoryview(numbers)
