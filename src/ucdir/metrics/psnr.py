"""Peak signal-to-noise ratio."""

import torch
from torch import Tensor

from ucdir.metrics.pair import checked_pair


def psnr(restored: Tensor, clean: Tensor) -> Tensor:
    """PSNR in dB on RGB: `10 log10(2² / mean((restored - clean)²))`, the mean over channels and pixels.

    The peak is 2, the length of [-1,1], so the number equals that of 0..255 images with peak 255. Values are
    used as given: clamp and round first what will be written to an 8-bit file.

    Args:
        restored: [B,3,H,W] in [-1,1].
        clean: [B,3,H,W] in [-1,1].

    Returns:
        [B], dB, higher is better; infinite where both are equal.

    Raises:
        DataError: the images cannot be compared.

    Example:
        >>> clean = torch.zeros(1, 3, 16, 16)
        >>> psnr(clean + 0.2, clean)
        tensor([20.])
    """
    restored, clean = checked_pair("PSNR", restored, clean)
    error = (restored - clean).square().sum(dim=(1, 2, 3)) / clean[0].numel()
    # in this order, and with the logarithms in the precision of the sum, it equals torchmetrics' value to the bit
    return (2 * torch.tensor(2.0).log() - error.log()) * (10 / torch.tensor(10.0).log())
