"""Inter-step patch-splitting (Sec. 3.3, Fig. 2 right): one evaluation of a network, patch by patch.

At each diffusion step the image is split into overlapping patches, the network runs on each, and the overlaps are
dropped when the results are put together. A network whose operations are all local gives the same result as on the
whole image if two things hold, and both are arranged here: the dropped overlap is at least its receptive field, and
patches begin on the grid of its coarsest level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from ucdir.errors import ConfigError
from ucdir.mirror import mirrored
from ucdir.patches.memory import trim_heap


@dataclass(frozen=True)
class Patch:
    """Where a patch is read and which part of it is kept, in pixels of the image (or of the padded image)."""

    rows: slice
    columns: slice
    kept_rows: slice
    kept_columns: slice

    def kept(self, result: Tensor) -> Tensor:
        """The part of the patch's result that is kept; the overlap is dropped."""
        y, x = self.kept_rows.start - self.rows.start, self.kept_columns.start - self.columns.start
        height = self.kept_rows.stop - self.kept_rows.start
        width = self.kept_columns.stop - self.kept_columns.start
        return result[..., y : y + height, x : x + width]


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple that is not below `number`."""
    return -(-number // multiple) * multiple


def smallest_patch(receptive_field: int, multiple_of: int) -> int:
    """The smallest side of a patch of which at least a third a side is left when its overlaps are dropped."""
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


def apply_in_patches(
    function: Callable[..., Tensor],
    images: Sequence[Tensor],
    *,
    patch_size: int,
    receptive_field: int,
    multiple_of: int,
) -> Tensor:
    """Evaluate a local network on images of any size.

    Args:
        function: takes patches of all `images`, [B,C,h,w] with h and w multiples of `multiple_of`, and gives [B,3,h,w].
        images: one or more [B,C,H,W] of the same B, H and W.
        patch_size: longest side of a patch in pixels, overlaps included.
        receptive_field: radius in pixels beyond which the function does not look.
        multiple_of: total stride of the function.

    Returns:
        [B,3,H,W]: what the function would give on the whole images, mirrored at the lower and right border to the next
        multiple of `multiple_of`.

    Raises:
        ConfigError: `patch_size` is too small to keep anything of a patch.
    """
    height, width = images[0].shape[-2:]
    full_height, full_width = round_up(height, multiple_of), round_up(width, multiple_of)
    smallest = smallest_patch(receptive_field, multiple_of)
    if not isinstance(patch_size, int) or patch_size < min(smallest, max(full_height, full_width)):
        raise ConfigError(
            f"a patch size of {patch_size} pixels is too small for this model, which looks {receptive_field} pixels "
            f"around each pixel: choose {smallest} or more."
        )
    result: Tensor | None = None
    overlap = round_up(receptive_field, multiple_of)
    patches = list(split(full_height, full_width, patch_size, overlap, multiple_of))
    for patch in patches:
        if len(patches) > 1:
            trim_heap()
        part = patch.kept(function(*(_read(image, patch, full_height, full_width) for image in images)))
        if result is None:
            result = part.new_empty((*part.shape[:2], height, width))
        kept = result[..., patch.kept_rows, patch.kept_columns]
        kept.copy_(part[..., : kept.shape[-2], : kept.shape[-1]])
    assert result is not None  # noqa: S101 (an image has at least one patch)
    return result


def _read(image: Tensor, patch: Patch, full_height: int, full_width: int) -> Tensor:
    """A patch of the image mirrored to its full size; only patches at the lower and right border reach beyond it."""
    height, width = image.shape[-2:]
    found = image[..., patch.rows, patch.columns]
    if patch.rows.stop <= height and patch.columns.stop <= width:
        return found
    rows = mirrored(patch.rows, height, image.device)
    columns = mirrored(patch.columns, width, image.device)
    return image[..., rows[:, None], columns]
