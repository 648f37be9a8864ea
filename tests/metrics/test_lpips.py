"""LPIPS: official values, symmetries, gradients, and every way that weights can be missing or wrong."""

import copy
import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ucdir import pth_file
from ucdir.errors import DataError, WeightsError
from ucdir.metrics import lpips as module
from ucdir.metrics.lpips import AlexNetTrunk, Lpips
from ucdir.metrics.weights import WEIGHTS_VARIABLE


@pytest.fixture(scope="module")
def lpips(metric_weights):
    return Lpips(metric_weights)


@pytest.fixture(scope="module")
def trained_lpips(shared):
    return Lpips(shared("weights/alexnet_features.pth"))


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 3, 35, 48, generator=generator) * 2 - 1
    noise = torch.randn(clean.shape, generator=generator)
    return (clean + torch.tensor([0.02, 0.1, 0.4])[:, None, None, None] * noise).clamp(-1, 1), clean


def test_official_values_to_four_digits(trained_lpips, calibration, to_tensor):
    degraded, clean, official = calibration
    ours = trained_lpips(to_tensor(degraded), to_tensor(clean))
    np.testing.assert_allclose(ours, official["lpips"], rtol=0, atol=6e-5)


def test_control_other_conventions_show(trained_lpips, calibration, to_tensor):
    degraded, clean, official = calibration
    official = torch.tensor(official["lpips"][:2])
    swapped = trained_lpips(to_tensor(degraded[:2, ..., ::-1]), to_tensor(clean[:2, ..., ::-1]))
    from_0_to_1 = trained_lpips((to_tensor(degraded[:2]) + 1) / 2, (to_tensor(clean[:2]) + 1) / 2)
    assert (swapped - official).abs().max() > 1e-3
    assert (from_0_to_1 - official).abs().max() > 1e-3


def test_equal_images_have_no_distance_and_noise_more_and_more(lpips, pair):
    restored, clean = pair
    assert torch.equal(lpips(clean, clean), torch.zeros(3))
    values = lpips(restored, clean).tolist()
    assert 0 < values[0] < values[1] < values[2]


def test_order_does_not_matter_and_batch_equals_singles(lpips, pair):
    restored, clean = pair
    together = lpips(restored, clean)
    torch.testing.assert_close(lpips(clean, restored), together)
    singles = [lpips(restored[i : i + 1], clean[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(singles), rtol=1e-5, atol=1e-7)


def test_gradients_reach_the_image_and_not_the_weights(lpips, pair):
    restored = pair[0].clone().requires_grad_()
    before = lpips(restored, pair[1])
    before.sum().backward()
    assert restored.grad.isfinite().all()
    assert (restored.grad.abs().flatten(1).sum(1) > 0).all()
    assert not any(p.requires_grad for p in lpips.parameters())
    step = restored.grad / restored.grad.flatten(1).norm(dim=1)[:, None, None, None]
    after = lpips(restored.detach() - 0.05 * step, pair[1])
    assert (after < before).all(), "a small step down the gradient is nearer"


def test_gradient_is_the_finite_difference(lpips, pair):
    restored, clean = (image[2:3, :, :31, :31].double() for image in pair)
    model = copy.deepcopy(lpips).double()
    direction = torch.randn(restored.shape, dtype=torch.float64)
    restored.requires_grad_()
    (gradient,) = torch.autograd.grad(model(restored, clean).sum(), restored)
    step = 1e-6 * direction
    difference = (model(restored + step, clean) - model(restored - step, clean)) / 2e-6
    assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-4)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_gradient_of_flat_and_equal_images_is_finite(lpips, value):
    image = torch.full((1, 3, 31, 31), value).requires_grad_()
    lpips(image, image.detach()).sum().backward()
    assert image.grad.isfinite().all()


def test_gradient_where_no_channel_responds_is_finite(lpips, pair):
    silent = copy.deepcopy(lpips)
    silent.trunk.features[0].bias[:32] = -1e3
    silent.trunk.features[0].weight[32:] = 0.0
    silent.trunk.features[0].bias[32:] = 0.0
    restored = pair[0].clone().requires_grad_()
    silent(restored, pair[1]).sum().backward()
    assert restored.grad.isfinite().all()


def test_half_precision_and_autocast_do_not_change_the_third_digit(lpips, pair):
    expected = lpips(*pair)
    with torch.autocast("cpu", torch.bfloat16):
        inside = lpips(*pair)
    assert torch.equal(inside, expected)
    half = lpips(*(image.half() for image in pair))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, rtol=5e-3, atol=5e-4)


def test_the_smallest_image(lpips):
    image = torch.rand(1, 3, 31, 31)
    assert lpips(image, -image).isfinite().all()
    with pytest.raises(DataError, match=r"LPIPS needs images of at least 31 pixels a side, found \[30, 31\]"):
        lpips(image[:, :, 1:], image[:, :, 1:])
    with pytest.raises(DataError, match=r"found restored torch\.uint8"):
        lpips(image.to(torch.uint8), image)


# ------------------------------------------------------------------------------------------------- weights


def test_weights_are_found_by_file_folder_and_environment(metric_weights, monkeypatch, lpips, pair):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(metric_weights))
    expected = lpips(*pair)
    assert torch.equal(Lpips()(*pair), expected)
    monkeypatch.delenv(WEIGHTS_VARIABLE)
    assert torch.equal(Lpips(str(metric_weights))(*pair), expected)


def test_heads_in_the_folder_are_those_of_torchmetrics(metric_weights, tmp_path, monkeypatch, lpips, pair):
    shutil.copy(metric_weights / "alexnet_features.pth", tmp_path)
    torchmetrics = Path(importlib.util.find_spec("torchmetrics").submodule_search_locations[0])
    heads = torchmetrics / "functional" / "image" / "lpips_models"
    shutil.copytree(heads, tmp_path / "lpips_lin_v0.1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert torch.equal(Lpips(tmp_path)(*pair), lpips(*pair))


def test_heads_are_not_negative(lpips):
    assert all((head.weight >= 0).all() for head in lpips.heads)


def test_no_folder_is_named(monkeypatch):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    with pytest.raises(WeightsError, match=r"could not be fetched .*: download https://.*UCDIR_WEIGHTS"):
        Lpips()


def test_folder_without_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    for missing in (None, tmp_path, tmp_path / "absent"):
        with pytest.raises(
            WeightsError, match=r"no alexnet_features.pth or alexnet-owt-7be5be79.pth is here.*download"
        ):
            Lpips(missing)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(64), b"\x80\x02}q\x00."])
def test_file_that_holds_no_weights(tmp_path, content):
    file = tmp_path / "alexnet_features.pth"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"alexnet_features.pth: "):
        Lpips(file)


class Bomb:
    """Unpickles to a call."""

    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (Bomb(), "cannot be read as PyTorch weights; download it again"),
        ([torch.zeros(1)], "contains no named tensors"),
        ({"features.0.weight": 1.0}, "contains no named tensors"),
        (
            {"features.0.weight": torch.zeros(64, 3, 11, 11)},
            "another network .* alexnet-owt-7be5be79.pth fits",
        ),
        ({}, "another network"),
    ],
)
def test_file_of_something_else(tmp_path, monkeypatch, state, message):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "alexnet_features.pth"
    torch.save(state, file)
    with pytest.raises(WeightsError, match=rf"alexnet_features\.pth: .*{message}"):
        Lpips(tmp_path)
    assert not (tmp_path / "exploded").exists(), "no code of a weights file may run"


def test_the_whole_alexnet_as_torchvision_publishes_it(metric_weights, tmp_path, lpips, pair):
    features = torch.load(metric_weights / "alexnet_features.pth", weights_only=True)
    torch.save(
        {**features, "classifier.1.weight": torch.zeros(2, 2)}, tmp_path / module.ALEXNET.published_name
    )
    assert torch.equal(Lpips(tmp_path)(*pair), lpips(*pair))


def test_heads_are_nowhere(metric_weights, tmp_path, monkeypatch):
    shutil.copy(metric_weights / "alexnet_features.pth", tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"heads that come with the package torchmetrics.*pip install"):
        Lpips(tmp_path)


def test_file_over_the_limit(metric_weights, monkeypatch):
    file = metric_weights / "alexnet_features.pth"
    monkeypatch.setattr(pth_file, "MAX_CHECKPOINT_BYTES", 1000)
    with pytest.raises(WeightsError, match=r"bytes is more than the limit of 1000"):
        Lpips(file)


def test_images_are_standardised_as_imagenet_is():
    """By torchvision's mean and standard deviation of 0..1."""
    trunk = AlexNetTrunk()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(trunk.mean.flatten(), 2 * mean - 1)
    torch.testing.assert_close(trunk.std.flatten(), 2 * std)
