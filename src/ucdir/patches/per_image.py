"""Per-image splitting (Fig. 6): each patch is restored by itself - the baseline, with its seams.

Neighbouring patches draw different detail where they overlap, and no overlap makes them agree. It is here to be
compared with `TileRunner`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ConfigError
from ucdir.patches.split import round_up, split


def restore_per_image(
    restore: Callable[[NDArray[np.float32], int], NDArray[np.float32]],
    degraded: NDArray[np.float32],
    *,
    patch_size: int,
    overlap: int,
    multiple_of: int = 8,
) -> NDArray[np.float32]:
    """Restore an image in patches that know nothing of each other.

    Args:
        restore: (patch [B,3,h,w] in [-1,1], number of the patch) -> restored patch; draw other noise for each number.
        degraded: [B,3,H,W] in [-1,1].
        patch_size: longest side of a patch in pixels, overlaps included; more than twice the overlap.
        overlap: pixels dropped at each inner border; the next multiple of `multiple_of` is taken.
        multiple_of: patches begin on multiples of it.

    Returns:
        [B,3,H,W].

    Raises:
        ConfigError: nothing of a patch would be left without its overlaps.
    """
    overlap = round_up(overlap, multiple_of)
    if patch_size < 2 * overlap + multiple_of:
        raise ConfigError(
            f"a patch size of {patch_size} pixels is too small for overlaps of {overlap}: choose "
            f"{2 * overlap + multiple_of} or more."
        )
    result = np.empty_like(degraded)
    height, width = degraded.shape[-2:]
    for number, patch in enumerate(split(height, width, patch_size, overlap, multiple_of)):
        restored = restore(degraded[..., patch.rows, patch.columns], number)
        patch.write(restored, result)
    return result
