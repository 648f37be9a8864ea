"""Traces of JPEG compression in pixels: quality and grid of an image whose file does not tell them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ucdir.images.jpeg import ijg_tables

Floats = NDArray[np.float32]

FREQUENCIES = ((0, 1), (1, 0), (0, 2), (1, 1), (2, 0), (0, 3), (1, 2), (2, 1), (3, 0), (0, 4), (4, 0), (2, 2))
"""(down, across) of the coefficients that are looked at; of higher ones, few are not zero."""
STEPS = np.arange(2, 161, dtype=np.float32)
"""Steps T of a table that are tried, in levels; 2 is that of quality 95 or so."""
NOISE = (0.45, 1.0, 2.0)
"""Standard deviations of coefficients about their multiples of T, in levels: what rounding adds, and what a second
compression adds, a weak one or a stronger one."""
OUTLIERS = 0.05
"""Share of coefficients that need not be multiples, as where the decoder clipped."""
ENOUGH = 24
"""Coefficients that are not zero, of a frequency whose step is to be found."""
CERTAIN = 0.35
"""Mean logarithm of the likelihood ratio of a coefficient, against no compression, from which on a step counts."""
FEWEST = 4
"""Frequencies with a certain step."""
CONTROLS = ((3, 5), (5, 3), (1, 6), (6, 1))
"""Rows and columns from a grid found to those that are no grid. One of them may be the grid of another compression."""
MOST_BLOCKS = 1500
SOME_BLOCKS = 300
"""Where the grid is looked for."""
ZERO = 0.75
"""In levels: what rounding leaves of a coefficient that is zero, nearly always."""
REGION = 2048
"""Side of the middle of an image that is looked at, in pixels."""


@dataclass(frozen=True)
class JpegTraces:
    """What pixels show of a compression.

    Args:
        quality: 1 to 100, of the table of the Independent JPEG Group nearest to the steps found.
        grid: row and column, 0..7, where the first whole 8x8 block begins.
    """

    quality: int
    grid: tuple[int, int]


def find_jpeg_traces(pixels: NDArray[np.uint8]) -> JpegTraces | None:
    r"""The compression that an image went through before it was stored without loss, or with less.

    A decoded image has, in the 8x8 blocks of its grid, DCT coefficients that are multiples of the table's step T, but
    for rounding (after Fan and de Queiroz 2003). With the distance d of a coefficient to the nearest multiple, the
    likelihood ratio against coefficients of any value is

        T · ( (1-p) · N(d; 0, σ²) + p / T ),

    which is largest for the largest step that fits. In the blocks of its grid, more coefficients are zero than in
    others, and pixels jump at their borders. Gradients and patterns have few values of a coefficient
    wherever the blocks begin: what is also found in places that are no grid is no compression.

    Args:
        pixels: uint8 [H,W,C] with C = 1 or 3.

    Returns:
        None where nothing is found: never compressed, resized since, of a quality above about 95, nearly empty, or a
            pattern.

    Example:
        >>> find_jpeg_traces(np.zeros((64, 64, 3), np.uint8)) is None
        True
    """
    grey = _luma(_middle(pixels))
    if min(grey.shape) < 24:
        return None
    found = []
    for row, column in _grids(grey):
        steps = _steps(_coefficients(grey[row:, column:], MOST_BLOCKS))
        if steps:
            found.append(JpegTraces(_nearest_quality(steps), (row, column)))
    if not found:
        return None
    strongest = min(found, key=lambda traces: traces.quality)
    row, column = strongest.grid
    others = [grey[(row + down) % 8 :, (column + across) % 8 :] for down, across in CONTROLS]
    regular = sum(bool(_steps(_coefficients(other, MOST_BLOCKS))) for other in others) > 1
    return None if regular else strongest


def _luma(pixels: NDArray[np.uint8]) -> Floats:
    if pixels.shape[2] == 1:
        return pixels[:, :, 0].astype(np.float32)
    return pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _middle(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle `REGION` pixels of each side; it begins at multiples of 8, so that the grid stays where it is."""
    top, left = (max(0, size - REGION) // 16 * 8 for size in pixels.shape[:2])
    return pixels[top : top + REGION, left : left + REGION]


def _grids(grey: Floats) -> list[tuple[int, int]]:
    """Grids that are tried: of the last compression and, where pixels jump at other borders, of an earlier one."""
    zeros = {
        (row, column): _share_of_zeros(_coefficients(grey[row:, column:], SOME_BLOCKS))
        for row, column in product(range(8), repeat=2)
    }
    return [*{(0, 0), max(zeros, key=zeros.__getitem__), *product(_phases(grey, 0), _phases(grey, 1))}]


def _share_of_zeros(coefficients: Floats) -> float:
    return np.count_nonzero(np.abs(coefficients) < ZERO) / max(1, coefficients.size)


def _phases(grey: Floats, axis: int) -> list[int]:
    """Rows (axis 0) or columns, modulo 8, before which pixels jump most: the two first."""
    jumps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
    excess = jumps[1:-1] - (jumps[:-2] + jumps[2:]) / 2  # excess[i] is of the border before pixel i + 2
    by_phase = [excess[(phase - 2) % 8 :: 8].mean() for phase in range(8)]
    return [int(n) for n in np.argsort(by_phase)[-2:]]


@cache
def _dct() -> Floats:
    """Orthonormal DCT-II, [8,8]: rows are frequencies."""
    k, x = np.mgrid[:8, :8]
    matrix = np.cos((2 * x + 1) * k * np.pi / 16) / 2
    matrix[0] /= np.sqrt(2)
    result: Floats = matrix.astype(np.float32)
    return result


def _coefficients(grey: Floats, most: int) -> Floats:
    """Coefficients of at most so many blocks [blocks,8,8], from all over an image whose grid begins at its corner."""
    rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
    blocks = grey[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    blocks = blocks[
        (blocks.min(axis=(1, 2)) > 0) & (blocks.max(axis=(1, 2)) < 255)
    ]  # nothing was clipped there
    blocks = blocks[:: -(-len(blocks) // most) or 1]
    result: Floats = _dct() @ blocks @ _dct().T
    return result


def _steps(coefficients: Floats) -> dict[tuple[int, int], float]:
    """The steps of the frequencies where they are certain; none if those are few."""
    steps = {}
    for frequency in FREQUENCIES:
        values = np.abs(coefficients[:, *frequency])
        values = values[values > 1.5]
        if len(values) < ENOUGH:
            continue
        distance = np.abs(values[:, None] - STEPS * np.rint(values[:, None] / STEPS))
        for noise in NOISE:
            normal = np.exp(-0.5 * (distance / noise) ** 2) / (noise * np.sqrt(2 * np.pi))
            scores = np.log(STEPS * (1 - OUTLIERS) * normal + OUTLIERS).mean(axis=0)
            best = int(np.argmax(scores))
            if scores[best] > CERTAIN:
                steps[frequency] = float(STEPS[best])
                break
    return steps if len(steps) >= FEWEST else {}


def _nearest_quality(steps: dict[tuple[int, int], float]) -> int:
    """The quality whose luminance table comes nearest to some of its steps, by the median of their logarithms."""
    rows, columns = zip(*steps, strict=True)
    tables = np.stack([ijg_tables(quality)[0].reshape(8, 8)[rows, columns] for quality in range(1, 101)])
    distance = np.abs(np.log(tables) - np.log(list(steps.values())))
    return int(np.argmin(np.median(distance, axis=1) + 0.1 * distance.mean(axis=1))) + 1
