"""The simple pipeline: formulas by hand, there and back."""

import numpy as np
import pytest

from ucdir.images.camera import (
    camera_to_srgb,
    develop,
    linear_to_srgb,
    pack_bayer,
    srgb_to_linear,
    undevelop,
)  # fmt: skip

BALANCE = np.array([2.0, 1.0, 1.5])
MATRIX = camera_to_srgb([[0.66, -0.19, -0.05], [-0.46, 1.23, 0.26], [-0.06, 0.14, 0.65]])


def test_tone_curve_by_hand():
    light = np.array([0.0, 0.0031308, 0.18, 0.2140, 0.5, 1.0, 1.7, -0.2])
    expected = [0.0, 0.04045, 0.46135, 0.5, 0.73536, 1.0, 1.0, 0.0]
    np.testing.assert_allclose(linear_to_srgb(light), expected, atol=2e-4)
    values = np.arange(256) / 255
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-9)
    assert linear_to_srgb(light.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_packing_finds_each_colour(pattern):
    value = {"R": 1, "G": 2, "B": 3}
    cell = np.array([value[c] for c in pattern]).reshape(2, 2)
    mosaic = np.tile(cell, (3, 4))
    packed = pack_bayer(np.pad(mosaic, ((0, 1), (0, 1))), pattern)
    assert packed.shape == (3, 4, 4)
    assert (packed == [1, 2, 2, 3]).all()


def test_both_greens_keep_their_places():
    mosaic = np.arange(16).reshape(4, 4)
    assert pack_bayer(mosaic, "RGGB")[0, 0].tolist() == [0, 1, 4, 5]
    assert pack_bayer(mosaic, "GBRG")[1, 1].tolist() == [14, 10, 15, 11]


def test_white_stays_white_and_grey_grey():
    assert MATRIX.sum(axis=1) == pytest.approx([1, 1, 1])
    for light in (0.1, 0.4, 1.0):
        packed = np.full((1, 1, 4), light, np.float32) / np.array([2.0, 1.0, 1.0, 1.5], np.float32)
        image = develop(packed, BALANCE, MATRIX)
        assert image == pytest.approx(np.full((1, 1, 3), linear_to_srgb(np.array(light))), abs=1e-5)
    burnt = develop(np.ones((1, 1, 4), np.float32), BALANCE, MATRIX)
    assert burnt == pytest.approx(np.ones((1, 1, 3)), abs=1e-5), "and not pink"


def test_there_and_back():
    rng = np.random.default_rng(0)
    srgb = (0.2 + 0.5 * rng.random((5, 6, 3))).astype(np.float32)
    packed = undevelop(srgb, BALANCE, MATRIX)
    assert packed.shape == (5, 6, 4)
    assert np.array_equal(packed[..., 1], packed[..., 2])
    np.testing.assert_allclose(develop(packed, BALANCE, MATRIX), srgb, atol=1e-4)
