"""Noise by place: ε at a pixel is a function of (seed, step, position), whatever is around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CELL = 128
"""Side in pixels of the squares that are drawn at once; part of the definition: another number, another noise."""


def noise_by_place(
    seed: int, step: int, height: int, width: int, *, top: int = 0, left: int = 0
) -> NDArray[np.float32]:
    """Independent normal numbers ε ~ N(0, I).

    The plane is cut into cells of 128x128 pixels. The numbers of a cell come from the counter-based generator Philox,
    keyed by (seed, step, row of the cell, column of the cell), so each cell can be drawn alone, in any order.

    Args:
        seed: 0 to 2⁶⁴ - 1.
        step: 0 for the noise that sampling starts from, i for the noise added after step i.
        height: of the rectangle to fill, in pixels.
        width: of the rectangle to fill, in pixels.
        top: position of the rectangle in the plane, at least 0.
        left: position of the rectangle in the plane, at least 0.

    Returns:
        [1,3,height,width].
    """
    noise = np.empty((1, 3, height, width), dtype=np.float32)
    for row in range(top // CELL, -(-(top + height) // CELL)):
        for column in range(left // CELL, -(-(left + width) // CELL)):
            y, x = row * CELL - top, column * CELL - left  # corner of the cell within the rectangle
            rows, columns = slice(max(y, 0), y + CELL), slice(max(x, 0), x + CELL)
            part = noise[:, :, rows, columns]
            y, x = max(-y, 0), max(-x, 0)  # the rectangle's corner within the cell
            part[:] = _cell(seed, step, row, column)[:, y : y + part.shape[2], x : x + part.shape[3]]
    return noise


class NoiseByPlace:
    """The noise of a batch of images of one size, each by its own seed: step -> ε [B,3,H,W]."""

    def __init__(self, seeds: Sequence[int], height: int, width: int) -> None:
        self.seeds, self.height, self.width = seeds, height, width

    def __call__(self, step: int) -> NDArray[np.float32]:
        """ε of one step, see `noise_by_place`."""
        noise = [noise_by_place(seed, step, self.height, self.width) for seed in self.seeds]
        return noise[0] if len(noise) == 1 else np.concatenate(noise)


def _cell(seed: int, step: int, row: int, column: int) -> NDArray[np.float32]:
    place = np.random.SeedSequence((seed, step, row, column))
    return np.random.Generator(np.random.Philox(place)).standard_normal((3, CELL, CELL), dtype=np.float32)
