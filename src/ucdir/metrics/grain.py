"""Grain in flat parts: what PSNR hardly counts and eyes see first, on walls, skies and paper."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ucdir.errors import DataError
from ucdir.metrics.pair import checked_pair

BLOCK = 8
FLAT = 1.0
"""Standard deviation of a clean block, in 8-bit levels, up to which it is flat."""


def grain(restored: Tensor, clean: Tensor) -> Tensor:
    """How much rougher flat parts are than in the clean image, in 8-bit levels.

    Of blocks of 8x8 pixels whose luma has a standard deviation of at most 1 level in the clean image, the root mean
    square of the standard deviation in the restored image less that in the clean one. It is negative where the restored
    image is smoother. A block's level does not matter.

    Args:
        restored: [B,3,H,W] in [-1,1].
        clean: [B,3,H,W] in [-1,1].

    Returns:
        [B], levels, lower is better.

    Raises:
        DataError: the images cannot be compared, or one of them has no flat part.

    Example:
        >>> clean = torch.zeros(1, 3, 16, 16)
        >>> stripes = clean + torch.tensor([2 / 255, -2 / 255]).repeat(8)
        >>> grain(stripes, clean)
        tensor([1.])
    """
    restored, clean = checked_pair("grain", restored, clean)
    if min(clean.shape[-2:]) < BLOCK:
        raise DataError(
            f"grain is measured in blocks of {BLOCK}x{BLOCK} pixels, found {list(clean.shape[-2:])}."
        )
    ours, theirs = _variances(restored), _variances(clean)
    flat = (theirs <= FLAT**2).double()
    count = flat.sum(dim=1)
    if not count.all():
        raise DataError("grain cannot be measured: the clean image has no flat part.")
    roughness, expected = (((d * flat).sum(dim=1) / count).sqrt() for d in (ours, theirs))
    return (roughness - expected).float()


def _variances(images: Tensor) -> Tensor:
    """Variances of the luma of blocks, in squared levels: [B,3,H,W] in [-1,1] -> [B,blocks]."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64, device=images.device)
    luma = 127.5 * torch.einsum("c,bchw->bhw", weights, images.double())
    blocks = F.unfold(luma[:, None], BLOCK, stride=BLOCK)
    return blocks.var(dim=1, correction=0)
