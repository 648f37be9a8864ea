"""Inter-step patch-splitting (Sec. 3.3, Fig. 2 right): where the patches of an image lie.

At each diffusion step the image is split into overlapping patches, the network runs on each, and the overlaps are
dropped when the results are put together. A network whose operations are all local gives the same result as on the
whole image if two things hold, and both are arranged here: the dropped overlap is at least its receptive field, and
patches begin on the grid of its coarsest level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Patch:
    """Where a patch is read and which part of it is kept, in pixels of the image (or of the padded image)."""

    rows: slice
    columns: slice
    kept_rows: slice
    kept_columns: slice

    def read(self, image: Any) -> NDArray[Any]:
        """The patch [B,C,h,w] of an image [B,C,H,W], mirrored where the patch reaches beyond it.

        The image is an array, or `LazyPlanes`.
        """
        height, width = image.shape[-2:]
        if self.rows.stop <= height and self.columns.stop <= width:
            patch: NDArray[Any] = image[..., self.rows, self.columns]
            return patch
        rows, columns = mirrored(self.rows, height), mirrored(self.columns, width)
        top, left = rows.min(), columns.min()
        inside = image[
            ..., top : rows.max() + 1, left : columns.max() + 1
        ]  # what `LazyPlanes` can be asked for
        reflected: NDArray[Any] = inside[..., (rows - top)[:, None], columns - left]
        return reflected

    def kept(self, result: NDArray[Any]) -> NDArray[Any]:
        """The part of the patch's result that is kept; the overlap is dropped."""
        y, x = self.kept_rows.start - self.rows.start, self.kept_columns.start - self.columns.start
        height = self.kept_rows.stop - self.kept_rows.start
        width = self.kept_columns.stop - self.kept_columns.start
        return result[..., y : y + height, x : x + width]

    def write(self, result: NDArray[Any], into: NDArray[Any]) -> None:
        """Put the kept part of the patch's result into an image [B,C,H,W]; what lies beyond the image is dropped."""
        kept = into[..., self.kept_rows, self.kept_columns]
        kept[:] = self.kept(result)[..., : kept.shape[-2], : kept.shape[-1]]


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple that is not below `number`."""
    return -(-number // multiple) * multiple


def mirrored(part: slice, length: int) -> NDArray[np.intp]:
    """Indices of a stretch that may reach beyond `length`: 0 1 2 | 1 0 1 2 … as a mirror in the last pixel gives."""
    period = max(2 * (length - 1), 1)
    index = np.arange(part.start, part.stop) % period
    return np.where(index < length, index, period - index)


def smallest_patch(receptive_field: int, multiple_of: int) -> int:
    """The smallest side of a patch that keeps at least a third of it when its overlaps are dropped."""
    return 3 * round_up(receptive_field, multiple_of)


def intervals(length: int, patch: int, overlap: int, multiple_of: int) -> list[tuple[slice, slice]]:
    """Cut one side of an image: what each patch reads, and what of it is kept.

    Args:
        length: of the side, a multiple of `multiple_of`.
        patch: longest stretch that is read.
        overlap: what is dropped on each side of a cut, a multiple of `multiple_of`.
        multiple_of: cuts lie on multiples of it.
    """
    if length <= patch:
        return [(slice(0, length), slice(0, length))]
    core = (patch - 2 * overlap) // multiple_of * multiple_of
    # equal shares, so that the last patch is not a sliver
    count = -(-length // core)
    core = round_up(-(-length // count), multiple_of)
    cut = []
    for start in range(0, length, core):
        stop = min(start + core, length)
        cut.append((slice(max(start - overlap, 0), min(stop + overlap, length)), slice(start, stop)))
    return cut


def split(height: int, width: int, patch_size: int, overlap: int, multiple_of: int) -> Iterator[Patch]:
    """The patches of an image, row by row; the kept parts cover it exactly once."""
    for rows, kept_rows in intervals(height, patch_size, overlap, multiple_of):
        for columns, kept_columns in intervals(width, patch_size, overlap, multiple_of):
            yield Patch(rows, columns, kept_rows, kept_columns)
