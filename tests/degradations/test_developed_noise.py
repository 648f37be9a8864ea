"""Noise that a camera has developed: what it does to colours, to fine and coarse noise, and to what is clean."""

import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from ucdir.degradations import (
    DevelopedNoise,
    DevelopedNoiseGenerator,
    JpegCompression,
    LowLightGenerator,
    LowLightNoise,
)
from ucdir.degradations.developed_noise import s_curve
from ucdir.degradations.sensors import SENSORS, SensorNoise
from ucdir.errors import ConfigError, DataError

BIAS = (0.0, 0.0, 0.0, 0.0)
SHOT = SensorNoise(gain=8.0, read_scale=0.0, read_shape=0.1, row_std=0.0, colour_bias=BIAS)
NEUTRAL = {"white_balance": (1.0, 1.0, 1.0)}


def flat(value=128, side=256):
    return np.full((side, side, 3), value, np.uint8)


def noise_of(noise, clean):
    return noise(clean).astype(float) - noise.long_exposure(clean)


def neighbours(plane, distance=1):
    """Correlation with the neighbour at a distance."""
    return float(np.corrcoef(plane[:, distance:].ravel(), plane[:, :-distance].ravel())[0, 1])


def test_a_developed_sensor_has_the_noise_of_its_formula():
    noise = replace(DevelopedNoise(SHOT, push=4.0, **NEUTRAL), resized=True)
    seen = noise_of(noise, flat())
    light = 0.2158  # of level 128
    slope = 1.055 / 2.4 * light ** (1 / 2.4 - 1)
    expected = 255 * slope * math.sqrt(light * 8.0 * 4.0 / 15871)
    assert seen[..., 0].std() == pytest.approx(expected, rel=0.04)
    assert seen[..., 1].std() == pytest.approx(expected / math.sqrt(2), rel=0.04), "the mean of two greens"
    assert noise.noise_strength == pytest.approx(math.sqrt(seen.var(axis=(0, 1)).mean()), rel=0.06)


def test_a_demosaiced_noise_is_correlated():
    mosaic = DevelopedNoise(SHOT, push=4.0, differences=1.0, **NEUTRAL)
    seen, control = noise_of(mosaic, flat()), noise_of(replace(mosaic, resized=True), flat())
    for channel in range(3):
        assert neighbours(seen[..., channel]) > 0.25
        assert abs(neighbours(control[..., channel])) < 0.02
    assert np.corrcoef(seen[..., 0].ravel(), seen[..., 1].ravel())[0, 1] > 0.5
    assert abs(np.corrcoef(control[..., 0].ravel(), control[..., 1].ravel())[0, 1]) < 0.02


def test_denoising_leaves_coarse_noise_and_sharpening_raises_fine():
    plain = DevelopedNoise(SHOT, push=8.0)
    soft = replace(plain, luma=(0.2, 0.5, 0.9, 1.0), chroma=(0.0, 0.1, 0.5, 0.9))
    sharp = replace(plain, luma=(1.8, 1.4, 1.0, 1.0))
    stds = [noise_of(n, flat())[..., 1].std() for n in (soft, plain, sharp)]
    assert stds[0] < 0.7 * stds[1] < 0.7 * stds[2] / 1.3
    assert (
        neighbours(noise_of(soft, flat())[..., 1], 2) > neighbours(noise_of(plain, flat())[..., 1], 2) + 0.1
    )


def test_what_is_busy_is_denoised_less():
    stripes = flat(100)
    stripes[:, 64::8] = 160
    soft = DevelopedNoise(SHOT, push=8.0, luma=(0.0, 0.0, 0.0, 0.0))
    seen = noise_of(soft, stripes)[..., 1]
    assert seen[:, 100:].std() > 1.5 * seen[:, 10:54].std()


@pytest.mark.parametrize("value", [40, 100, 200])
def test_the_mean_colour_stays(value):
    generator = DevelopedNoiseGenerator(pushes=(8.0, 8.0), jpeg_probability=0.0, nearly_clean_probability=0.0)
    for seed, sensor in enumerate(SENSORS.values()):
        noise = generator.draw(np.random.default_rng(seed), sensor)
        seen = noise_of(noise, flat(value))
        assert np.abs(seen.mean(axis=(0, 1))).max() < 0.1 + 0.06 * seen.std()
    assert noise.noise_strength > 2, "control"


def test_black_and_white_stay_what_they_are():
    noise = DevelopedNoise(SHOT, push=8.0)
    assert noise_of(noise, flat(255)).std() < 0.2 * noise_of(noise, flat(200)).std(), "blown out"
    assert noise_of(noise, flat(0)).std() < 0.5, "no light, no shot noise"


def test_uniform_noise_is_as_strong_in_the_bright():
    noise = DevelopedNoise(SHOT, push=8.0, contrast=0.7)
    stds = [
        [noise_of(n, flat(value)).std() for value in (60, 235)] for n in (noise, replace(noise, uniform=True))
    ]
    assert stds[0][0] > 1.5 * stds[0][1]
    assert stds[1][0] == pytest.approx(stds[1][1], rel=0.1)


def test_a_photo_of_much_light_is_hardly_changed():
    clean = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    noise = DevelopedNoise(replace_gain(1e-4), contrast=0.6, luma=(0.1, 0.2, 0.5, 0.8))
    assert np.abs(noise_of(noise, clean)).max() <= 1
    assert np.array_equal(noise.long_exposure(clean), clean)


def replace_gain(gain):
    return SHOT._replace(gain=gain)


def test_the_clean_photo_is_no_jpeg():
    clean = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    noise = DevelopedNoise(replace_gain(1e-4), jpeg=JpegCompression(60), shift=(3, 5))
    assert np.array_equal(noise.long_exposure(clean), clean)
    assert noise_of(noise, clean).std() > 20
    shifted = np.pad(clean, ((3, 0), (5, 0), (0, 0)), mode="symmetric")
    same = JpegCompression(60)(replace(noise, jpeg=None)(shifted))[3:, 5:]
    assert np.mean(np.abs(noise(clean).astype(float) - same)) < 3


def test_s_curves():
    values = np.linspace(0, 1, 11, dtype=np.float32)
    assert np.array_equal(s_curve(values, 0.0), values)
    curved = s_curve(values, 0.7)
    assert curved[[0, 5, 10]] == pytest.approx([0, 0.5, 1])
    assert (np.diff(curved) > 0).all()
    assert curved[2] < 0.18
    assert curved[8] > 0.82


def test_from_next_to_none_to_strong():
    generator = LowLightGenerator(developed_probability=1.0, white_probability=0.0)
    drawn = [generator.draw(np.random.default_rng(n)) for n in range(300)]
    assert all(isinstance(n, DevelopedNoise) for n in drawn)
    strengths = np.array([n.noise_strength for n in drawn])
    assert 0.08 < (strengths < 0.7).mean() < 0.25
    assert ((strengths > 1.5) & (strengths < 8)).mean() > 0.3
    assert 0.04 < (strengths > 15).mean() < 0.25
    qualities = [n.jpeg.quality for n in drawn if n.jpeg]
    assert 60 <= min(qualities) < 65
    assert 94 <= max(qualities) <= 95
    assert {n.jpeg.subsampling for n in drawn if n.jpeg} == {"4:2:0", "4:4:4"}


def test_half_of_the_crops_are_developed():
    rng = np.random.default_rng(0)
    drawn = [LowLightGenerator().draw(rng) for _ in range(300)]
    assert 0.42 < np.mean([not isinstance(n, LowLightNoise) for n in drawn]) < 0.58


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (33, 17)])
def test_any_size_by_the_seed_alone(size):
    clean = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = clean.copy()
    for seed in range(4):
        noise = DevelopedNoiseGenerator().draw(np.random.default_rng(seed), SENSORS["canon_70d"])
        result = noise(clean)
        assert result.shape == clean.shape
        assert result.dtype == np.uint8
        assert np.array_equal(result, noise(clean))
    assert np.array_equal(clean, before)


@pytest.mark.parametrize(
    "arguments",
    [{"push": 0.0}, {"sensor": SHOT._replace(gain=0.0)}, {"contrast": 1.5}, {"differences": -0.1}],
)
def test_arguments_out_of_range(arguments):
    with pytest.raises(ConfigError, match="developed noise: gain"):
        DevelopedNoise(**{"sensor": SHOT, **arguments})


@pytest.mark.parametrize("arguments", [{"pushes": (3.0, 2.0)}, {"jpeg_qualities": (90, 60)}])
def test_generators_out_of_range(arguments):
    with pytest.raises(ValidationError, match="the lowest comes first"):
        DevelopedNoiseGenerator(**arguments)


def test_what_is_no_picture():
    with pytest.raises(DataError, match="developed noise takes"):
        DevelopedNoise(SHOT)(np.zeros((4, 4), np.uint8))
