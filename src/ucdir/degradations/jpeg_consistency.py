"""The nearest image that a JPEG file does not contradict: compressed again, it gives the file's own coefficients."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ucdir.errors import DataError
from ucdir.images.jpeg_coefficients import CoefficientPlane, JpegCoefficients
from ucdir.images.large import like
from ucdir.images.pixels import Pixels
from ucdir.memory import copied, put, release

Floats = npt.NDArray[np.float32]

MARGIN: Final = 1.0
"""How far inside its cell a coefficient is moved, in levels: three standard deviations (0.35) of what rounding to whole
R, G, B and then Y, Cb, Cr changes in it. At most `INSIDE` of the way to its middle."""

INSIDE: Final = 0.3

CLOSE: Final = 0.1
"""A coefficient this near to the edge of its cell, in levels, counts as outside, as integer DCTs differ so much."""

ROUNDS: Final = 100
"""Most corrections of an MCU; nearly all need fewer than 10, and only those that are not done are worked on."""

COPIED: Final = 0.998
"""Share of the coefficients, beginning with the file's own pixels, that shows that its outside copies the edge. At
qualities 5 to 90 it is 0.9998 or more of libjpeg's files; of others, 0.75 to 0.998."""

ALMOST: Final = 0.97
"""The same for tables so fine that their mean is below `FINE`, as a fraction of what is reached without copies."""

FINE: Final = 8
"""About quality 93."""

_BAND_PIXELS: Final = 1 << 20


def nearest_consistent(pixels: Pixels, file: JpegCoefficients, rounds: int = ROUNDS) -> npt.NDArray[np.uint8]:
    r"""Project an image onto the images that a JPEG file may have been made of.

    With the encoder's colour transform, subsampling and DCT, `E`, a file of levels `q` and table `T` says

        |E(x) / T - q| <= 1/2

    for every coefficient, which is a convex set (a parallelepiped), as is the gamut `0 <= x <= 255`. Alternating
    projections onto both (Bregman 1965) find a point of their intersection, near the projection of where they begin:

        c = E(⌊x⌉),   x <- clip( x + E⁺( clip(c, (q - 1/2) T + m, (q + 1/2) T - m) - c ), 0, 255 )

    where a coefficient inside its cell stays as it is, and one outside moves to a margin `m` within it. E is that of
    libjpeg with its rounding of Y, Cb, Cr to whole levels. x is not rounded, so that corrections of less than half a
    level add up until they change `⌊x⌉`, which is the result. E⁺ is the inverse DCT and colour transform, and a
    sample of subsampled colour is repeated, the smallest change that gives their mean. Blocks that are coded together
    (MCUs) are independent of others.

    Args:
        pixels: uint8 [H,W,C] as the file stores it (not turned upright): 1 channel if the file is grey, else 3.
        file: of the JPEG file.
        rounds: most corrections of an MCU; four times as many where an edge cuts it off.

    Returns:
        uint8 [H,W,C], a new array, in a file if the image lies in one. Where cells are as fine as the rounding (tables
        of 1 and 2: quality above 95), not every block has a solution in whole levels; see `share_consistent`.

    Raises:
        DataError: the image is not of the file's size or channels.
    """
    result: npt.NDArray[np.uint8] = like(pixels)
    for part in _parts(pixels, file):
        put(part.joined(_nearest(part, rounds)), result, *part.place)
    return result


def share_consistent(pixels: Pixels, file: JpegCoefficients) -> float:
    """Share of a file's coefficients, 0..1, that an image has when it is compressed again; arguments as above."""
    counts = np.array([part.counts(part.pixels) for part in _parts(pixels, file)])
    inside, total = counts.sum(axis=0)
    return float(inside / total)


@dataclass(frozen=True)
class _Cells:
    """Where the coefficients of one component lay, in levels."""

    middle: Floats  # [MCUs, blocks of this component in one, 64]
    half: Floats  # [64]; half of the width

    def correction(self, values: Floats) -> Floats:
        """What moves the coefficients outside their cells to a margin inside."""
        offset = values - self.middle
        inside = self.half - np.minimum(MARGIN, INSIDE * self.half)
        outside = np.abs(offset) > self.half - np.minimum(CLOSE, self.half / 8)  # never true of NaN
        return np.where(outside, np.clip(offset, -inside, inside) - offset, np.float32(0))


@dataclass(frozen=True)
class _Part:
    """MCUs of one size: all whole ones of some rows, or those that an edge of the image cuts off.

    Args:
        place: in the image.
        pixels: float32 [MCUs, rows, columns, C], the part outside the image repeats its edge.
        size: rows and columns inside the image.
        cells: of each component.
        factors: rows and columns of pixels for one sample of each component.
        shape: MCUs down and across.
    """

    place: tuple[slice, slice]
    pixels: Floats
    size: tuple[int, int]
    cells: tuple[_Cells, ...]
    factors: tuple[tuple[int, int], ...]
    shape: tuple[int, int]

    def encode(self, pixels: Floats) -> list[Floats]:
        """Whole R, G, B (or grey) of some MCUs -> coefficients as libjpeg computes them, [MCUs, blocks, 64] each."""
        return [
            _dct(_averaged(plane, factors, self.size[0]))
            for plane, factors in zip(_ycbcr(pixels), self.factors, strict=True)
        ]

    def decode(self, coefficients: list[Floats]) -> Floats:
        """Changes of coefficients -> the smallest changes of pixels with them, [MCUs, rows, columns, C]."""
        planes = []
        for values, (down, across) in zip(coefficients, self.factors, strict=True):
            height, width = self.pixels.shape[1] // down, self.pixels.shape[2] // across
            planes.append(_inverse_dct(values, height, width).repeat(down, 1).repeat(across, 2))
        return _rgb(planes)

    def counts(self, pixels: Floats) -> tuple[int, int]:
        """How many coefficients are inside their cells, and how many there are."""
        pairs = list(zip(self.encode(pixels), self.cells, strict=True))
        inside = sum(np.count_nonzero(np.abs(values - c.middle) <= c.half) for values, c in pairs)
        return int(inside), sum(int(np.count_nonzero(~np.isnan(c.middle))) for _, c in pairs)

    def share(self, pixels: Floats) -> float:
        """The share of `counts`."""
        inside, total = self.counts(pixels)
        return inside / total

    def folded(self, change: Floats) -> Floats:
        """What lies outside the image is a copy of its edge, and changes with it."""
        height, width = self.size
        change[:, height - 1] = change[:, height - 1 :].mean(axis=1)
        change[:, :, width - 1] = change[:, :, width - 1 :].mean(axis=2)
        return self.framed(change)

    def framed(self, pixels: Floats) -> Floats:
        """Repeat the edge of the image outside of it."""
        height, width = self.size
        pixels[:, height:] = pixels[:, height - 1 : height]
        pixels[:, :, width:] = pixels[:, :, width - 1 : width]
        return pixels

    def joined(self, pixels: Floats) -> Floats:
        """MCUs -> the image at `place`."""
        _, rows, columns, channels = pixels.shape
        image = pixels.reshape(*self.shape, rows, columns, channels).swapaxes(1, 2)
        image = image.reshape(self.shape[0] * rows, self.shape[1] * columns, channels)
        down, across = self.place
        joined: Floats = image[: down.stop - down.start, : across.stop - across.start]
        return joined


def _nearest(part: _Part, rounds: int) -> Floats:
    """The nearest MCUs; what lies outside of the image copies its edge if that agrees with the file, and else is free.

    Encoders other than libjpeg put something else there, and so do files that were cropped without decoding: to assume
    copies would force it upon the edge of the image.
    """
    height, width = part.size
    if part.size == part.pixels.shape[1:3]:
        return _project(part, part.pixels, rounds, copied=False)
    decoded = np.clip(part.decode([np.nan_to_num(cells.middle) for cells in part.cells]) + 128, 0, 255)
    copied, free = (part.share(_project(part, decoded, rounds, copied=copied)) for copied in (True, False))
    fine = 2 * part.cells[0].half.mean() < FINE
    if copied >= COPIED or (fine and copied >= ALMOST * free):
        return _project(part, part.pixels, 4 * rounds, copied=True)
    decoded[:, :height, :width] = part.pixels[:, :height, :width]
    return _project(part, decoded, 4 * rounds, copied=False)


def _project(part: _Part, start: Floats, rounds: int, *, copied: bool) -> Floats:
    x: Floats = start + _dither(*start.shape[1:3])
    if copied:
        x = part.framed(x)
    left = np.arange(len(x))
    for _ in range(rounds):
        values = part.encode(np.rint(x[left]))
        corrections = [
            _Cells(cells.middle[left], cells.half).correction(v)
            for v, cells in zip(values, part.cells, strict=True)
        ]
        outside = np.any([c.any(axis=(1, 2)) for c in corrections], axis=0)
        left = left[outside]
        if not len(left):
            break
        change = part.decode([c[outside] for c in corrections])
        x[left] = np.clip(x[left] + (part.folded(change) if copied else change), -0.49, 255.49)
    rounded: Floats = np.rint(x)
    return rounded


def _dither(rows: int, columns: int) -> Floats:
    """Fractions of a level [rows,columns,1] that round to 0.

    In flat blocks all pixels would change by a whole level at once, and the mean, whose cell is often narrower, with
    them. These thresholds, a rank-1 lattice of the plastic number, let them change one by one, evenly spread.
    """
    row, column = np.mgrid[:rows, :columns]
    spread = (0.7548776662 * column + 0.5698402910 * row) % 1 - 0.5
    dither: Floats = (0.98 * spread[..., None]).astype(np.float32)
    return dither


def _parts(pixels: Pixels, file: JpegCoefficients) -> Iterator[_Part]:
    """The image in bands of whole MCUs, and the MCUs that its right and lower edge cut off."""
    channels = 1 if len(file.planes) == 1 else 3
    if pixels.dtype != np.uint8 or pixels.shape != (file.height, file.width, channels):
        raise DataError(
            f"the JPEG file holds uint8 {[file.height, file.width, channels]}, the image is {pixels.dtype} "
            f"{list(pixels.shape)}; give the restoration of this file."
        )
    rows, columns = (8 * max(plane.factors[axis] for plane in file.planes) for axis in (0, 1))
    band = rows * max(1, _BAND_PIXELS // (file.width * rows))
    whole = file.height // rows * rows, file.width // columns * columns
    tops = [slice(top, min(top + band, whole[0])) for top in range(0, whole[0], band)]
    lefts = [slice(0, whole[1])] if whole[1] else []
    if whole[0] < file.height:
        tops.append(slice(whole[0], file.height))
    if whole[1] < file.width:
        lefts.append(slice(whole[1], file.width))
    for vertical in tops:
        for horizontal in lefts:
            yield _part(copied(pixels, vertical, horizontal), file, (vertical, horizontal), (rows, columns))
            for plane in file.planes:
                release(plane.levels)


def _part(pixels: Pixels, file: JpegCoefficients, place: tuple[slice, slice], mcu: tuple[int, int]) -> _Part:
    (rows, columns), (height, width, channels) = mcu, pixels.shape
    shape = -(-height // rows), -(-width // columns)
    edge = ((0, shape[0] * rows - height), (0, shape[1] * columns - width), (0, 0))
    padded = np.pad(pixels, edge, mode="edge").astype(np.float32)
    mcus = _split(padded, rows, columns).reshape(-1, rows, columns, channels)
    cells = []
    for plane in file.planes:
        down, across = rows // 8 // plane.factors[0], columns // 8 // plane.factors[1]
        first = place[0].start // rows * down, place[1].start // columns * across
        cells.append(_cells(plane, first, shape, (down, across)))
    size = rows - edge[0][1], columns - edge[1][1]
    return _Part(place, mcus, size, tuple(cells), tuple(plane.factors for plane in file.planes), shape)


def _cells(
    plane: CoefficientPlane, first: tuple[int, int], shape: tuple[int, int], blocks: tuple[int, int]
) -> _Cells:
    """The cells of some MCUs; blocks wholly outside the image, which the file need not hold, are not limited (NaN)."""
    (top, left), (down, across) = first, blocks
    found = plane.levels[top : top + shape[0] * down, left : left + shape[1] * across] * plane.table
    levels = np.full((shape[0] * down, shape[1] * across, 8, 8), np.nan, np.float32)
    levels[: found.shape[0], : found.shape[1]] = found
    middle = levels.reshape(shape[0], down, shape[1], across, 64).swapaxes(1, 2)
    return _Cells(
        middle.reshape(-1, down * across, 64), np.divide(plane.table.reshape(64), 2, dtype=np.float32)
    )


# ------------------------------------------------------------------------------------------------------- the encoder


def _ycbcr(pixels: Floats) -> list[Floats]:
    """Whole R, G, B [...,3] -> whole Y, Cb, Cr, by libjpeg's integers; grey [...,1] stays. All less 128."""
    if pixels.shape[-1] == 1:
        return [pixels[..., 0] - 128]
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    return [
        ((19595 * red + 38470 * green + 7471 * blue + 32768 >> 16) - 128).astype(np.float32),
        (-11059 * red - 21709 * green + 32768 * blue + 32767 >> 16).astype(np.float32),
        (32768 * red - 27439 * green - 5329 * blue + 32767 >> 16).astype(np.float32),
    ]


def _rgb(planes: list[Floats]) -> Floats:
    """Changes of Y, Cb, Cr -> of R, G, B [...,3]; of grey -> [...,1]."""
    if len(planes) == 1:
        return planes[0][..., None]
    y, cb, cr = planes
    return np.stack(
        [y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1, dtype=np.float32
    )


def _averaged(plane: Floats, factors: tuple[int, int], height: int) -> Floats:
    """Means of [MCUs, rows, columns], rounded as in libjpeg (jcsample.c); below the image the last one is repeated."""
    down, across = factors
    if factors == (1, 1):
        return plane
    n, rows, columns = plane.shape
    sums = plane.reshape(n, rows // down, down, columns // across, across).sum(axis=(2, 4))
    bias: Any = down * across // 2
    if across == 2 and down <= 2:  # alternating, so that neither way of rounding prevails
        bias = np.arange(columns // 2) % 2 + (down - 1)
    means: Floats = np.floor((sums + bias) / (down * across), dtype=np.float32)
    used = -(-height // down)
    means[:, used:] = means[:, used - 1 : used]
    return means


_FREQUENCY, _PLACE = np.mgrid[:8, :8]
_BASIS: Final = np.where(
    _FREQUENCY == 0, np.sqrt(1 / 8), np.cos((2 * _PLACE + 1) * _FREQUENCY * np.pi / 16) / 2
)
_DCT: Final = np.kron(_BASIS, _BASIS).astype(np.float32)
"""The orthonormal DCT-II of an 8x8 block, [64,64]."""


def _split(plane: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[Any]:
    """[H,W,C] -> [down, across, rows, columns, C]."""
    height, width, channels = plane.shape
    return plane.reshape(height // rows, rows, width // columns, columns, channels).swapaxes(1, 2)


def _dct(plane: Floats) -> Floats:
    """[MCUs, rows, columns] -> [MCUs, blocks, 64]."""
    n, rows, columns = plane.shape
    blocks = plane.reshape(n, rows // 8, 8, columns // 8, 8).swapaxes(2, 3).reshape(-1, 64)
    return (blocks @ _DCT.T).reshape(n, -1, 64)


def _inverse_dct(values: Floats, rows: int, columns: int) -> Floats:
    """[MCUs, blocks, 64] -> [MCUs, rows, columns]."""
    blocks = (values.reshape(-1, 64) @ _DCT).reshape(-1, rows // 8, columns // 8, 8, 8)
    return blocks.swapaxes(2, 3).reshape(-1, rows, columns)
