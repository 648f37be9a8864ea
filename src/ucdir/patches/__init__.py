"""High resolution (Sec. 3.3): inter-step patch-splitting, and the per-image splitting it is compared with."""

from ucdir.patches.lazy import LazyPlanes, LazyRunner, LazySource
from ucdir.patches.per_image import restore_per_image
from ucdir.patches.split import smallest_patch, split
from ucdir.patches.tile_runner import TileRunner

__all__ = [
    "LazyPlanes",
    "LazyRunner",
    "LazySource",
    "TileRunner",
    "restore_per_image",
    "smallest_patch",
    "split",
]
