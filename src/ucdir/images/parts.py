"""Parts of a photograph that lies in a file, as networks see them, and back: to the bit what the whole would give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ucdir.images.photo import Photo
from ucdir.images.pixels import Pixels, Signal
from ucdir.images.srgb import PURE_RADIUS, filled, from_srgb_signal, halved, to_srgb_signal
from ucdir.memory import copied

_HALVINGS: Final = 8
_SQUARE: Final = 1 << _HALVINGS


class PhotoParts:
    """A photograph of which parts are converted, as `images.srgb` converts a whole one.

    What is read of a file is not kept in memory.
    """

    def __init__(self, photo: Photo) -> None:
        """Take a photograph; where it is transparent its colours are looked through once, in bands."""
        self.photo = photo
        self.height, self.width = photo.pixels.shape[:2]
        self.means = None if photo.alpha is None else self._means(photo.alpha)

    def _means(self, alpha: Pixels) -> NDArray[np.float32] | None:
        """Means of the visible pixels in squares of 256 pixels, the nearest ones where there are none.

        So no part needs more for its transparent pixels than the squares that it lies in, as `filled` goes by powers of
        two. None where all pixels are visible, or none.
        """
        means, there, hidden = [], [], False
        for top in range(0, self.height, _SQUARE):
            rows, columns = slice(top, top + _SQUARE), slice(0, self.width)
            known: NDArray[np.bool_] = copied(alpha, rows, columns) > 0
            hidden |= not known.all()
            band: Any = copied(self.photo.pixels, rows, columns)
            for _ in range(_HALVINGS):
                band, known = halved(band, known)
            means.append(band)
            there.append(known)
        known = np.concatenate(there)
        if not hidden or not known.any():
            return None
        return filled(np.concatenate(means), known)  # type: ignore[return-value]

    def signal(self, rows: slice, columns: slice) -> Signal:
        """What networks are given of a part, float32 [1,3,h,w] in [-1,1]; see `to_srgb_signal`."""
        alpha = self.alpha(rows, columns)
        hidden = self.means is not None and alpha is not None and not alpha.all()
        pixels = self._filled(rows, columns) if hidden else copied(self.photo.pixels, rows, columns)
        return to_srgb_signal(replace(self.photo, pixels=pixels, alpha=None, jpeg_coefficients=None))

    def alpha(self, rows: slice, columns: slice) -> Pixels | None:
        """Of a part, [h,w]."""
        alpha = self.photo.alpha
        return None if alpha is None else copied(alpha, rows, columns)

    def _filled(self, rows: slice, columns: slice) -> Pixels:
        squares = [slice(part.start // _SQUARE, -(-part.stop // _SQUARE)) for part in (rows, columns)]
        whole = [slice(part.start * _SQUARE, part.stop * _SQUARE) for part in squares]
        pixels, alpha, means = self.photo.pixels, self.photo.alpha, self.means
        assert alpha is not None and means is not None  # noqa: S101, PT018 (for the type checker)
        found = filled(copied(pixels, *whole), copied(alpha, *whole) > 0, _HALVINGS, means[*squares])
        top, left = whole[0].start, whole[1].start
        return found[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

    def pixels(self, signal: Signal, rows: slice, columns: slice) -> Pixels:
        """The restored part in the photograph's own space, [h,w,C]; see `from_srgb_signal`."""
        top, left = (max(part.start - PURE_RADIUS, 0) for part in (rows, columns))
        wide = [slice(start, part.stop + PURE_RADIUS) for start, part in ((top, rows), (left, columns))]
        around = copied(self.photo.pixels, *wide)
        at = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
        part = replace(self.photo, pixels=around[at], alpha=self.alpha(rows, columns), jpeg_coefficients=None)
        return from_srgb_signal(signal, part, around, at)
