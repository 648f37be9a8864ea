"""A metric as one object: what it is called, which direction is better, how it is printed, and how it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Better = Literal["higher", "lower"]
PerImage = Callable[["Tensor", "Tensor"], "Tensor"]
"""(restored, clean), each [B,3,H,W] in [-1,1] -> [B]; raises DataError where the images are too small."""


class Features(Protocol):
    """A network whose features of patches are compared as distributions."""

    num_features: int

    def __call__(self, patches: Tensor) -> Tensor:
        """[n,3,256,256] in [-1,1] -> [n,num_features]."""


@dataclass(frozen=True)
class Metric:
    """A metric of each image by itself; a table shows the mean over the images."""

    name: str
    """On the command line, in tables and in files."""
    better: Better
    digits: int
    """Decimals in a table."""
    load: Callable[[], PerImage]
    """The function, after reading its weights if it has any (raises WeightsError)."""
    by_default: bool = True
    """Whether `ucdir evaluate` measures it if no metrics are named."""


@dataclass(frozen=True)
class DistributionMetric:
    """A distance between the features of all restored and of all clean patches."""

    name: str
    better: Better
    digits: int
    load: Callable[[], Features]
    """The network, after reading its weights (raises WeightsError)."""
    distance: Callable[[Tensor, Tensor], float]
    """Features [n,D] of restored and [m,D] of clean patches -> the distance."""
    fallback: str | None = None
    """The metric that is measured instead if the network's weights are missing."""
    by_default: bool = True
