"""The sensor's noise: each source against its closed form, and all of it a function of the seed."""

import copy
import math
from functools import partial

import numpy as np
import pytest
from pydantic import ValidationError

from ucdir.degradations import LowLightGenerator, LowLightNoise
from ucdir.degradations.sensors import SENSORS, tukey_lambda, tukey_lambda_variance
from ucdir.errors import ConfigError, DataError
from ucdir.images.camera import SPAN, srgb_to_linear

DARK = partial(LowLightGenerator, developed_probability=0.0)
QUIET = {"read_scale": 0.0, "row_std": 0.0, "white_balance": (1.0, 1.0, 1.0)}


def flat(value=128, height=200, width=200):
    return np.full((height, width, 3), value, np.uint8)


def numbers(noise, clean):
    """The digital numbers above black that a picture stands for, [H,W,3]; green is the mean of two."""
    return srgb_to_linear(noise(clean) / 255.0) * SPAN / noise.exposure_ratio


@pytest.mark.parametrize(("gain", "ratio"), [(2.0, 20.0), (0.5, 10.0)])
def test_shot_noise_is_poisson(gain, ratio):
    noise = LowLightNoise(ratio, gain, **QUIET)
    seen = numbers(noise, flat())
    expected = float(srgb_to_linear(np.array(128 / 255))) * SPAN / ratio
    assert seen[..., 0].mean() == pytest.approx(expected, rel=0.01)
    assert seen[..., 0].var() == pytest.approx(gain * expected, rel=0.05)
    assert seen[..., 1].var() == pytest.approx(gain * expected / 2, rel=0.05), "the mean of two greens"


def test_read_noise_has_its_variance_and_its_tail():
    for shape in (-0.143, -0.05, 0.0, 0.114):
        noise = LowLightNoise(1.0, 1e-6, read_scale=300.0, read_shape=shape, row_std=0.0,
                              white_balance=(1.0, 1.0, 1.0))  # fmt: skip
        red = numbers(noise, flat(186, 300, 300))[..., 0]
        assert red.std() == pytest.approx(300 * math.sqrt(tukey_lambda_variance(shape)), rel=0.03)
    heavy, light = (
        tukey_lambda(np.random.default_rng(0).random(200_000, dtype=np.float32), s) for s in (-0.143, 0.114)
    )
    kurtosis = [float(((n - n.mean()) ** 4).mean() / n.var() ** 2) for n in (heavy, light)]
    assert kurtosis[0] > 5
    assert 3 < kurtosis[1] < 4


def test_variance_of_the_tukey_lambda_by_hand():
    assert tukey_lambda_variance(1.0) == pytest.approx(1 / 3)  # uniform on [-1,1]
    assert tukey_lambda_variance(0.0) == pytest.approx(math.pi**2 / 3)  # logistic
    assert tukey_lambda_variance(2e-4) == pytest.approx(math.pi**2 / 3, rel=1e-2)


def test_rows_have_noise_in_common():
    noise = LowLightNoise(1.0, 1e-6, read_scale=0.0, row_std=200.0, white_balance=(1.0, 1.0, 1.0))
    seen = numbers(noise, flat(186))
    assert seen[..., 0].mean(axis=1).std() == pytest.approx(200, rel=0.2)
    assert (seen[..., 0] - seen[..., 0].mean(axis=1, keepdims=True)).std() < 40
    across = np.corrcoef(seen[:-1, :, 0].mean(axis=1), seen[1:, :, 0].mean(axis=1))[0, 1]
    assert abs(across) < 0.25, "control: neighbouring rows have nothing in common"


def test_quantisation_and_bias():
    noise = LowLightNoise(300.0, 1e-6, colour_bias=(3.0, 0.0, 0.0, -3.0), **QUIET)
    seen = numbers(noise, flat())
    means = seen.mean(axis=(0, 1))
    assert means[0] - means[1] == pytest.approx(3.0, abs=0.1)
    assert means[2] - means[1] == pytest.approx(-3.0, abs=0.1)
    assert seen[..., 0].var() == pytest.approx(1 / 12, rel=0.15)


def test_little_is_left_of_a_bright_exposure_but_the_truth():
    clean = np.random.default_rng(0).integers(40, 200, (32, 40, 3)).astype(np.uint8)
    noise = LowLightNoise(1.0, 1e-4, **QUIET)
    assert np.abs(noise(clean).astype(int) - clean).max() <= 1
    assert np.abs(noise.long_exposure(clean).astype(int) - clean).max() <= 1


def test_the_strength_given_is_that_of_mid_grey():
    for seed in range(8):
        noise = DARK(ratios=(5.0, 20.0), srgb_probability=0.0).draw(np.random.default_rng(seed))
        seen = noise(flat(128)).astype(float)
        measured = math.sqrt(seen.var(axis=(0, 1)).mean())
        assert noise.noise_strength == pytest.approx(measured, rel=0.15, abs=0.3)


def test_a_function_of_the_seed_alone():
    noise = DARK().draw(np.random.default_rng(3))
    clean = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    before, state = clean.copy(), np.random.get_state()[1].copy()
    assert np.array_equal(noise(clean), noise(clean))
    assert np.array_equal(noise(clean), copy.deepcopy(noise)(clean))
    assert not np.array_equal(noise(clean), LowLightNoise(noise.exposure_ratio, noise.gain, seed=9)(clean))
    assert np.array_equal(clean, before)
    assert np.array_equal(np.random.get_state()[1], state)
    assert DARK().draw(np.random.default_rng(3)) == noise


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2)])
def test_any_size(size):
    noise = DARK().draw(np.random.default_rng(0))
    result = noise(np.zeros((*size, 3), np.uint8))
    assert result.shape == (*size, 3)
    assert result.dtype == np.uint8


def test_what_is_drawn():
    drawn = [DARK(cameras=("sony_a7s2",)).draw(np.random.default_rng(n)) for n in range(600)]
    ratios = np.array([d.exposure_ratio for d in drawn])
    assert 1 <= ratios.min() < 3
    assert ratios.max() <= 300
    assert 0.2 < (ratios < 50).mean() < 0.3
    assert 0.05 < (ratios == 300).mean() < 0.2
    gains = np.array([d.gain for d in drawn])
    assert 0.0939 <= gains.min() < 0.12
    assert 5 < gains.max() <= 6.01
    assert np.corrcoef(np.log(gains), [math.log(d.read_scale) for d in drawn])[0, 1] > 0.7
    assert all(min(d.white_balance) == 1 for d in drawn)
    assert all(np.allclose(np.sum(d.colours, axis=1), 1) for d in drawn)


def test_what_nothing_can_be_seen_in_is_drawn_again():
    drawn = [
        DARK(cameras=("canon_700d",), strongest=strongest).draw(np.random.default_rng(n)).noise_strength
        for strongest in (128.0, 255.0)
        for n in range(200)
    ]
    assert max(drawn[:200]) <= 128
    assert np.mean(np.array(drawn[200:]) > 128) > 0.2, "control"
    weakest = DARK(ratios=(300.0, 300.0), strongest=1e-3).draw(np.random.default_rng(0))
    assert weakest.noise_strength > 1, "there are none so weak, and it ends all the same"


@pytest.mark.parametrize("camera", SENSORS)
def test_the_figures_are_the_published_ones(test_data, camera):
    import json

    published = json.loads((test_data / "sid" / f"{camera}_noise.json").read_text())
    sensor, fits = SENSORS[camera], published["Profile-1"]
    np.testing.assert_allclose(sensor.read_shapes, published["G_shape"], atol=6e-4)
    np.testing.assert_allclose(sensor.colour_biases, published["color_bias"], atol=6e-4)
    np.testing.assert_allclose(sensor.gains, [published["Kmin"], published["Kmax"]], rtol=3e-3)
    for fit, name in ((sensor.read, "G_scale"), (sensor.row, "R_scale")):
        np.testing.assert_allclose(fit, [fits[name][part] for part in ("slope", "bias", "sigma")], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"exposure_ratio": 0.5, "gain": 1.0}, "exposure_ratio 0.5 is not at least 1"),
        ({"exposure_ratio": 2.0, "gain": 0.0}, "gain 0.0 is not positive"),
        ({"exposure_ratio": 2.0, "gain": 1.0, "read_shape": -0.6}, "read_shape -0.6"),
        ({"exposure_ratio": 2.0, "gain": 1.0, "white_balance": (2.0, 1.5, 1.2)}, "no smallest gain of 1"),
    ],
)
def test_arguments_out_of_range(arguments, words):
    with pytest.raises(ConfigError, match=words):
        LowLightNoise(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"ratios": (0.5, 3.0)},
        {"ratios": (30.0, 3.0)},
        {"srgb_probability": 1.5},
        {"cameras": ("leica",)},
        {"cameras": ()},
    ],
)
def test_generators_out_of_range(arguments):
    with pytest.raises(ValidationError, match=next(iter(arguments))):
        LowLightGenerator(**arguments)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), 7]
)
def test_what_is_no_picture(bad):
    with pytest.raises(DataError, match="low light noise takes"):
        LowLightNoise(2.0, 1.0)(bad)
