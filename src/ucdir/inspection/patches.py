"""Which parts of an image are looked at: those with the most detail, and the flattest."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ucdir.images.pixels import Pixels
from ucdir.memory import copied

Floats = NDArray[np.float32]

SIDE: Final = 128
"""Of a patch, in pixels; a multiple of 8, so that patches begin where the blocks of a JPEG file do."""
SMALLEST: Final = 48
"""Shortest side in pixels of an image of which anything is said."""
EVEN: Final = 0.02
"""Detail in levels below which there is none."""
DETAILED: Final = 8
"""Patches with the most detail: what is sharp in a photo is in the plane of focus, wherever that is."""
FLAT: Final = 4
"""Patches with the least, in which noise shows."""
SHARP: Final = 40
"""Height in levels of an edge of drawings."""
EQUAL: Final = 0.4
"""Share of neighbours that are equal beside such an edge."""
WIDE: Final = 4
"""Wide parts, at most."""
CANDIDATES: Final = 192
"""Patches of a large image that are compared."""


class Patches(NamedTuple):
    """Parts of an image in 8-bit levels, [N,SIDE,SIDE,C] each."""

    detailed: Floats
    """With the most detail, most first."""
    flat: Floats
    """With the least, least first."""
    wide: Floats
    """Twice as wide and high around those with the most detail, shrunk to half: for long blurs."""


def choose_patches(pixels: Pixels, alpha: Pixels | None = None) -> Patches | None:
    """The parts of an image that are looked at.

    Args:
        pixels: uint8 or uint16 [H,W,C].
        alpha: opacity [H,W], or None; where there is enough else, parts with transparency are not looked at.

    Returns:
        None where the image is smaller than `SMALLEST`, or of one colour.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        return None
    places = _places(height, width)
    if alpha is not None:
        opaque = np.iinfo(alpha.dtype).max
        whole = [(y, x) for y, x in places if _part(alpha, y, x, SIDE).min() == opaque]
        places = whole or places
    detail = np.array([_detail(_part(pixels, y, x, SIDE)) for y, x in places])
    if detail[:, 0].max() < EVEN:
        return None
    order = np.argsort(-detail[:, 0], kind="stable")
    detailed = order[:DETAILED]
    flat = [i for i in order[::-1] if detail[i, 1] < 0.5][:FLAT] or order[-1:]
    scale = np.float32(255 / np.iinfo(pixels.dtype).max)

    def cut(numbers: NDArray[np.int64] | list[np.int64]) -> Floats:
        parts = (_cut(pixels, *places[i], SIDE) for i in numbers)
        return np.stack([*parts]) * scale

    wide: list[tuple[int, int]] = []
    for y, x in (places[i] for i in detailed):
        top, left = (max(0, min(at - SIDE // 2, size - 2 * SIDE)) for at, size in ((y, height), (x, width)))
        if len(wide) < WIDE and all(max(abs(top - t), abs(left - w)) >= SIDE for t, w in wide):
            wide.append((top, left))
    coarse = np.stack([_cut(pixels, y, x, 2 * SIDE) for y, x in wide]).astype(np.float32)
    coarse = coarse[:, ::2, ::2] + coarse[:, 1::2, ::2] + coarse[:, ::2, 1::2] + coarse[:, 1::2, 1::2]
    return Patches(cut(detailed), cut(flat), coarse * (scale / 4))


def is_drawn(patches: Patches) -> bool:
    """Whether an image is drawn by a program, and no pixel was changed since: beside its edges, neighbours are equal.

    Whatever else looks like blur or blocks in it is meant.
    """
    steps = np.abs(np.diff(patches.detailed, axis=2))[:, :, : SIDE - 8]  # [N,SIDE,SIDE-8,C]
    blocks = steps.max(axis=3).reshape(len(steps), SIDE // 8, 8, SIDE // 8 - 1, 8)
    edges = blocks.max(axis=(2, 4)) > SHARP
    equal = (blocks == 0).mean(axis=(2, 4))[edges]
    return len(equal) >= 8 and float(np.median(equal)) > EQUAL


def _places(height: int, width: int) -> list[tuple[int, int]]:
    """Top and left of the candidates."""
    rows, columns = _starts(height), _starts(width)
    places = [(y, x) for y in rows for x in columns]
    if len(places) <= CANDIDATES:
        return places
    # spread evenly, not in step with the columns
    return [places[int(i)] for i in np.linspace(0, len(places) - 1, CANDIDATES)]


def _starts(size: int) -> range:
    return range(size % SIDE // 16 * 8, max(size - SIDE, 0) + 1, SIDE) if size > SIDE else range(1)


def _detail(patch: Pixels) -> tuple[float, float]:
    """Mean size of the finest differences, and which share of the patch is black or white."""
    channel = patch.shape[2] // 2
    levels = np.iinfo(patch.dtype).max
    rows = patch[::4, :, channel].astype(np.int32)
    columns = patch[:, ::4, channel].astype(np.int32)
    fine = np.abs(2 * rows[:, 1:-1] - rows[:, :-2] - rows[:, 2:]).mean()
    fine += np.abs(2 * columns[1:-1] - columns[:-2] - columns[2:]).mean()
    return float(fine) * 255 / levels, float(
        ((rows <= levels // 85) | (rows >= levels - levels // 85)).mean()
    )


def _part(samples: Pixels, top: int, left: int, side: int) -> Pixels:
    """A square part, in memory whatever the image lies in."""
    return copied(samples, slice(top, top + side), slice(left, left + side))


def _cut(pixels: Pixels, top: int, left: int, side: int) -> Pixels:
    """A square part; of an image smaller than it, mirrored."""
    part = _part(pixels, top, left, side)
    missing = [(0, side - size) for size in part.shape[:2]]
    return np.pad(part, (*missing, (0, 0)), mode="symmetric") if any(after for _, after in missing) else part
