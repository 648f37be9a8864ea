"""The check of the two images that every full-reference metric compares."""

import torch
from torch import Tensor

from ucdir.errors import DataError


def checked_pair(metric: str, restored: Tensor, clean: Tensor, min_side: int = 1) -> tuple[Tensor, Tensor]:
    """Both images as float32 (float64 stays), after checking that they can be compared.

    Args:
        metric: name of the metric, for the message.
        restored: [B,3,H,W], floating point, in [-1,1].
        clean: [B,3,H,W], floating point, in [-1,1].
        min_side: smallest H and W, in pixels, that the metric is defined for.

    Raises:
        DataError: the shapes differ or do not fit, the numbers are integers, or the images are too small.
    """
    if restored.shape != clean.shape:
        raise DataError(
            f"{metric} compares images of one size, found restored {list(restored.shape)} and clean "
            f"{list(clean.shape)}; crop or restore to the size of the clean image."
        )
    if clean.ndim != 4 or clean.shape[1] != 3 or clean.shape[0] < 1:
        raise DataError(f"{metric} takes RGB images [B,3,H,W], found {list(clean.shape)}.")
    if min(clean.shape[2:]) < min_side:
        raise DataError(
            f"{metric} needs images of at least {min_side} pixels a side, found {list(clean.shape[2:])}; "
            "use larger crops."
        )
    for name, image in (("restored", restored), ("clean", clean)):
        # uint8 0..255 compared as if it were [-1,1] would give a plausible, wrong number
        if not image.is_floating_point():
            raise DataError(f"{metric} takes floating point in [-1,1], found {name} {image.dtype}.")
    dtype = torch.float64 if torch.float64 in (restored.dtype, clean.dtype) else torch.float32
    return restored.to(dtype), clean.to(dtype)
