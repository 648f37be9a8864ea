"""What all tasks have in common, and deblurring and low light by themselves."""

import math

import numpy as np
import pytest

from ucdir.config import parse_config
from ucdir.degradations import DevelopedNoise, LowLightNoise, WhiteNoise
from ucdir.degradations.sensors import SENSORS
from ucdir.images import Exposure, Photo
from ucdir.tasks import TASKS
from ucdir.tasks.scalars import SCALARS

CLEAN = np.random.default_rng(0).integers(0, 256, (64, 72, 3), dtype=np.uint8)


def task(name, **sections):
    return parse_config({"task": name, "data": {"photos": "photos"}, **sections}, "test").make_task()


@pytest.mark.parametrize("name", TASKS)
def test_every_task_keeps_its_promises(name):
    kind = TASKS[name]
    assert kind.name == name
    assert set(kind.scalars) <= set(SCALARS)
    made, before = task(name), CLEAN.copy()
    assert made.margin(64) >= 0
    assert made.smallest_photo(64) >= 64
    for seed in range(6):
        first, again = (made.degrade(CLEAN, np.random.default_rng(seed)) for _ in range(2))
        assert first.clean.shape == first.degraded.shape == CLEAN.shape
        assert first.clean.dtype == first.degraded.dtype == np.uint8
        assert np.array_equal(first.degraded, again.degraded)
        assert set(first.scalars) == set(kind.scalars)
        np.testing.assert_equal(dict(first.scalars), dict(again.scalars))
    assert np.array_equal(CLEAN, before)
    made = kind.of_strength(None)
    given = [made.degrade(CLEAN, np.random.default_rng(seed)).scalars for seed in range(10)]
    assert all(math.isfinite(value) for scalars in given for value in scalars.values())


@pytest.mark.parametrize(("name", "section"), [("deblurring", "blur"), ("low_light", "low_light")])
def test_each_scalar_is_given_or_not_independently(name, section):
    given: dict = {"unknown_probability": 0.5}
    if name == "low_light":
        given["developed"] = {"unknown_probability": 0.5}
    made = task(name, **{section: given})
    hidden = [
        [
            math.isnan(value)
            for value in made.degrade(CLEAN[:8, :8], np.random.default_rng(n)).scalars.values()
        ]
        for n in range(200)
    ]
    assert np.mean(hidden, axis=0) == pytest.approx([0.5] * len(TASKS[name].scalars), abs=0.12)
    assert len({tuple(row) for row in hidden}) == 2 ** len(TASKS[name].scalars)


def test_the_blur_given_is_the_blur_done():
    for length in (0.0, 20.0):
        made = TASKS["deblurring"].of_strength(length)
        example = made.degrade(CLEAN, np.random.default_rng(0))
        assert example.scalars["blur_length"] == pytest.approx(length, abs=0.05)
        assert example.scalars["blur_type"] == 0
        assert made.margin(64) >= 48 / 2


def test_what_files_tell():
    raw = Photo(np.zeros((2, 2, 3), np.uint16), exposure=Exposure(100.0, gain=2.0))
    plain = Photo(np.zeros((2, 2, 3), np.uint8), jpeg_quality=30)
    assert TASKS["low_light"].known_scalars(raw) == {"exposure_ratio": 100.0, "gain": 2.0}
    assert TASKS["low_light"].known_scalars(plain) == {}
    assert TASKS["deblurring"].known_scalars(plain) == {}
    assert TASKS["jpeg_restoration"].known_scalars(plain) == {"jpeg_quality": 30.0}


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("blur", {"lengths": [9, 3]}, "the shortest comes first"),
        ("blur", {"lengths": [0, 99]}, "less than or equal to 48"),
        ("low_light", {"ratios": [300, 50]}, "the lowest comes first"),
        ("low_light", {"ratios": [0, 50]}, "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_go_together(section, values, words):
    from ucdir.errors import ConfigError

    with pytest.raises(ConfigError, match=words):
        parse_config({"data": {"photos": "photos"}, section: values}, "test")


def test_a_strength_of_low_light_is_of_sids_camera_in_the_dark():
    drawn = [TASKS["low_light"].of_strength(300).generator.draw(np.random.default_rng(n)) for n in range(40)]
    assert {type(noise) for noise in drawn} == {LowLightNoise}
    assert {noise.exposure_ratio for noise in drawn} == {300}
    assert max(noise.gain for noise in drawn) <= SENSORS["sony_a7s2"].gains[1]
    drawn = [TASKS["low_light"].of_strength(None).generator.draw(np.random.default_rng(n)) for n in range(40)]
    assert {type(noise) for noise in drawn} == {LowLightNoise, DevelopedNoise, WhiteNoise}, "control"
    assert np.nanmax([noise.gain for noise in drawn]) > SENSORS["sony_a7s2"].gains[1]


@pytest.mark.parametrize("portrait", [0.0, 1.0])
def test_the_rows_of_a_turned_camera_are_columns(portrait):
    settings = {"ratios": (300, 300), "srgb_probability": 0, "developed_probability": 0}
    made = task("low_light", low_light={**settings, "portrait_probability": portrait})
    clean, wavering = np.full((60, 90, 3), 128, np.uint8), []
    for seed in range(30):
        example = made.degrade(clean, np.random.default_rng(seed))
        assert example.clean.shape == example.degraded.shape == clean.shape
        luma = example.degraded.mean(axis=2)
        wavering.append([luma.mean(axis=1).std() * math.sqrt(90), luma.mean(axis=0).std() * math.sqrt(60)])
    rows, columns = np.mean(wavering, axis=0)
    assert (columns > 1.1 * rows) if portrait else (rows > 1.1 * columns)
