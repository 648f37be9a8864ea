"""How dense the pixels are, as JFIF, PNG, TIFF, EXIF and BMP store it. Where none is said, there is none."""

import struct
from fractions import Fraction
from typing import Final, NamedTuple, Self

from ucdir.images.exif import Ifd, TiffStructure, Values

_METRE: Final = 0.0254
"""Metres of an inch."""
_X, _Y, _UNIT = 282, 283, 296
_NO_UNIT, _INCH, _CENTIMETRE = 1, 2, 3


class Density(NamedTuple):
    """Pixels per inch, across and down; where `absolute` is false, only their proportion is known."""

    x: float
    y: float
    absolute: bool = True

    @classmethod
    def of(cls, x: float, y: float, per_inch: float | None) -> Self | None:
        """The density of x and y pixels per unit.

        Args:
            x: across.
            y: down.
            per_inch: units of an inch; None where there is no unit.

        Returns:
            None for what says nothing: square pixels without a unit, and nonsense.
        """
        if per_inch is None:
            return cls(x, y, False) if x != y and min(x, y) > 0 and max(x, y) <= 50 * min(x, y) else None
        x, y = (_whole(value * per_inch) if per_inch == _METRE else value * per_inch for value in (x, y))
        return cls(x, y) if 1 <= x <= 65_535 and 1 <= y <= 65_535 else None

    @property
    def turned(self) -> Self:
        """Of the image turned by a quarter."""
        return self._replace(x=self.y, y=self.x)

    @property
    def _ratio(self) -> tuple[int, int]:
        return Fraction(self.x / self.y).limit_denominator(1000).as_integer_ratio()

    # ------------------------------------------------------------------------------------------------- JPEG, PNG, BMP

    @classmethod
    def of_jfif(cls, segment: bytes) -> Self | None:
        """Of the body of an APP0 segment."""
        if not segment.startswith(b"JFIF\0") or len(segment) < 12:
            return None
        unit, x, y = struct.unpack_from(">BHH", segment, 7)
        return cls.of(x, y, {1: 1, 2: 2.54}.get(unit))

    def jfif(self) -> bytes:
        """Unit, x and y in whole numbers, per inch or centimetre, whichever is nearer."""
        if not self.absolute:
            return struct.pack(">BHH", 0, *self._ratio)
        x, y = round(self.x), round(self.y)
        metric = round(self.x / 2.54), round(self.y / 2.54)
        error = abs(x - self.x) + abs(y - self.y)
        if min(metric) < 1 or error <= abs(metric[0] * 2.54 - self.x) + abs(metric[1] * 2.54 - self.y):
            return struct.pack(">BHH", 1, x, y)
        return struct.pack(">BHH", 2, *metric)

    @classmethod
    def of_phys(cls, chunk: bytes) -> Self | None:
        """Of PNG's chunk pHYs."""
        if len(chunk) != 9:
            return None
        x, y, unit = struct.unpack(">IIB", chunk)
        return cls.of(x, y, {1: _METRE}.get(unit))

    def phys(self) -> bytes:
        """PNG's chunk pHYs."""
        if not self.absolute:
            return struct.pack(">IIB", *self._ratio, 0)
        return struct.pack(">IIB", *self._per_metre, 1)

    @classmethod
    def of_bmp(cls, data: bytes) -> Self | None:
        """Of a BMP file."""
        if len(data) < 54 or int.from_bytes(data[14:18], "little") < 40:
            return None
        x, y = struct.unpack_from("<ii", data, 38)
        return cls.of(x, y, _METRE)

    def bmp(self) -> bytes:
        """Bytes 38 to 46 of a BMP file."""
        return struct.pack("<ii", *self._per_metre)

    @property
    def _per_metre(self) -> tuple[int, int]:
        return round(self.x / _METRE), round(self.y / _METRE)

    # ------------------------------------------------------------------------------------------------- TIFF and EXIF

    @classmethod
    def of_ifd(cls, structure: TiffStructure, ifd: Ifd) -> Self | None:
        """Of an IFD's XResolution, YResolution and ResolutionUnit."""
        x, y = structure.rational(ifd, _X), structure.rational(ifd, _Y)
        unit = structure.number(ifd, _UNIT, _INCH)
        if x is None or y is None or unit not in (_NO_UNIT, _INCH, _CENTIMETRE):
            return None
        return cls.of(x, y, {_INCH: 1, _CENTIMETRE: 2.54}.get(unit))

    @classmethod
    def of_exif(cls, block: bytes) -> Self | None:
        """Of an EXIF block; None for 72 per inch, too, which the standard prescribes where it is unknown."""
        try:
            structure = TiffStructure(block.removeprefix(b"Exif\0\0"))
            main = structure.ifd(structure.first)
        except ValueError:
            return None
        found = None if main is None else cls.of_ifd(structure, main)
        return None if found == (72, 72, True) else found

    def tags(self, order: str) -> dict[int, Values]:
        """XResolution, YResolution and ResolutionUnit of an IFD of a byte order, `<` or `>`."""
        x, y = (
            (Fraction(self.x).limit_denominator(10_000), Fraction(self.y).limit_denominator(10_000))
            if self.absolute
            else map(Fraction, self._ratio)
        )
        unit = _INCH if self.absolute else _NO_UNIT
        rationals = {
            tag: (5, 1, struct.pack(order + "II", *value.as_integer_ratio()))
            for tag, value in ((_X, x), (_Y, y))
        }
        return {**rationals, _UNIT: (3, 1, struct.pack(order + "H", unit))}


def _whole(value: float) -> float:
    """A whole number that rounding to whole pixels per metre changed, else the value."""
    return round(value) if abs(value - round(value)) <= _METRE / 2 else value
