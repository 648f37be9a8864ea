"""PSNR on RGB: closed forms, 8-bit figures, official values."""

import doctest
import importlib

import numpy as np
import pytest
import torch

from ucdir.metrics.psnr import psnr


@pytest.mark.parametrize("offset", [2.0, 0.2, 0.002])
def test_a_constant_offset_in_closed_form(offset):
    clean = torch.rand(2, 3, 5, 7, dtype=torch.float64) - 1
    expected = torch.full((2,), 20 * np.log10(2 / offset), dtype=torch.float64)
    torch.testing.assert_close(psnr(clean + offset, clean), expected)


def test_mean_is_over_channels_and_pixels():
    clean = torch.zeros(1, 3, 4, 4)
    restored = clean.clone()
    restored[0, 1, 2, 3] = 1.0
    assert psnr(restored, clean).item() == pytest.approx(10 * np.log10(4 * 48), rel=1e-6)


def test_equals_the_figure_of_8_bit_images(to_tensor):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 3, 9, 11, 3), dtype=np.uint8)
    errors = np.square(a.astype(float) - b).mean((1, 2, 3))
    np.testing.assert_allclose(psnr(to_tensor(a), to_tensor(b)), 10 * np.log10(255**2 / errors), rtol=1e-5)


def test_equal_images_are_infinite_and_others_of_the_batch_are_not():
    clean = torch.rand(2, 3, 4, 4)
    restored = clean.clone()
    restored[1] += 0.2
    value = psnr(restored, clean)
    assert value[0] == float("inf")
    assert value[1].item() == pytest.approx(20, rel=1e-5)


def test_batch_equals_singles():
    restored, clean = torch.rand(2, 4, 3, 6, 5)
    singles = [psnr(restored[i : i + 1], clean[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(psnr(restored, clean), torch.cat(singles))


def test_official_values_are_of_rgb(calibration, to_tensor):
    degraded, clean, official = calibration
    np.testing.assert_allclose(psnr(to_tensor(degraded), to_tensor(clean)), official["psnr"], atol=0.006)


def test_control_luminance_alone_gives_other_values(calibration, to_tensor):
    weights = np.array([0.299, 0.587, 0.114])
    grey = [np.repeat((pixels @ weights)[..., None], 3, -1) for pixels in calibration[:2]]
    assert np.all(psnr(*map(to_tensor, grey)).numpy() > np.array(calibration[2]["psnr"]) + 0.4)


def test_docstring_example():
    result = doctest.testmod(importlib.import_module("ucdir.metrics.psnr"), extraglobs={"torch": torch})
    assert (result.attempted, result.failed) == (2, 0)
