"""How near a restored photograph is to the truth (PSNR, SSIM, LPIPS), and how natural it looks (NIQE)."""

from ucdir.metrics.lpips import Lpips
from ucdir.metrics.niqe import Niqe
from ucdir.metrics.psnr import psnr
from ucdir.metrics.ssim import ssim

__all__ = ["Lpips", "Niqe", "psnr", "ssim"]
