"""Grain: in closed form, blind to levels and to what is not flat."""

import doctest
import importlib

import pytest
import torch

from ucdir.errors import DataError
from ucdir.metrics.grain import grain

GENERATOR = torch.Generator().manual_seed(0)


def noise(std, size=64):
    return std / 127.5 * torch.randn(2, 1, size, size, generator=GENERATOR).expand(-1, 3, -1, -1)


def test_examples():
    assert doctest.testmod(importlib.import_module("ucdir.metrics.grain")).failed == 0


@pytest.mark.parametrize("std", [0.5, 3.0])
def test_noise_in_levels(std):
    clean = torch.zeros(2, 3, 64, 64)
    torch.testing.assert_close(
        grain(noise(std), clean), torch.full((2,), std * (63 / 64) ** 0.5), atol=0.05 * std, rtol=0
    )


def test_what_the_clean_image_has_is_taken_off_and_less_is_negative():
    clean = noise(0.8)
    assert grain(clean, clean).abs().max() == 0
    assert (grain(torch.zeros_like(clean), clean) < -0.6).all()


def test_levels_and_what_is_not_flat_do_not_count():
    clean = torch.zeros(1, 3, 32, 32)
    clean[..., 16:] = torch.rand(1, 3, 32, 16, generator=GENERATOR)
    restored = clean.clone()
    restored[..., :8] += 0.3
    restored[..., 16:] = 0
    assert grain(restored, clean).abs().max() < 1e-5
    restored[..., 3:5] += 0.1
    assert grain(restored, clean) > 3, "the control"


def test_what_cannot_be_measured():
    rough = torch.rand(1, 3, 16, 16, generator=GENERATOR)
    with pytest.raises(DataError, match="no flat part"):
        grain(rough, rough)
    with pytest.raises(DataError, match="8x8"):
        grain(rough[..., :7], rough[..., :7])


@pytest.mark.parametrize(("std", "flat"), [(0.9, True), (1.1, False)])
def test_flat_is_what_varies_by_a_level_at_most(std, flat):
    clean = torch.zeros(1, 3, 16, 16)
    clean[..., 8:] = torch.tensor([1.0, -1.0]).repeat(4) * std / 127.5
    restored = clean.clone()
    restored[..., 8:] *= 10  # nothing but these blocks is rougher
    expected = (50**0.5 - 0.5**0.5) * std if flat else 0
    assert grain(restored, clean).item() == pytest.approx(expected, abs=1e-3)
