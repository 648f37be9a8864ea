"""The table of metrics: every entry works, and says truly which direction is better."""

import pytest
import torch

from ucdir.metrics import METRICS, DistributionMetric, Metric


@pytest.fixture
def images(metric_weights, monkeypatch):
    """A clean photograph, and the same with little and with much noise: [1,3,300,451] in [-1,1]."""
    data = pytest.importorskip("skimage.data")
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    clean = torch.from_numpy(data.chelsea().transpose(2, 0, 1).copy())[None].float() / 127.5 - 1
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return clean, *((clean + std * noise).clamp(-1, 1) for std in (0.02, 0.3))


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if isinstance(metric, Metric)])
def test_more_noise_is_worse(name, images):
    clean, good, bad = images
    measure = METRICS[name].load()
    values = [measure(image, clean) for image in (good, bad)]
    assert [value.shape for value in values] == [(1,), (1,)]
    assert (values[0] > values[1]) == (METRICS[name].better == "higher")


@pytest.mark.parametrize(
    "name", [name for name, metric in METRICS.items() if isinstance(metric, DistributionMetric)]
)
def test_distances_grow_with_the_difference(name):
    metric = METRICS[name]
    clean = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    assert metric.distance(clean + 0.1, clean) < metric.distance(clean + 2, clean)
    assert metric.better == "lower"
    if metric.fallback is not None:
        assert METRICS[metric.fallback].fallback is None
