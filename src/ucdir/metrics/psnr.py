"""Peak signal-to-noise ratio."""

from torch import Tensor

from ucdir.extras import optional_module
from ucdir.metrics.pair import checked_pair


def psnr(restored: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB on RGB: `10 log10(2² / mean((restored - truth)²))`, the mean over channels and pixels.

    The peak is 2, the length of [-1,1], so the number equals that of 0..255 images with peak 255. Values are
    used as given: clamp and round first what will be written to an 8-bit file.

    Args:
        restored: [B,3,H,W] in [-1,1].
        truth: [B,3,H,W] in [-1,1].

    Returns:
        [B], dB, higher is better; infinite where both are equal.

    Raises:
        DataError: the images cannot be compared.
        UcdirError: torchmetrics is not installed.

    Example:
        >>> truth = torch.zeros(1, 3, 16, 16)
        >>> psnr(truth + 0.2, truth)
        tensor([20.])
    """
    restored, truth = checked_pair("PSNR", restored, truth)
    functional = optional_module("torchmetrics.functional.image", "PSNR")
    value: Tensor = functional.peak_signal_noise_ratio(
        restored, truth, data_range=2.0, reduction="none", dim=(1, 2, 3)
    )
    return value
