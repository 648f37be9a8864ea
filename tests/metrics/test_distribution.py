"""Distances of distributions against closed forms, and the networks whose features they compare."""

import itertools

import numpy as np
import pytest
import torch

from ucdir.errors import DataError, WeightsError
from ucdir.metrics import distribution
from ucdir.metrics.distribution import AlexNet, frechet_distance, kernel_distance, patches
from ucdir.metrics.inception import INCEPTION, Inception, build, resized
from ucdir.metrics.weights import WEIGHTS_VARIABLE


def features(count, width, seed, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator) * scale + shift


def test_frechet_distance_in_one_dimension():
    a, b = features(40, 1, 0), features(50, 1, 1, scale=2.0, shift=3.0)
    by_hand = (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2
    assert frechet_distance(a, b) == pytest.approx(float(by_hand), rel=1e-4)


def test_frechet_distance_of_independent_features_adds_up():
    a = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)))  # a cube: its covariance is diagonal
    b = a * torch.tensor([1.0, 2.0, 5.0]) + torch.tensor([0.0, 3.0, -4.0])
    spread = float(a[:, 0].std())
    assert frechet_distance(b, a) == pytest.approx(9 + 16 + spread**2 * (1 + 16), rel=1e-4)


def test_the_frechet_distance_of_a_set_to_itself_is_zero():
    a = features(64, 8, 0)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-3)


def kernel_by_hand(x, y):
    def k(u, v):
        return (float(u @ v) / len(u) + 1) ** 3

    n = len(x)
    inner = sum(k(x[i], x[j]) + k(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return inner - 2 * sum(k(a, b) for a in x for b in y) / n**2


def test_kernel_distance_by_hand():
    a, b = features(9, 4, 0).double(), features(9, 4, 1, shift=0.5).double()
    expected = 1000 * kernel_by_hand(a.numpy(), b.numpy())
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_takes_subsets_of_many_by_the_seed(monkeypatch):
    monkeypatch.setattr(distribution, "SUBSET", 8)
    monkeypatch.setattr(distribution, "SUBSETS", 20)
    a, b = features(40, 4, 0), features(30, 4, 1, shift=1.0)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    found = kernel_distance(a, b)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"
    assert kernel_distance(a, b) == found != kernel_distance(a, b, seed=1)
    assert found == pytest.approx(kernel_distance(a[:30], b), rel=0.5)


def test_too_few_patches():
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(
            DataError, match="at least 2 patches of 256x256 pixels, found 1 restored and 5 clean"
        ):
            distance(features(1, 4, 0), features(5, 4, 0))


def test_patches_do_not_overlap():
    image = torch.arange(2 * 3 * 600 * 520, dtype=torch.float32).reshape(2, 3, 600, 520)
    found = patches(image)
    assert found.shape == (8, 3, 256, 256)
    assert torch.equal(found[3], image[0, :, 256:512, 256:512])
    assert torch.equal(found[5], image[1, :, :256, 256:512])
    assert patches(image[..., :255, :]).shape == (0, 3, 256, 256)


# ------------------------------------------------------------------------------------------------ networks


def test_features_of_alexnet(metric_weights):
    network = AlexNet(metric_weights / "alexnet_features.pth")
    found = network(features(2, 3 * 64 * 64, 0).reshape(2, 3, 64, 64).clamp(-1, 1))
    assert found.shape == (2, 256)
    assert found.min() >= 0
    assert not torch.equal(found[0], found[1])
    *_, last = network.trunk(torch.zeros(1, 3, 64, 96))
    assert last.std(dim=(2, 3)).max() > 0, "the control: its places differ"
    torch.testing.assert_close(network(torch.zeros(1, 3, 64, 96)), last.mean(dim=(2, 3)))


def test_inception_has_the_published_size_and_names():
    network = build()
    # torchvision's network of 1000 classes without its auxiliary head has 23,834,568; this one has 1008 classes
    assert sum(p.numel() for p in network.parameters()) == 23_834_568 + 8 * 2049
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["Conv2d_2b_3x3.conv.weight"] == (64, 32, 3, 3)
    assert shapes["Mixed_5b.branch5x5_2.conv.weight"] == (64, 48, 5, 5)
    assert shapes["Mixed_6e.branch7x7dbl_4.conv.weight"] == (192, 192, 7, 1)
    assert shapes["Mixed_7c.branch3x3dbl_3a.bn.running_mean"] == (384,)
    assert shapes["fc.weight"] == (1008, 2048)
    assert len(shapes) == 94 * 6 + 2, "94 convolutions with their norms"


def test_inception_takes_its_file_alone(monkeypatch, tmp_path):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    torch.save(build().state_dict(), tmp_path / INCEPTION.published_name)
    network = Inception()
    assert network(torch.zeros(1, 3, 256, 256)).shape == (1, network.num_features)
    network.network = torch.nn.Identity()  # what the network sees: levels 0..255, less 128, in units of 128
    image = torch.full((1, 3, 299, 299), -1.0)
    assert network(image)[0].tolist() == [-1, -1, -1]
    image[:, 0, :100], image[:, 1] = 1, 1
    expected = torch.tensor([(100 * 127 / 128 - 199) / 299, 127 / 128, -1])
    torch.testing.assert_close(network(image)[0], expected)
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / INCEPTION.published_name)
    with pytest.raises(WeightsError, match=r"another network than the one FID uses"):
        Inception()


def test_the_average_leaves_the_padding_out():
    block = build().Mixed_5b
    pooled = block.pooling(torch.ones(1, 1, 4, 4))
    assert torch.equal(pooled, torch.ones(1, 1, 4, 4))
    last = build().Mixed_7c.pooling(torch.eye(3)[None, None])
    assert float(last[0, 0, 0, 2]) == 1, "and the last block takes the maximum"


def test_resizing_as_tensorflow_1_does():
    row = torch.tensor([0.0, 4.0, 8.0, 12.0]).expand(1, 1, 4, 4)
    found = resized(row, 8)[0, 0, 0].numpy()
    np.testing.assert_allclose(found, [0, 2, 4, 6, 8, 10, 12, 12])  # the end is held, and nothing is centred
    assert torch.equal(resized(row, 4), row)
