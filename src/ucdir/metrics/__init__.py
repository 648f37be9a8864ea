"""Metrics: distance from a clean image, naturalness, and distance between the distributions of many images.

To add one, write it in a file of this folder and enter it in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from ucdir.extras import optional_module
from ucdir.metrics.metric import DistributionMetric, Features, Metric, PerImage

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DEFAULT", "METRICS", "DistributionMetric", "Features", "Metric", "PerImage"]

# The modules are imported when a metric is loaded: `ucdir evaluate --help` lists the metrics without importing torch.


def _psnr() -> PerImage:
    from ucdir.metrics.psnr import psnr

    return psnr


def _ssim() -> PerImage:
    from ucdir.metrics.ssim import ssim

    return ssim


def _grain() -> PerImage:
    from ucdir.metrics.grain import grain

    return grain


@cache
def _lpips() -> PerImage:
    from ucdir.metrics.lpips import Lpips

    return Lpips()


@cache
def _niqe(*, antialiased: bool = True) -> PerImage:
    from ucdir.metrics.niqe import Niqe

    niqe = Niqe(antialiased=antialiased)
    return lambda restored, _clean: niqe(restored)


@cache
def _inception() -> Features:
    from ucdir.metrics.inception import Inception

    optional_module("torchmetrics", "metrics", "FID")  # it computes the distance, after hours perhaps
    return Inception()


@cache
def _alexnet() -> Features:
    from ucdir.metrics.distribution import AlexNet

    optional_module("torchmetrics", "metrics", "FID")
    return AlexNet()


def _frechet(restored: Tensor, clean: Tensor) -> float:
    from ucdir.metrics.distribution import frechet_distance

    return frechet_distance(restored, clean)


def _kernel(restored: Tensor, clean: Tensor) -> float:
    from ucdir.metrics.distribution import kernel_distance

    return kernel_distance(restored, clean)


METRICS: Final[Mapping[str, Metric | DistributionMetric]] = {
    metric.name: metric
    for metric in (
        Metric("psnr", "higher", 2, _psnr),
        Metric("ssim", "higher", 4, _ssim),
        Metric("lpips", "lower", 4, _lpips),
        Metric("niqe", "lower", 2, _niqe),
        Metric("grain", "lower", 2, _grain, by_default=False),
        # BasicSR until 1.3.4: half the size without antialiasing
        Metric("niqe_2021", "lower", 2, lambda: _niqe(antialiased=False), by_default=False),
        DistributionMetric("fid", "lower", 2, _inception, _frechet, fallback="frechet_alexnet"),
        DistributionMetric("kid", "lower", 2, _inception, _kernel, fallback="kernel_alexnet"),
        DistributionMetric("frechet_alexnet", "lower", 4, _alexnet, _frechet, by_default=False),
        DistributionMetric("kernel_alexnet", "lower", 2, _alexnet, _kernel, by_default=False),
    )
}
"""By name, in the order of a table."""

DEFAULT: Final = tuple(name for name, metric in METRICS.items() if metric.by_default)
"""What `ucdir evaluate` measures if no metrics are named."""
