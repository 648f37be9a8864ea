"""NIQE: how natural an image looks, without a reference (Mittal et al. 2013), with BasicSR's numbers."""

from __future__ import annotations

import math
import os
import zipfile
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ucdir.errors import DataError, WeightsError
from ucdir.extras import optional_module
from ucdir.metrics.weights import Download

STATISTICS: Final = Download(
    "https://raw.githubusercontent.com/XPixelGroup/BasicSR/master/basicsr/metrics/niqe_pris_params.npz",
    ("niqe_pris_params.npz",), "2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296", "NIQE",
)  # fmt: skip
"""The statistics of pristine photographs, as BasicSR publishes them."""

BLOCK: Final = 96
"""Side in pixels of the blocks whose statistics are taken; half of it at the second scale."""

Image = npt.NDArray[np.floating[Any]]


class Niqe:
    r"""NIQE with the numbers of BasicSR 1.4: on luma, rounded, halved with antialiasing for the second scale.

    Each pixel is normalised by its neighbourhood, x̂ = (x - μ) / (σ + 1); each block of 96x96 gives 18 numbers at each
    of two scales (asymmetric generalised Gaussians fitted to x̂ and to its products with four neighbours). With mean and
    covariance m, C over the blocks, and m₀, C₀ of pristine photographs:

        NIQE = √( (m - m₀)ᵀ ((C + C₀)/2)⁺ (m - m₀) )

    Args:
        statistics: the file, or the folder that holds it; by default the folder named by UCDIR_WEIGHTS.
        antialiased: whether halving averages first. False is what BasicSR did before version 1.3.5 and other ports do.

    Raises:
        WeightsError: the file is missing or is another one.
        UcdirError: scipy is not installed.
    """

    def __init__(self, statistics: str | os.PathLike[str] | None = None, *, antialiased: bool = True) -> None:
        file = STATISTICS.locate(statistics)
        try:
            with np.load(file, allow_pickle=False) as found:
                self.mean = np.asarray(found["mu_pris_param"], dtype=np.float64).reshape(36)
                self.covariance = np.asarray(found["cov_pris_param"], dtype=np.float64).reshape(36, 36)
                self.window = np.asarray(found["gaussian_window"], dtype=np.float64).reshape(7, 7)
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise WeightsError(
                f"{file}: does not hold NIQE's statistics ({str(error)[:80]}); get BasicSR's own."
            ) from None
        self.antialiased = antialiased
        self.convolve = optional_module("scipy.ndimage", "metrics", "NIQE").convolve

    def __call__(self, restored: Tensor) -> Tensor:
        """NIQE of each image.

        Args:
            restored: [B,3,H,W] in [-1,1], at least 192 pixels a side: four blocks.

        Returns:
            [B], float64, about 2 to 20; lower is more natural.

        Raises:
            DataError: the images are of another shape, too small, or flat.
        """
        if restored.ndim != 4 or restored.shape[1] != 3 or min(restored.shape[2:]) < 2 * BLOCK:
            raise DataError(
                f"NIQE takes images [B,3,H,W] of at least {2 * BLOCK} pixels a side, found {list(restored.shape)}."
            )
        pixels = restored.detach().cpu().double().add(1).mul(127.5).clamp(0, 255).round()
        return torch.tensor([self.of_luma(luma(image.numpy())) for image in pixels], dtype=torch.float64)

    def of_luma(self, y: Image) -> float:
        """NIQE of luma [H,W] in 0..255."""
        rows, columns = (side // BLOCK for side in y.shape)
        y = y[: rows * BLOCK, : columns * BLOCK]
        features = []
        for scale in (1, 2):
            normalised = self._normalised(y)
            side = BLOCK // scale
            blocks = [
                normalised[i * side : (i + 1) * side, j * side : (j + 1) * side]
                for j in range(columns)
                for i in range(rows)
            ]
            features.append(np.array([_block_features(block) for block in blocks]))
            y = halved(y / 255, antialiased=self.antialiased) * 255
        found = np.concatenate(features, axis=1)
        complete = found[~np.isnan(found).any(axis=1)]
        if len(complete) < 2:
            raise DataError(
                f"NIQE cannot be measured: of {len(found)} blocks of {BLOCK}x{BLOCK} pixels {len(complete)} are not "
                "flat, and two are needed."
            )
        mean = np.nanmean(found, axis=0)
        covariance = np.cov(complete, rowvar=False)
        difference = mean - self.mean
        distance = difference @ np.linalg.pinv((covariance + self.covariance) / 2) @ difference
        return math.sqrt(float(distance))

    def _normalised(self, y: Image) -> Image:
        mean = self.convolve(y, self.window, mode="nearest")
        std = np.sqrt(np.abs(self.convolve(y**2, self.window, mode="nearest") - mean**2))
        normalised: Image = (y - mean) / (std + 1)
        return normalised


def luma(image: Image) -> Image:
    """Y of ITU-R BT.601 in 16..235, rounded: RGB [3,H,W] in 0..255 -> [H,W]."""
    bgr = np.ascontiguousarray(image[::-1].transpose(1, 2, 0), dtype=np.float32) / 255
    y = (np.dot(bgr, [24.966, 128.553, 65.481]) + 16) / 255
    # in float32 from here on, as BasicSR does it: in flat areas rounding shows in the third digit
    rounded: Image = np.round(y.astype(np.float32) * np.float32(255))
    return rounded


def halved(y: Image, *, antialiased: bool) -> Image:
    """Half the size by MATLAB's bicubic kernel (a = -1/2), mirrored at the border: [H,W] -> [⌈H/2⌉,⌈W/2⌉]."""
    distances = np.arange(-3.5, 4) / 2 if antialiased else np.arange(-1.5, 2)
    x = np.abs(distances)
    weights = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2)
    weights = weights / weights.sum()
    for axis in (0, 1):
        length, reach = y.shape[axis], len(weights) // 2 - 1
        border = [(reach, reach + 1) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(y, border, mode="symmetric")
        starts = np.arange(0, length, 2)
        y = sum(w * np.take(padded, starts + k, axis=axis) for k, w in enumerate(weights))
    return y


def _block_features(block: Image) -> list[float]:
    """The 18 features of a block of normalised pixels."""
    from scipy.special import gamma

    shape, left, right = _fitted(block)
    features = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = _fitted(block * np.roll(block, shift, axis=(0, 1)))
        features += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return features


def _fitted(values: Image) -> tuple[float, float, float]:
    """Shape, left and right scale of the asymmetric generalised Gaussian with the moments of the values."""
    from scipy.special import gamma

    shapes, ratios = _table()
    squared = values**2
    left, right = (
        float(np.sqrt(squared[side].mean())) if side.any() else math.nan for side in (values < 0, values > 0)
    )
    skew = left / right
    moment = float(np.abs(values).mean()) ** 2 / max(float(squared.mean()), 1e-300)
    wanted = moment * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = float(shapes[np.argmin((ratios - wanted) ** 2)])
    spread = math.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * spread, right * spread


@cache
def _table() -> tuple[Any, Any]:
    """Shapes 0.2 to 10, and for each the ratio of moments Γ(2/a)² / (Γ(1/a) Γ(3/a))."""
    from scipy.special import gamma

    shapes = np.arange(0.2, 10.001, 0.001)
    inverse = 1 / shapes
    return shapes, gamma(2 * inverse) ** 2 / (gamma(inverse) * gamma(3 * inverse))
