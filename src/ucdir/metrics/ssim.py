"""Structural similarity."""

from types import ModuleType
from typing import Final

import torch
from torch import Tensor

from ucdir.extras import optional_module
from ucdir.metrics.pair import checked_pair

WINDOW: Final = 11
"""Side of the Gaussian window in pixels: smaller images hold no complete window."""


def ssim(restored: Tensor, clean: Tensor) -> Tensor:
    """SSIM on RGB (Wang et al. 2004): the mean over channels and complete windows of

        (2 μ₁μ₂ + C₁)(2 σ₁₂ + C₂) / ((μ₁² + μ₂² + C₁)(σ₁² + σ₂² + C₂)),  C₁ = (0.01·2)², C₂ = (0.03·2)²

    with a Gaussian window of 11x11 pixels and σ = 1.5. There is no downsampling and no conversion to grey:
    figures taken from the luminance alone differ. [-1,1] is moved to [0,2] first, because the luminance term
    is meant for values that are not negative: the result equals that of 0..255 images with peak 255.

    Args:
        restored: [B,3,H,W] in [-1,1], at least 11 pixels a side.
        clean: [B,3,H,W] in [-1,1].

    Returns:
        [B], at most 1, higher is better.

    Raises:
        DataError: the images cannot be compared.
        UcdirError: torchmetrics is not installed.

    Example:
        >>> clean = torch.linspace(-1, 1, 16 * 16).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
        >>> ssim(clean, clean)
        tensor([1.])
    """
    restored, clean = checked_pair("SSIM", restored, clean, WINDOW)
    functional = optional_module("torchmetrics.functional.image", "metrics", "SSIM")
    # one image at a time: the windows of five products of the images are held at once
    pairs = zip(torch.split(restored, 1), torch.split(clean, 1), strict=True)
    return torch.stack([_one(functional, *pair) for pair in pairs])


def _one(functional: ModuleType, restored: Tensor, clean: Tensor) -> Tensor:
    """SSIM of [1,3,H,W], a scalar."""
    _, index = functional.structural_similarity_index_measure(
        restored + 1, clean + 1, data_range=2.0, sigma=1.5, reduction="none", return_full_image=True
    )
    # torchmetrics' own mean counts the windows that stick out over mirrored borders; the definition has none
    border = WINDOW // 2
    complete: Tensor = index[..., border:-border, border:-border]
    return complete.mean()
