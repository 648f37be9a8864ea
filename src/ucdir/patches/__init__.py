"""High resolution (Sec. 3.3): inter-step patch-splitting, and the per-image splitting it is compared with."""

from ucdir.patches.memory import PatchSize
from ucdir.patches.per_image import restore_per_image
from ucdir.patches.split import apply_in_patches, smallest_patch

__all__ = ["PatchSize", "apply_in_patches", "restore_per_image", "smallest_patch"]
