"""SSIM: closed forms, one window by hand, official values.

The official values are of the luminance, rounded to whole numbers, as the authors' MATLAB program has it;
ours are of RGB. SSIM of a grey image is the same either way, so the official values are met with grey images.
"""

import doctest
import importlib

import numpy as np
import pytest
import torch

from ucdir.metrics.ssim import ssim

C1, C2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2


def pair(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    return (clean + 0.3 * torch.randn(shape, generator=generator)).clamp(-1, 1), clean


def by_hand(restored, clean):
    """The formula on two windows [11,11] of values in [0,2]."""
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    m1, m2 = (weights * restored).sum(), (weights * clean).sum()
    v1, v2 = (weights * restored**2).sum() - m1**2, (weights * clean**2).sum() - m2**2
    covariance = (weights * restored * clean).sum() - m1 * m2
    return (2 * m1 * m2 + C1) * (2 * covariance + C2) / ((m1**2 + m2**2 + C1) * (v1 + v2 + C2))


@pytest.mark.parametrize(("a", "b"), [(-1.0, 1.0), (0.0, 0.5), (-0.9, -0.8)])
def test_constant_images_in_closed_form(a, b):
    value = ssim(torch.full((1, 3, 16, 16), a).double(), torch.full((1, 3, 16, 16), b).double())
    a, b = a + 1, b + 1
    assert value.item() == pytest.approx((2 * a * b + C1) / (a * a + b * b + C1), abs=1e-6)


def test_one_window_by_hand():
    restored, clean = pair(1, 3, 11, 11)
    windows = zip(restored[0].numpy() + 1, clean[0].numpy() + 1, strict=True)
    assert ssim(restored, clean).item() == pytest.approx(np.mean([by_hand(*w) for w in windows]), abs=1e-6)


def test_mean_over_complete_windows_only():
    restored, clean = pair(1, 3, 13, 12)
    each = [ssim(restored[..., i : i + 11, j : j + 11], clean[..., i : i + 11, j : j + 11])
            for i in range(3) for j in range(2)]  # fmt: skip
    torch.testing.assert_close(ssim(restored, clean), torch.stack(each).mean(0), rtol=0, atol=1e-6)


def test_equal_images_give_1_and_noise_less_and_less():
    _, clean = pair(1, 3, 32, 32)
    noise = torch.randn(clean.shape, dtype=torch.float64)
    values = [ssim(clean + strength * noise, clean).item() for strength in (0.0, 0.05, 0.2, 0.8)]
    assert values[0] == pytest.approx(1, abs=1e-6)
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.6


def test_batch_equals_singles_and_order_does_not_matter():
    restored, clean = pair(3, 3, 20, 15)
    singles = [ssim(restored[i : i + 1], clean[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(ssim(restored, clean), torch.cat(singles))
    torch.testing.assert_close(ssim(clean, restored), ssim(restored, clean))


def grey(pixels):
    """MATLAB's rgb2gray, rounded to whole numbers."""
    luminance = np.rint(pixels @ np.array([0.298936021293775, 0.587043074451121, 0.114020904255103]))
    return np.repeat(luminance[..., None], 3, axis=-1)


def test_official_values_on_the_luminance(calibration, to_tensor):
    degraded, clean, official = calibration
    ours = ssim(to_tensor(grey(degraded)), to_tensor(grey(clean)))
    np.testing.assert_allclose(ours, official["ssim"], atol=1.5e-4)


def test_control_rgb_gives_other_values(calibration, to_tensor):
    degraded, clean, official = calibration
    assert np.abs(ssim(to_tensor(degraded), to_tensor(clean)).numpy() - official["ssim"]).max() > 0.02


def test_docstring_example():
    result = doctest.testmod(importlib.import_module("ucdir.metrics.ssim"), extraglobs={"torch": torch})
    assert result.attempted == 2
    assert result.failed == 0
