"""Which parts of an image are looked at: those with the most detail, and the flattest."""

from __future__ import annotations

from functools import reduce
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ucdir.images.pixels import Pixels
from ucdir.memory import copied, mapping

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
WIDE: Final = 6
"""Wide parts, at most."""
CANDIDATES: Final = 192
"""Patches of a large image that are compared."""


class Patches(NamedTuple):
    """Parts of an image in 8-bit levels."""

    detailed: Floats
    """With the most detail, most first, [N,SIDE,SIDE,C]."""
    flat: Floats
    """With the least, least first, [N,SIDE,SIDE,C]."""
    wide: Floats
    """Luma, twice as wide and high around those with the most detail, [N,2 SIDE,2 SIDE]: for long blurs."""


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
    detail, extreme = _detail([_part(pixels, y, x, SIDE) for y, x in places])
    if detail.max() < EVEN:
        return None
    order = np.argsort(-detail, kind="stable")
    detailed = order[:DETAILED]
    flat = [i for i in order[::-1] if extreme[i] < 0.5][:FLAT] or order[-1:]
    scale = np.float32(255 / np.iinfo(pixels.dtype).max)

    def cut(numbers: NDArray[np.int64] | list[np.int64]) -> Floats:
        parts = (_cut(pixels, *places[i], SIDE) for i in numbers)
        return np.stack([*parts]) * scale

    wide: list[tuple[int, int]] = []
    for y, x in (places[i] for i in detailed):
        top, left = (max(0, min(at - SIDE // 2, size - 2 * SIDE)) for at, size in ((y, height), (x, width)))
        if len(wide) < WIDE and all(max(abs(top - t), abs(left - w)) >= SIDE for t, w in wide):
            wide.append((top, left))
    around = np.stack([luma_of(_cut(pixels, y, x, 2 * SIDE)) for y, x in wide])
    return Patches(cut(detailed), cut(flat), around * scale)


def luma_of(pixels: NDArray[Any]) -> Floats:
    """[...,C] -> [...], in the same unit."""
    weights = (0.299, 0.587, 0.114) if pixels.shape[-1] == 3 else (1.0,)
    parts = [np.float32(weight) * pixels[..., channel] for channel, weight in enumerate(weights)]
    luma: Floats = reduce(np.add, parts)
    return luma


def is_drawn(patches: Patches) -> bool:
    """Whether an image is drawn by a program, and no pixel was changed since: beside its edges, neighbours are equal.

    Whatever else looks like blur or blocks in it is meant.
    """
    steps = np.abs(np.diff(patches.detailed[:, ::2], axis=2))[:, :, : SIDE - 8]  # [N,SIDE/2,SIDE-8,C]
    largest = reduce(np.maximum, (steps[..., channel] for channel in range(steps.shape[3])))
    blocks = largest.reshape(len(steps), SIDE // 8, 4, SIDE // 8 - 1, 8)
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


def _detail(patches: list[Pixels]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each patch, the mean size of the finest differences in levels, and which share is black or white."""
    channel, levels, side = (
        patches[0].shape[2] // 2,
        np.iinfo(patches[0].dtype).max,
        min(patches[0].shape[:2]),
    )
    lines = np.stack(
        [np.concatenate([part[::8, :side, channel], part[:side, ::8, channel].T]) for part in patches]
    )
    extreme = (lines <= levels // 85) | (lines >= levels - levels // 85)
    lines = lines.astype(np.int16 if levels < 256 else np.int32)
    fine = np.abs(2 * lines[:, :, 1:-1] - lines[:, :, :-2] - lines[:, :, 2:])
    return 2 * fine.mean(axis=(1, 2)) * 255 / levels, extreme.mean(axis=(1, 2))


def _part(samples: Pixels, top: int, left: int, side: int) -> Pixels:
    """A square part, in memory whatever the image lies in."""
    rows, columns = slice(top, top + side), slice(left, left + side)
    return samples[rows, columns] if mapping(samples) is None else copied(samples, rows, columns)


def _cut(pixels: Pixels, top: int, left: int, side: int) -> Pixels:
    """A square part; of an image smaller than it, mirrored."""
    part = _part(pixels, top, left, side)
    missing = [(0, side - size) for size in part.shape[:2]]
    return np.pad(part, (*missing, (0, 0)), mode="symmetric") if any(after for _, after in missing) else part
