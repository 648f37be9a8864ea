"""What is measured of an image: the numbers that the classifier sees."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ucdir.inspection.jpeg_traces import clipped_places, clipped_within, jpeg_traces
from ucdir.inspection.patches import SIDE, Floats, Patches, luma_of
from ucdir.inspection.spectra import spectra

EDGES: Final = (2, 4, 8, 16)
"""Half widths in pixels across which the height of an edge is measured."""
STRONG: Final = 24
"""Height in levels of an edge whose sharpness counts."""


def features(patches: Patches) -> tuple[NDArray[np.float32], Floats, dict[str, float]]:
    """A vector, `spectra`, and what is told by itself."""
    pixels = np.concatenate([patches.detailed, patches.flat])
    luma = luma_of(pixels)
    sharp, chroma = luma[: len(patches.detailed)], _chroma(pixels, luma)
    clipped = clipped_places(pixels)
    jpeg, found = jpeg_traces(luma, clipped)
    parts = [
        _edges(sharp), _noise(luma, chroma), _by_brightness(pixels, luma), _eigenvalues(luma, clipped), jpeg,
    ]  # fmt: skip
    vector = np.nan_to_num(np.concatenate(parts).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return vector, spectra(sharp, patches.wide), found


def _chroma(patches: Floats, luma: Floats) -> Floats:
    """The two differences of colour to luma, [N,2,H,W]."""
    if patches.shape[3] == 1:
        return np.zeros((len(luma), 2, *luma.shape[1:]), np.float32)
    differences = (patches[..., 2] - luma) * np.float32(0.564), (patches[..., 0] - luma) * np.float32(0.713)
    return np.stack(differences, axis=1)


# --------------------------------------------------------------------------------------------------------------- blur


def _edges(luma: Floats) -> NDArray[np.float64]:
    """How much of an edge's height lies between two neighbours: all of a sharp one, 1/L of one blurred by L pixels."""
    found = []
    for lines in (luma, np.ascontiguousarray(luma.swapaxes(1, 2))):
        planes = (lines[:, 0::4] + lines[:, 1::4]) * np.float32(0.5)  # less noise
        steps = np.abs(np.diff(planes, axis=2))
        for half in EDGES:
            height = np.abs(planes[:, :, 2 * half :] - planes[:, :, : -2 * half])
            # the step in the middle, the larger of two
            middle = np.maximum(
                steps[:, :, half - 1 : half - 1 + height.shape[2]], steps[:, :, half : half + height.shape[2]]
            )
            strong = height > STRONG
            share = middle[strong] / height[strong]
            number = min(1.0, share.size / 100)
            if share.size < 10:
                found.append([0.0, 0.0, 0.0, 0.0, number])
            else:
                found.append([*_percentiles(share, (50, 80, 95, 99)), number])
        found.append([*np.log1p(_percentiles(steps.ravel(), (50, 75, 90, 97, 99.5)))])
    across, down = np.array(found).reshape(2, -1)
    return np.concatenate([np.minimum(across, down), np.maximum(across, down)])


# -------------------------------------------------------------------------------------------------------------- noise


def _noise(luma: Floats, chroma: Floats) -> NDArray[np.float64]:
    """Deviations of what is left by differences, in the flattest blocks, at three scales, of luma and colour."""
    means = _block_means(luma)
    usable = (means > 6) & (means < 249)
    if usable.sum() < 16:
        usable = np.ones_like(usable)
    values: list[float] = []
    for plane in (luma, chroma[:, 0], chroma[:, 1]):
        scaled = plane
        for _ in range(3):
            *differences, scaled = _haar(scaled)
            stds = [_block_stds(part)[usable] for part in differences]
            values += np.log(_percentiles(stds[2], (2, 10, 30, 60)) + 0.1).tolist()
            values += [math.log(float(_percentiles(std, (10,))[0]) + 0.1) for std in stds[:2]]
    clipped = ((luma < 1).mean(), (luma > 254).mean(), usable.mean(), luma.mean() / 255)
    return np.array([*values, *clipped, _kurtosis(luma), _rows(luma)])


def _percentiles(values: NDArray[Any], percents: tuple[float, ...]) -> Floats:
    """As `np.percentile`, without its interpolation, which takes longer than the rest."""
    ranks = [int(p / 100 * (values.size - 1)) for p in percents]
    ranked: Floats = np.partition(values, ranks)[ranks]
    return ranked


def _haar(planes: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Horizontal, vertical and diagonal differences of 2x2 pixels, whose std is that of white noise, and the mean."""
    upper, lower, half = planes[:, ::2], planes[:, 1::2], np.float32(0.5)
    both, step = (upper + lower) * half, (upper - lower) * half
    return (
        both[:, :, ::2] - both[:, :, 1::2],
        step[:, :, ::2] + step[:, :, 1::2],
        step[:, :, ::2] - step[:, :, 1::2],
        (both[:, :, ::2] + both[:, :, 1::2]) * half,
    )


def _block_means(planes: Floats) -> Floats:
    number = SIDE // 16
    columns = planes.reshape(len(planes), number, 16, SIDE).sum(axis=2)
    means: Floats = columns.reshape(len(planes), number, number, 16).sum(axis=3) / np.float32(256)
    return means


def _block_stds(planes: Floats) -> Floats:
    """Of the 8x8 blocks of each plane, [N,SIDE/16,SIDE/16]."""
    number = SIDE // 16
    side = planes.shape[1] // number
    columns = np.square(planes).reshape(len(planes), number, side, -1).sum(axis=2)
    sums = columns.reshape(len(planes), number, number, side).sum(axis=3)
    stds: Floats = np.sqrt(sums / np.float32(side * side))
    return stds


def _by_brightness(pixels: Floats, luma: Floats) -> NDArray[np.float64]:
    """Deviation of all channels in the flattest blocks of each brightness: of all that varies, and of the finest.

    The finest is little of the noise of a photo that was demosaiced or denoised; all that varies may be texture.
    """
    means = _block_means(luma).ravel()
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    number, channels, side = *planes.shape[:2], SIDE // 16

    def sums(values: Floats) -> Floats:
        """Of the columns of each block, [N,C,side,SIDE]."""
        summed: Floats = values.reshape(number, channels, side, 16, SIDE).sum(axis=3)
        return summed

    def by_column(values: Floats) -> Floats:
        return values.reshape(number, channels, side, side, 16)

    average = by_column(sums(planes)).sum(axis=4) / np.float32(256)
    planes = planes.reshape(number, channels, side, 16, SIDE) - average.repeat(16, axis=3)[:, :, :, None]
    ramp = (np.arange(16, dtype=np.float32) - 7.5) / np.float32(
        math.sqrt(16 * 340)
    )  # of length 1 over the block
    across = by_column(sums(planes)) @ ramp
    down = planes.reshape(number, channels, side, 16, side, 16).sum(axis=5).swapaxes(3, 4) @ ramp
    rest = by_column(sums(np.square(planes))).sum(axis=4) - np.square(across) - np.square(down)
    every = np.sqrt(np.maximum(rest, 0).mean(axis=1) / 253).ravel()
    fine = np.square(_haar(planes.reshape(-1, SIDE, SIDE))[2]).reshape(number, channels, side, 8, SIDE // 2)
    finest = fine.sum(axis=3).reshape(number, channels, side, side, 8).sum(axis=4) / np.float32(64)
    finest = np.sqrt(finest.mean(axis=1)).ravel()
    usable = (means > 6) & (means < 249)
    if usable.sum() < 16:
        usable = np.ones_like(usable)
    values: list[float] = []
    for stds in (every, finest):
        values += _percentiles(stds[usable], (4, 12, 30)).tolist()
        for low, high in pairwise((0, 45, 90, 140, 190, 256)):
            own = stds[usable & (means >= low) & (means < high)]
            values.append(float(_percentiles(own if own.size >= 8 else stds[usable], (12,))[0]))
    return np.log(np.array(values) + 0.1)


def _kurtosis(luma: Floats) -> float:
    """Of the diagonal differences of the flattest planes."""
    diagonal = _haar(luma[-2:])[2]
    squares = np.square(diagonal)
    variance = float(squares.mean())
    return math.log(float(np.square(squares).mean()) / (variance * variance + 1e-3) + 0.1)


def _rows(luma: Floats) -> float:
    """Noise that rows share, as sensors add it: deviation of the differences of rows' means to that of pixels."""
    flat = luma[-2:]
    rows, columns = flat.mean(axis=2), flat.mean(axis=1)
    across, down = (float(np.diff(lines, n=2, axis=1).std()) for lines in (rows, columns))
    return abs(math.log((across + 0.05) / (down + 0.05)))


WINDOW: Final = 5
"""Side of the windows whose covariance is looked at, in pixels."""
ORDERS: Final = (1, 2, 4, 7, 11, 15, 19, 22, 24)
"""Of its eigenvalues, smallest first, those that are taken; the first is 0, of the mean."""


def _eigenvalues(luma: Floats, clipped: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Logarithms of the deviations along the principal axes of small windows, of the flattest ones and of all.

    A texture has few of these axes and noise has all, so the smallest are noise alone (Pyatykh et al. 2013, Liu et al.
    2013); of a compressed or denoised image they are next to nothing.
    """
    windows = np.lib.stride_tricks.sliding_window_view(luma, (WINDOW, WINDOW), axis=(1, 2))[:, ::3, ::3]
    if clipped.any():
        whole = ~clipped_within(clipped, WINDOW)[:, ::3, ::3]
        windows = windows[whole] if whole.sum() > 500 else windows
    windows = windows.reshape(-1, WINDOW**2)
    windows = windows - windows.mean(axis=1, keepdims=True)
    number = [min(max(2 * WINDOW**2, int(share * len(windows))), len(windows)) for share in (0.08, 0.25, 1.0)]
    energy = np.einsum("ij,ij->i", windows, windows)
    windows = windows[np.argpartition(energy, [n - 1 for n in number])]
    values = []
    for some in (windows[:n] for n in number):
        deviations = np.sqrt(np.maximum(np.linalg.eigvalsh(some.T @ some / len(some)), 0))
        values.append(np.log(deviations[list(ORDERS)] + 0.05))
    return np.concatenate(values)
