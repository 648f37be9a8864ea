"""FID and KID: the distance between restored and clean images as distributions of 256x256 patches.

They are FID and KID with the features of the Inception network of 2015 (`metrics.inception`). The same distances of
AlexNet's features are other numbers and have other names: `frechet_alexnet`, `kernel_alexnet`.
"""

from __future__ import annotations

import os
from typing import Final

import torch
from torch import Tensor, nn

from ucdir.errors import DataError
from ucdir.extras import optional_module
from ucdir.metrics.lpips import ALEXNET, load_trunk

PATCH: Final = 256
"""Side of the patches in pixels."""
SUBSET: Final = 1000
"""Most patches in a subset of KID."""
SUBSETS: Final = 100
"""Subsets of KID, if there are more patches than one subset holds."""


class AlexNet(nn.Module):
    """Features [n,256] of patches: the mean over places of AlexNet's last convolution."""

    num_features: int = 256

    def __init__(self, weights: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.trunk = load_trunk(ALEXNET.locate(weights))
        self.eval().requires_grad_(False)

    def forward(self, patches: Tensor) -> Tensor:
        """[n,3,H,W] in [-1,1] -> [n,256]."""
        *_, last = self.trunk(patches)
        features: Tensor = last.mean(dim=(2, 3))
        return features


def patches(image: Tensor) -> Tensor:
    """The 256x256 patches of [B,3,H,W], side by side from the upper left: [n,3,256,256]; n may be 0."""
    rows, columns = image.shape[2] // PATCH, image.shape[3] // PATCH
    cut = image[..., : rows * PATCH, : columns * PATCH]
    tiles: Tensor = cut.reshape(len(image), 3, rows, PATCH, columns, PATCH).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(-1, 3, PATCH, PATCH)


def frechet_distance(restored: Tensor, clean: Tensor) -> float:
    """‖m₁ - m₂‖² + Tr(C₁ + C₂ - 2 √(C₁C₂)) of mean and covariance of features (Heusel et al. 2017): FID.

    Fewer patches than features leave the covariances singular, and the number then depends on how many there are:
    compare only what was measured on the same patches.

    Args:
        restored: features [n,D], n of at least 2.
        clean: features [m,D], m of at least 2.

    Returns:
        0 for equal features (up to rounding), lower is better.

    Raises:
        DataError: there are too few patches.
    """
    _check(restored, clean)
    fid = optional_module("torchmetrics.image.fid", "metrics", "FID")
    metric = fid.FrechetInceptionDistance(feature=_Precomputed(restored.shape[1]))
    metric.update(clean, real=True)
    metric.update(restored, real=False)
    return float(metric.compute())


def kernel_distance(restored: Tensor, clean: Tensor, seed: int = 0) -> float:
    """1000 x the unbiased squared MMD with the kernel (x·y/D + 1)³ of features (Binkowski et al. 2018): KID x1000.

    The mean over 100 random subsets of 1000 patches; over all patches at once if there are no more than 1000.

    Args:
        restored: features [n,D], n of at least 2.
        clean: features [m,D], m of at least 2.
        seed: of the random subsets.

    Returns:
        about 0 for equal distributions (it may be negative), lower is better.

    Raises:
        DataError: there are too few patches.
    """
    _check(restored, clean)
    distance = optional_module("torchmetrics.image.kid", "metrics", "KID").poly_mmd
    size = min(len(restored), len(clean), SUBSET)
    subsets = SUBSETS if size == SUBSET else 1
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for _ in range(subsets):
        a, b = (
            features[torch.randperm(len(features), generator=generator)[:size]].double()
            for features in (restored, clean)
        )
        total += float(distance(b, a))
    return 1000 * total / subsets


class _Precomputed(nn.Module):
    """Stands in for torchmetrics' network, because the features are given."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        return features


def _check(restored: Tensor, clean: Tensor) -> None:
    if min(len(restored), len(clean)) < 2:
        raise DataError(
            f"a distance between distributions needs at least 2 patches of {PATCH}x{PATCH} pixels, found "
            f"{len(restored)} restored and {len(clean)} clean ones; measure larger or more images."
        )
