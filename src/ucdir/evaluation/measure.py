"""The metrics of one image, and the distances between the distributions of all restored and all clean images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ucdir.errors import ConfigError, DataError
from ucdir.evaluation.cases import Pixels
from ucdir.images.pixels import to_signal
from ucdir.metrics import METRICS, DistributionMetric, Features, Metric
from ucdir.metrics.distribution import patches
from ucdir.metrics.weights import MissingWeightsError

BATCH = 16
"""Patches in one forward pass of a feature network."""


def load_metrics(names: Sequence[str]) -> list[Metric | DistributionMetric]:
    """Load metrics, so that missing weights are reported before hours are spent.

    Where the weights of a metric with a fallback are missing, its fallback is returned in its place.

    Raises:
        ConfigError: a name is unknown, or there is none.
        WeightsError: weights are missing; the message says where to get them.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise ConfigError(
            f"metrics {', '.join(unknown) or '(none)'}: choose one or more of {', '.join(METRICS)}."
        )
    found = []
    for name in dict.fromkeys(names):
        metric = METRICS[name]
        if isinstance(metric, DistributionMetric) and metric.fallback is not None:
            try:
                metric.load()
            except MissingWeightsError:
                metric = METRICS[metric.fallback]
        metric.load()
        found.append(metric)
    return found


@torch.no_grad()
def measure(metric: Metric, restored: Pixels, clean: Pixels) -> float | None:
    """One metric of one image; None if the image is too small or too flat for it."""
    try:
        return float(metric.load()(_signal(restored), _signal(clean)))
    except DataError:
        return None


@torch.no_grad()
def features_of(network: Features, image: Pixels) -> Tensor:
    """Features of the 256x256 patches of an image: [n,D], float32."""
    found = [network(batch) for batch in torch.split(patches(_signal(image)), BATCH) if len(batch)]
    return torch.cat(found) if found else torch.empty(0, network.num_features)


def distance(metric: DistributionMetric, restored: Sequence[Tensor], clean: Sequence[Tensor]) -> float | None:
    """A distance between the features of all restored and all clean images; None if there are too few patches."""
    try:
        return metric.distance(torch.cat(list(restored)), torch.cat(list(clean)))
    except DataError:
        return None


def _signal(image: Pixels) -> Tensor:
    return torch.from_numpy(to_signal(image))
