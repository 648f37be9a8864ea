"""Traces of JPEG compression in pixels: jumps at the borders of blocks, and steps that coefficients are multiples of.

In the 8x8 blocks of a decoded image, DCT coefficients are multiples of the steps of a quantisation table, but for
rounding (after Fan and de Queiroz 2003). With the distance d of a coefficient to the nearest multiple of T, the
likelihood ratio against coefficients of any value is

    T · ( (1-p) · N(d; 0, σ²) + p / T ),

and the quality whose table has the largest product over all coefficients is the one that the image was saved with.
Where a channel is black or white the decoder has cut something off, and the block is left out. Gradients and patterns
have few values of a coefficient wherever the blocks begin: what fits as well elsewhere is no compression.
"""

from __future__ import annotations

import math
from functools import cache, reduce
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ucdir.images.jpeg import ijg_tables
from ucdir.inspection.patches import SIDE, Floats

FREQUENCIES: Final = tuple((i, j) for i in range(5) for j in range(5) if 0 < i + j < 5)
"""(down, across) of the coefficients that are looked at."""
ZEROS: Final = (
    ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)), ((0, 4), (4, 0), (2, 3), (3, 2), (1, 4)),
    ((5, 5), (4, 6), (6, 4), (7, 5), (5, 7)),
)  # fmt: skip
"""Low, middle and high ones, of which it is counted how many are zero."""
BIN: Final = 0.5
"""Width in levels of a histogram's bins."""
LARGEST: Final = 256
"""Size in levels from which on a coefficient is left out."""
SPREAD: Final = (0.35, 0.7, 1.4)
"""Standard deviations of coefficients about the multiples of a step: what rounding adds, and later processing."""
OUTLIERS: Final = 0.05
"""Share of coefficients that need not be multiples."""
QUALITIES: Final = range(4, 98)
"""That are told apart: the steps of higher ones are no larger than what rounding adds, and what fits the lowest may be
anything with few coefficients."""
FEWEST: Final = 24
"""Coefficients that are not zero, without which nothing is said."""
STEPS: Final = np.arange(1, 256)
GAIN: Final = 0.25
"""Mean gain of the coefficients' likelihood from which on the steps of a table are certain."""
CONTROL: Final = 0.3
"""Share of it that blocks which begin elsewhere may reach."""
CERTAIN: Final = 0.35
"""Mean gain of one frequency from which on its step is certain."""


class _Fit(NamedTuple):
    gain: float
    """Mean, of the quality that fits the best."""
    quality: int
    nonzero: int
    """Coefficients that are not zero."""
    nearest: int
    """Quality of the steps that fit the best, whatever their table."""


@cache
def _dct() -> Floats:
    """Of the 64 pixels of a block, by columns for its coefficients."""
    k, n = np.arange(8)[:, None], np.arange(8)[None]
    matrix = np.cos((2 * n + 1) * k * math.pi / 16) / 2
    matrix[0] /= math.sqrt(2)
    return np.kron(matrix, matrix).T.astype(np.float32)


@cache
def _scores() -> NDArray[np.float32]:
    """Log-likelihood ratio of a coefficient's size, by noise, step and bin: [noise,bins,255]."""
    sizes = (np.arange(int(LARGEST / BIN)) + 0.5) * BIN
    distance = np.abs(sizes - STEPS[:, None] * np.rint(sizes / STEPS[:, None]))
    scores = []
    for noise in SPREAD:
        normal = np.exp(-0.5 * (distance / noise) ** 2) / (noise * math.sqrt(2 * math.pi))
        scores.append(np.log(STEPS[:, None] * (1 - OUTLIERS) * normal + OUTLIERS))
    return np.ascontiguousarray(np.stack(scores).transpose(0, 2, 1), dtype=np.float32)


@cache
def _quality_steps() -> NDArray[np.int64]:
    """Number in `STEPS` of each quality's step, by quality in `QUALITIES` and frequency."""
    tables = np.stack([ijg_tables(quality)[0].reshape(8, 8) for quality in QUALITIES])
    return np.stack([tables[:, i, j] for i, j in FREQUENCIES], axis=1) - 1


def clipped_places(patches: Floats) -> NDArray[np.bool_]:
    """Where a channel is black or white, [N,H,W]: there a decoder has cut something off."""
    clipped = np.zeros(patches.shape[:3], np.bool_)
    for channel in range(patches.shape[3]):
        clipped |= np.abs(patches[..., channel] - np.float32(127.5)) > 127
    return clipped


def clipped_within(clipped: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Whether anything is clipped in the square that begins at each place, [N,H-side+1,W-side+1]."""
    rows = reduce(np.logical_or, (clipped[:, n : clipped.shape[1] - side + 1 + n] for n in range(side)))
    found: NDArray[np.bool_] = reduce(
        np.logical_or, (rows[:, :, n : rows.shape[2] - side + 1 + n] for n in range(side))
    )
    return found


def jpeg_traces(luma: Floats, clipped: NDArray[np.bool_]) -> tuple[NDArray[np.float64], dict[str, float]]:
    """What is measured of compression, and what of it is told by itself.

    Args:
        luma: patches [N,SIDE,SIDE] in levels, which begin where blocks of a file do.
        clipped: where a channel is black or white, likewise.
    """
    turned = np.ascontiguousarray(luma.swapaxes(1, 2)), np.ascontiguousarray(clipped.swapaxes(1, 2))
    jumps = [_jumps(luma, clipped), _jumps(*turned)]
    values: list[float] = []
    for one in jumps:
        order = np.sort(one)[::-1]
        values += [order[0] / order[1:].mean(), order[1] / order[2:].mean(), one[0] / one[1:].mean()]
    across, down = (np.argsort(-one)[:2].tolist() for one in jumps)
    grids = dict.fromkeys([(0, 0), *((y, x) for y in down for x in across)])
    within = clipped_within(clipped, 8) if clipped.any() else None
    blocks = {grid: _blocks(luma, within, grid) for grid in grids}
    fits = {grid: _fit(blocks[grid]) for grid in grids}
    best = max(fits, key=lambda grid: fits[grid].gain)
    places = (
        ((best[0] + y) % 8, (best[1] + x) % 8) for y, x in ((3, 5), (5, 2), (2, 6), (6, 3), (1, 4), (4, 1))
    )
    elsewhere = _blocks(luma, within, next(place for place in places if place not in grids))
    control, its_quality = _fit(elsewhere)[:2]
    values += [
        fits[best].gain,
        control,
        fits[best].quality / 100,
        its_quality / 100,
        math.log1p(fits[best].nonzero),
    ]
    values += [*_zeros(blocks[best]), *_zeros(elsewhere)]
    values += [fits[(0, 0)].gain, fits[(0, 0)].quality / 100, float(best == (0, 0)), clipped.mean()]
    certain = [
        grid
        for grid, fit in fits.items()
        if fit.gain > GAIN
        and control < CONTROL * fit.gain
        and (fit.nearest > QUALITIES[0] or fit.gain > 6 * GAIN)
    ]
    found = {
        "compressions": float(len(certain)),
        "gain": 0.0,
        "quality": 0.0,
        "grid_down": 0.0,
        "grid_across": 0.0,
    }
    if certain:  # the strongest, which may lie under a weaker one
        grid = min(certain, key=lambda grid: fits[grid].nearest)
        found |= {"gain": fits[grid].gain, "quality": float(fits[grid].nearest)}
        found |= {"grid_down": float(grid[0]), "grid_across": float(grid[1])}
    return np.array(values), found


def _jumps(planes: Floats, clipped: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How often a step across a column's left border is larger than its neighbours, by the column's number mod 8."""
    steps = np.abs(np.diff(planes, axis=2))
    here = steps[:, :, 1:-1]
    larger = (here > np.maximum(steps[:, :, :-2], steps[:, :, 2:]) + 0.5) & ~clipped[:, :, 1:-2]
    profile = larger.mean(axis=(0, 1))  # of the borders 2, 3, … 126
    border = np.arange(2, 2 + len(profile)) % 8
    return np.bincount(border, profile, 8) / np.bincount(border, minlength=8) + 1e-3


def _blocks(luma: Floats, within: NDArray[np.bool_] | None, grid: tuple[int, int]) -> Floats:
    """The 8x8 blocks of a grid, [n,64], without those in which something is clipped if there are enough others.

    `within` is `clipped_within` of 8 pixels, None if nothing is.
    """
    down, across = grid
    rows, columns = (SIDE - down) // 8, (SIDE - across) // 8
    part = luma[:, down : down + rows * 8, across : across + columns * 8]
    blocks = part.reshape(len(luma), rows, 8, columns, 8).swapaxes(2, 3)
    if within is not None:
        whole = ~within[:, down::8, across::8]
        if whole.sum() >= 32:
            return blocks[whole].reshape(-1, 64)
    return blocks.reshape(-1, 64)


def _zeros(blocks: Floats) -> tuple[float, float, float]:
    """Shares of coefficients that are next to nothing: of the highest frequencies, of low and of middle ones."""
    columns = np.array([[8 * i + j for i, j in some] for some in ZEROS])
    zeros = np.abs(blocks @ _dct()[:, columns.ravel()]) < 0.75
    low, middle, high = zeros.mean(axis=0).reshape(columns.shape).mean(axis=1).tolist()
    return high, low, middle


def _fit(blocks: Floats) -> _Fit:
    """The quality whose steps fit the best, of the tables that most encoders scale."""
    columns = [8 * i + j for i, j in FREQUENCIES]
    coefficients = np.abs(blocks @ _dct()[:, columns]) / np.float32(BIN)
    bins = int(LARGEST / BIN)
    # sizes of a frequency are in a row of their own; what is next to zero or very large is left out
    numbers = np.where((coefficients > 1.5 / BIN) & (coefficients < bins), coefficients, 0).astype(np.int64)
    numbers += np.arange(len(columns)) * bins
    histograms = (
        np.bincount(numbers.ravel(), minlength=len(columns) * bins).reshape(-1, bins).astype(np.float32)
    )
    histograms[:, 0] = 0
    count = int(histograms.sum())
    if count < FEWEST:
        return _Fit(0.0, 0, count, 0)
    # so that the frequencies with many coefficients do not outvote the others
    histograms /= np.maximum(np.sqrt(histograms.sum(axis=1, keepdims=True)), 1)
    fits = histograms @ _scores()  # [noise,frequency,step]
    steps = _quality_steps()
    totals = np.stack([fits[:, number, steps[:, number]] for number in range(len(columns))]).sum(axis=0)
    _, best = np.unravel_index(int(np.argmax(totals)), totals.shape)
    gain, quality = float(totals.max() / histograms.sum()), QUALITIES[int(best)]
    return _Fit(gain, quality, count, _nearest(fits.max(axis=0), histograms.sum(axis=1), gain, quality))


def _nearest(fits: Floats, sums: Floats, gain: float, quality: int) -> int:
    """The quality, or of other tables that whose steps come nearest to those that fit each frequency the best."""
    own = fits.max(axis=1)
    if own.sum() / sums.sum() < 1.3 * max(gain, GAIN):
        return quality
    sure = own > CERTAIN * sums
    if sure.sum() < 4:
        return quality
    steps = np.log(STEPS[fits.argmax(axis=1)][sure])
    distance = np.abs(np.log(STEPS[_quality_steps()[:, sure]]) - steps)
    return QUALITIES[int(np.argmin(np.median(distance, axis=1) + 0.1 * distance.mean(axis=1)))]
