"""The spectra of an image's parts by direction and frequency, which show how long a blur is, and which way it goes.

Directions are evenly spaced, and frequencies by their logarithms: another direction or length of a blur shifts what
is seen, and changes nothing else of it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ucdir.inspection.patches import Floats

DIRECTIONS: Final = 32
"""Over half a turn, from the right, clockwise."""
BANDS: Final = 36
"""Of frequencies."""
BORDERS: Final = np.geomspace(1 / 128, 0.5, BANDS + 1)
"""Of the bands, in cycles a pixel."""
CHANNELS: Final = 4
FAINT: Final = np.float32(0.02)
"""Power in levels² of white noise, a quarter of what rounding adds, that is added to all."""
ACROSS: Final = (-1 / 3, 0, 1 / 3)
"""Where a plane is looked at for one direction, in steps to the next."""
WITHIN: Final = 4
"""At how many frequencies it is for one band."""


def spectra(detailed: Floats, wide: Floats) -> Floats:
    """Logarithms of power spectra, but of noise, and cepstrum, [CHANNELS,DIRECTIONS,BANDS].

    The mean of many logarithms shows where blur has left nothing, which the content of one part hides. Channels are the
    mean of the wide parts, that of the detailed ones, the first wide part, and the cepstrum of the wide ones.

    Args:
        detailed: luma in levels, [N,n,n].
        wide: likewise, of larger parts.
    """
    within, around = _log_power(detailed).mean(axis=0), _log_power(wide)
    mean, side = around.mean(axis=0), wide.shape[1]
    cepstrum = np.fft.irfft2(mean, s=(side, side)).astype(np.float32, copy=False)
    return np.stack(
        [
            *(_sampled(plane, *_frequencies(len(plane))) for plane in (mean, within, around[0])),
            _sampled(cepstrum, *_lags(side)),
        ]
    )


@cache
def _window(side: int) -> Floats:
    window = np.hanning(side + 2)[1:-1]
    plane = window[:, None] * window
    return np.asarray(plane / np.sqrt(np.square(plane).mean()), np.float32)


def _log_power(luma: Floats) -> Floats:
    """[N,n,n/2+1]; of white noise, the power is its variance."""
    side = luma.shape[1]
    result = np.empty((len(luma), side, side // 2 + 1), np.float32)
    for plane, logarithms in zip(luma, result, strict=True):  # one by one, in the processor's cache
        power = np.square(np.abs(np.fft.rfft2((plane - plane.mean()) * _window(side))))
        np.log(power * np.float32(side**-2) + FAINT, out=logarithms)
    return result


def _sampled(plane: Floats, places: NDArray[np.int64], weights: Floats) -> Floats:
    values: Floats = np.einsum("ij,ij->i", plane.ravel()[places], weights)
    return values.reshape(DIRECTIONS, BANDS)


@cache
def _frequencies(side: int) -> tuple[NDArray[np.int64], Floats]:
    """Places in a plane of `rfft2` for each direction and band, and their weights, [DIRECTIONS·BANDS,K] each."""
    turn = (np.arange(DIRECTIONS)[:, None] + ACROSS) * math.pi / DIRECTIONS
    steps = (np.arange(WITHIN) + 0.5) / WITHIN
    radius = BORDERS[:-1, None] * (BORDERS[1] / BORDERS[0]) ** steps
    down, across = (
        (side * part(turn)[:, None, :, None] * radius[None, :, None]).reshape(DIRECTIONS * BANDS, -1)
        for part in (np.sin, np.cos)
    )
    down = np.where(across < 0, -down, down)  # the other half of the plane is the same
    across = np.minimum(np.abs(across), side / 2 - 1e-3)
    return _bilinear(down, across, side, side // 2 + 1)


@cache
def _lags(side: int) -> tuple[NDArray[np.int64], Floats]:
    """Likewise in a plane of `irfft2`: the lags that are one period of each band's middle."""
    turn = np.arange(DIRECTIONS) * math.pi / DIRECTIONS
    lag = np.minimum(1 / np.sqrt(BORDERS[:-1] * BORDERS[1:]), side / 2 - 2)
    down, across = ((part(turn)[:, None] * lag).reshape(-1, 1) for part in (np.sin, np.cos))
    return _bilinear(down, across, side, side)


def _bilinear(
    down: NDArray[np.float64], across: NDArray[np.float64], rows: int, columns: int
) -> tuple[NDArray[np.int64], Floats]:
    """Places in a flat plane that goes round, and their weights, the mean over each row."""
    top, left = np.floor(down).astype(np.int64), np.floor(across).astype(np.int64)
    below, right = down - top, across - left
    corners = [
        (((top + i) % rows) * columns + (left + j) % columns, abs(1 - i - below) * abs(1 - j - right))
        for i in (0, 1)
        for j in (0, 1)
    ]
    places = np.concatenate([place for place, _ in corners], axis=1)
    weights = np.concatenate([weight for _, weight in corners], axis=1) / down.shape[1]
    return places, weights.astype(np.float32)
