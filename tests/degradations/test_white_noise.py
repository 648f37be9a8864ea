"""White noise: of its deviation, of all colours apart or in common, and a function of the seed."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from ucdir.degradations import DevelopedNoise, JpegCompression, LowLightGenerator, WhiteNoise
from ucdir.errors import ConfigError, DataError
from ucdir.tasks.low_light import LowLight

GREY = np.full((120, 120, 3), 128, np.uint8)


def test_it_has_its_deviation_and_no_correlation():
    noise = WhiteNoise(20.0)(GREY) - 128.0
    assert noise.std() == pytest.approx(20, rel=0.02)
    assert abs(noise.mean()) < 0.3
    for other in (np.roll(noise, 1, 0), np.roll(noise, 1, 1), np.roll(noise, 1, 2)):
        assert abs((noise * other).mean()) < 0.03 * 400


def test_grey_noise_is_that_of_all_colours():
    noisy = WhiteNoise(20.0, grey=True)(GREY)
    assert not (noisy != noisy[..., :1]).any()
    assert (WhiteNoise(20.0)(GREY) != noisy).any()


def test_it_is_a_function_of_the_seed_and_may_be_saved():
    assert np.array_equal(WhiteNoise(9.0, seed=3)(GREY), WhiteNoise(9.0, seed=3)(GREY))
    assert not np.array_equal(WhiteNoise(9.0, seed=3)(GREY), WhiteNoise(9.0, seed=4)(GREY))
    jpeg = JpegCompression(70)
    saved = WhiteNoise(9.0, seed=3, jpeg=jpeg)(GREY)
    assert np.array_equal(saved, jpeg(WhiteNoise(9.0, seed=3)(GREY)))
    assert np.array_equal(WhiteNoise(0.0)(GREY), GREY)


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"standard deviation of -1 is not within \[0,255\]"):
        WhiteNoise(-1)
    with pytest.raises(ConfigError, match="nan"):
        WhiteNoise(math.nan)
    with pytest.raises(DataError, match="white noise"):
        WhiteNoise(5.0)(np.zeros((4, 4), np.uint8))
    with pytest.raises(ValidationError, match="white_stds"):
        LowLightGenerator(white_stds=(5, 2))


def test_a_share_of_ordinary_photos_has_it_over_the_whole_range():
    rng = np.random.default_rng(0)
    drawn = [LowLightGenerator(developed_probability=1).draw(rng) for _ in range(600)]
    white = [noise for noise in drawn if isinstance(noise, WhiteNoise)]
    assert 0.11 < len(white) / len(drawn) < 0.19
    assert all(isinstance(noise, WhiteNoise | DevelopedNoise) for noise in drawn)
    stds = np.log([noise.noise_strength for noise in white])
    assert np.histogram(stds, 4, np.log([2, 100]))[0].min() > 10
    assert 0.1 < np.mean([noise.jpeg is not None for noise in white]) < 0.5


def test_the_model_is_told_its_strength_and_that_there_is_no_gain():
    generator = LowLightGenerator(
        developed_probability=1,
        white_probability=1,
        white_stds=(30, 30),
        developed={"unknown_probability": 0},
    )
    example = LowLight(generator).degrade(GREY, np.random.default_rng(0))
    assert np.array_equal(example.clean, GREY)
    assert example.scalars["noise_strength"] == pytest.approx(30)
    assert example.scalars["exposure_ratio"] == 1
    assert math.isnan(example.scalars["gain"])
