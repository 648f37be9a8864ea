"""FID and KID: how far the restored pictures as a whole are from the true ones, on patches of 256x256 pixels.

With the Inception network of 2015 they are FID and KID. Its weights are not in everybody's hands, and with the
features of AlexNet the same two distances say much the same; but they are other numbers, and bear other names:
`frechet_alexnet`, `kernel_alexnet`.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Final, Protocol

import torch
from torch import Tensor, nn

from ucdir.errors import DataError, WeightsError
from ucdir.extras import optional_module
from ucdir.metrics.inception import INCEPTION, Inception
from ucdir.metrics.lpips import ALEXNET, load_trunk

PATCH: Final = 256
"""Side in pixels of the patches."""
SUBSET: Final = 1000
"""Most patches of a subset of KID."""
SUBSETS: Final = 100
"""Subsets of KID, where there are more patches than one holds."""


class Features(Protocol):
    """A network that gives features of patches."""

    num_features: ClassVar[int]
    frechet_name: ClassVar[str]
    kernel_name: ClassVar[str]

    def __call__(self, patches: Tensor) -> Tensor:
        """[n,3,256,256] in [-1,1] -> [n,num_features]."""


class AlexNet(nn.Module):
    """Features [n,256] of patches: the mean over places of AlexNet's last convolution."""

    num_features: ClassVar[int] = 256
    frechet_name: ClassVar[str] = "frechet_alexnet"
    kernel_name: ClassVar[str] = "kernel_alexnet"

    def __init__(self, weights: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.trunk = load_trunk(ALEXNET.locate(weights))
        self.eval().requires_grad_(False)

    def forward(self, patches: Tensor) -> Tensor:
        """[n,3,H,W] in [-1,1] -> [n,256]."""
        *_, last = self.trunk(patches)
        features: Tensor = last.mean(dim=(2, 3))
        return features


FEATURES: dict[str, type[Any]] = {"inception": Inception, "alexnet": AlexNet}
"""Networks by name, the best first."""


def find_features() -> Features:
    """Inception where its weights are, else AlexNet.

    Raises:
        WeightsError: there are neither.
    """
    try:
        file = INCEPTION.locate()
    except WeightsError:
        return AlexNet()
    return Inception(file)  # one that is there and damaged is told, not passed over


def patches(image: Tensor) -> Tensor:
    """The patches of 256x256 of [B,3,H,W] that do not overlap, from the upper left: [n,3,256,256]; n may be 0."""
    rows, columns = image.shape[2] // PATCH, image.shape[3] // PATCH
    cut = image[..., : rows * PATCH, : columns * PATCH]
    tiles: Tensor = cut.reshape(len(image), 3, rows, PATCH, columns, PATCH).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(-1, 3, PATCH, PATCH)


def frechet_distance(restored: Tensor, truth: Tensor) -> float:
    """‖m₁ - m₂‖² + Tr(C₁ + C₂ - 2 √(C₁C₂)) of mean and covariance of features (Heusel et al. 2017): FID.

    Fewer patches than features leave the covariances singular, and the number then depends much on how many there are:
    compare what was measured on the same patches.

    Args:
        restored: features [n,D], n of at least 2.
        truth: features [m,D].

    Returns:
        at least 0, lower is better.

    Raises:
        DataError: there are too few patches.
    """
    _check(restored, truth)
    metric = optional_module("torchmetrics.image.fid", "FID").FrechetInceptionDistance(
        feature=_Given(restored.shape[1])
    )
    metric.update(truth, real=True)
    metric.update(restored, real=False)
    return float(metric.compute())


def kernel_distance(restored: Tensor, truth: Tensor, seed: int = 0) -> float:
    """1000 x the unbiased squared MMD with the kernel (x·y/D + 1)³ of features (Binkowski et al. 2018): KID x1000.

    The mean over 100 subsets of 1000 patches, drawn by the seed; over all at once where there are no more.

    Args:
        restored: features [n,D], n of at least 2.
        truth: features [m,D].
        seed: of the subsets.

    Returns:
        about 0 for equal distributions (it may be below), lower is better.

    Raises:
        DataError: there are too few patches.
    """
    _check(restored, truth)
    distance = optional_module("torchmetrics.image.kid", "KID").poly_mmd
    size = min(len(restored), len(truth), SUBSET)
    subsets = SUBSETS if size == SUBSET else 1
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for _ in range(subsets):
        a, b = (
            features[torch.randperm(len(features), generator=generator)[:size]].double()
            for features in (restored, truth)
        )
        total += float(distance(b, a))
    return 1000 * total / subsets


class _Given(nn.Module):
    """In place of a network: the features have been taken already."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        """As it is."""
        return features


def _check(restored: Tensor, truth: Tensor) -> None:
    if min(len(restored), len(truth)) < 2:
        raise DataError(
            f"a distance of distributions needs at least 2 patches of {PATCH}x{PATCH} pixels, found {len(restored)} "
            f"restored and {len(truth)} true ones; measure larger or more pictures."
        )
