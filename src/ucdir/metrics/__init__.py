"""How near a restored photograph is to the truth: PSNR and SSIM by pixels, LPIPS by what people see."""

from ucdir.metrics.lpips import Lpips
from ucdir.metrics.psnr import psnr
from ucdir.metrics.ssim import ssim

__all__ = ["Lpips", "psnr", "ssim"]
