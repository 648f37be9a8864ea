"""What is measured of an image: the numbers that the classifier sees."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ucdir.inspection.jpeg_traces import clipped_places, jpeg_traces
from ucdir.inspection.patches import SIDE, Floats, Patches

DIRECTIONS: Final = 16
"""Over half a turn."""
RADII: Final = np.geomspace(2 / SIDE, 0.5, 13)
"""Borders of the bands of the power spectrum, in cycles a pixel."""
LAGS: Final = np.array([*range(1, 17), *range(18, 45, 2)], np.float64)
"""Of autocorrelations and cepstra, in pixels."""
EDGES: Final = (2, 4, 8, 16)
"""Half widths in pixels across which the height of an edge is measured."""
STRONG: Final = 24
"""Height in levels of an edge whose sharpness counts."""


def features(patches: Patches) -> tuple[NDArray[np.float32], dict[str, float]]:
    """A vector for the classifier, and what of it is told by itself."""
    pixels = np.concatenate([patches.detailed, patches.flat])
    luma, chroma = _luma(pixels)
    sharp, wide = luma[: len(patches.detailed)], _luma(patches.wide)[0]
    spectrum, direction = _spectrum(sharp)
    angle = float(-math.degrees(direction) % 180)
    clipped = clipped_places(pixels)
    jpeg, found = jpeg_traces(luma, clipped)
    parts = [
        spectrum, _wide_spectrum(wide, direction), _edges(sharp), _noise(luma, chroma), _by_brightness(pixels, luma),
        _eigenvalues(luma, clipped), jpeg,
    ]  # fmt: skip
    vector = np.concatenate(parts).astype(np.float32)
    return np.nan_to_num(vector, nan=0.0, posinf=0.0, neginf=0.0), {"angle": angle, **found}


def _luma(patches: Floats) -> tuple[Floats, Floats]:
    """Luma [N,H,W], and the two differences of colour to it [N,2,H,W]."""
    if patches.shape[3] == 1:
        luma = np.ascontiguousarray(patches[..., 0])
        return luma, np.zeros((len(luma), 2, *luma.shape[1:]), np.float32)
    red, green, blue = (patches[..., c] for c in range(3))
    luma = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
    return luma, np.stack([(blue - luma) * np.float32(0.564), (red - luma) * np.float32(0.713)], axis=1)


# --------------------------------------------------------------------------------------------------------------- blur


@cache
def _polar() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Direction and band of each frequency of `rfft2`; those outside of the bands count as another band."""
    down, across = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]
    turn = np.rint(np.arctan2(down, across) / (math.pi / DIRECTIONS)).astype(np.int64) % DIRECTIONS
    band = np.searchsorted(RADII, np.hypot(down, across), side="right") - 1
    bands = len(RADII) - 1
    return turn, np.where((band >= 0) & (band < bands), band, bands)


@cache
def _window() -> Floats:
    window = np.hanning(SIDE + 2)[1:-1].astype(np.float32)
    return window[:, None] * window


def _spectrum(luma: Floats) -> tuple[NDArray[np.float64], float]:
    """Power by direction and band, autocorrelations along the direction of the least detail and across it.

    Directions are counted from that one, so that a blur looks the same whichever way the camera moved.
    """
    power = _power(luma)
    bands = len(RADII) - 1
    each = np.stack([_by_direction(plane) for plane in power])
    mean = _by_direction(power.mean(axis=0))
    middle = slice(bands // 2, bands - 1)
    least = mean[:, middle].mean(axis=1)
    smoothed = least + 0.5 * (np.roll(least, 1) + np.roll(least, -1))
    start = int(np.argmin(smoothed))
    sharpest = each[np.argmax(each[:, :, middle].mean(axis=(1, 2)))]
    before, here, after = smoothed[start - 1], smoothed[start], smoothed[(start + 1) % DIRECTIONS]
    bend = before - 2 * here + after
    fine = 0.0 if bend <= 0 else float(0.5 * (before - after) / bend)
    direction = (start + fine) * math.pi / DIRECTIONS
    radial = each.mean(axis=1)  # [N,bands]
    lines = _lines(power.mean(axis=0), direction)
    return np.concatenate(
        [
            _folded(mean, start),
            _folded(sharpest, start),
            np.percentile(radial, (10, 90), axis=0).ravel(),
            lines,
        ]
    ), direction


def _power(luma: Floats) -> Floats:
    """Power spectra of patches, each of the same mean."""
    centred = (luma - luma.mean(axis=(1, 2), keepdims=True)) * _window()
    power: Floats = np.abs(np.fft.rfft2(centred)) ** 2
    power /= power.mean(axis=(1, 2), keepdims=True) + 1e-3
    return power


def _by_direction(power: Floats) -> NDArray[np.float64]:
    """Logarithms of the mean power, by direction and band."""
    turn, band = _polar()
    bands = len(RADII) - 1
    index = (turn * (bands + 1) + band).ravel()
    count = np.bincount(index, minlength=DIRECTIONS * (bands + 1))
    sums = np.bincount(index, power.ravel(), DIRECTIONS * (bands + 1)) / np.maximum(count, 1)
    logarithms: NDArray[np.float64] = np.log10(sums.reshape(DIRECTIONS, bands + 1)[:, :bands] + 1e-7)
    return logarithms


def _wide_spectrum(luma: Floats, direction: float) -> NDArray[np.float64]:
    """Of the wide parts, in which a long blur shows: power by direction and band, and along the direction found."""
    power = _power(luma).mean(axis=0)
    start = round(direction * DIRECTIONS / math.pi) % DIRECTIONS
    folded = _folded(_by_direction(power), start).reshape(-1, len(RADII) - 1)
    return np.concatenate([folded[::2].ravel(), _lines(power, direction)[: 2 * len(LAGS)]])


def _folded(polar: NDArray[np.float64], start: int) -> NDArray[np.float64]:
    """By the angle to a direction, either way: [DIRECTIONS / 2 + 1, bands], flat."""
    turned = np.roll(polar, -start, axis=0)
    half = DIRECTIONS // 2 + 1
    folded: NDArray[np.float64] = 0.5 * (turned[:half] + np.roll(turned[::-1], 1, axis=0)[:half])
    return folded.ravel()


def _lines(power: Floats, direction: float) -> NDArray[np.float64]:
    """Autocorrelations of the derivative and cepstra, along a direction and across it, of each lag."""
    down, across = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]
    lags = LAGS
    lines = []
    cepstrum = np.fft.irfft2(np.log(power + 1e-5), s=(SIDE, SIDE))
    for turned in (direction, direction + math.pi / 2):
        y, x = math.sin(turned), math.cos(turned)
        derivative = np.fft.irfft2(power * np.sin(math.pi * (y * down + x * across)) ** 2, s=(SIDE, SIDE))
        for plane, unit in ((derivative, derivative[0, 0] + 1e-9), (cepstrum, 1.0)):
            lines.append(_sampled(plane, y * lags, x * lags) / unit)
    return np.concatenate(lines)


def _sampled(
    plane: NDArray[np.floating], y: NDArray[np.floating], x: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Bilinearly, of a plane that goes round."""
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = y - top, x - left
    at = [plane[(top + i) % SIDE, (left + j) % SIDE] for i in (0, 1) for j in (0, 1)]
    result: NDArray[np.float64] = (at[0] * (1 - right) + at[1] * right) * (1 - below) + (
        at[2] * (1 - right) + at[3] * right
    ) * below
    return result


def _edges(luma: Floats) -> NDArray[np.float64]:
    """How much of an edge's height lies between two neighbours: all of a sharp one, 1/L of one blurred by L pixels."""
    found = []
    for lines in (luma, luma.swapaxes(1, 2)):
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
        for scale in range(3):
            stds = [_block_stds(part)[usable] for part in _haar(scaled)]
            values += np.log(_percentiles(stds[2], (2, 10, 30, 60)) + 0.1).tolist()
            values += [math.log(float(_percentiles(std, (10,))[0]) + 0.1) for std in stds[:2]]
            if scale < 2:
                scaled = (
                    scaled[:, ::2, ::2] + scaled[:, 1::2, ::2] + scaled[:, ::2, 1::2] + scaled[:, 1::2, 1::2]
                ) * np.float32(0.25)
    clipped = ((luma < 1).mean(), (luma > 254).mean(), usable.mean(), luma.mean() / 255)
    return np.array([*values, *clipped, _kurtosis(luma), _rows(luma)])


def _percentiles(values: NDArray[Any], percents: tuple[float, ...]) -> Floats:
    """As `np.percentile`, without its interpolation, which takes longer than the rest."""
    ranks = [int(p / 100 * (values.size - 1)) for p in percents]
    ranked: Floats = np.partition(values, ranks)[ranks]
    return ranked


def _haar(planes: Floats) -> tuple[Floats, Floats, Floats]:
    """Horizontal, vertical and diagonal differences of 2x2 pixels; white noise keeps its deviation."""
    a, b, c, d = planes[:, ::2, ::2], planes[:, ::2, 1::2], planes[:, 1::2, ::2], planes[:, 1::2, 1::2]
    half = np.float32(0.5)
    return (a - b + c - d) * half, (a + b - c - d) * half, (a - b - c + d) * half


def _block_means(planes: Floats) -> Floats:
    means: Floats = planes.reshape(len(planes), SIDE // 16, 16, SIDE // 16, 16).mean(axis=(2, 4))
    return means


def _block_stds(planes: Floats) -> Floats:
    """Of the 8x8 blocks of each plane, [N,SIDE/16,SIDE/16]."""
    side = planes.shape[1] // (SIDE // 16)
    blocks = planes.reshape(len(planes), SIDE // 16, side, SIDE // 16, side)
    stds: Floats = np.sqrt(np.square(blocks).mean(axis=(2, 4)))
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
    variance = float(np.square(diagonal).mean())
    return math.log(float((diagonal**4).mean()) / (variance * variance + 1e-3) + 0.1)


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
    shape = (WINDOW, WINDOW)

    def windows_of(planes: NDArray[Any]) -> NDArray[Any]:
        windows = np.lib.stride_tricks.sliding_window_view(planes, shape, axis=(1, 2))
        return windows[:, ::3, ::3].reshape(-1, WINDOW**2)

    windows, whole = windows_of(luma), ~windows_of(clipped).any(axis=1)
    if whole.sum() > 500:
        windows = windows[whole]
    windows = windows - windows.mean(axis=1, keepdims=True)
    order = np.argsort(np.square(windows).sum(axis=1))
    values = []
    for share in (0.08, 0.25, 1.0):
        some = windows[order[: max(2 * WINDOW**2, int(share * len(order)))]]
        deviations = np.sqrt(np.maximum(np.linalg.eigvalsh(some.T @ some / len(some)), 0))
        values.append(np.log(deviations[list(ORDERS)] + 0.05))
    return np.concatenate(values)
