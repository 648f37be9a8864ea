"""How near a restored photograph is to the truth, how natural it looks, and how far many are from many true ones."""

from ucdir.metrics.distribution import find_features, frechet_distance, kernel_distance, patches
from ucdir.metrics.lpips import Lpips
from ucdir.metrics.niqe import Niqe
from ucdir.metrics.psnr import psnr
from ucdir.metrics.ssim import ssim

__all__ = [
    "Lpips", "Niqe", "find_features", "frechet_distance", "kernel_distance", "patches", "psnr", "ssim",
]  # fmt: skip
