"""Scalars given in a call are checked against what the model takes, and against their range."""

import math

import numpy as np
import pytest
import torch

from ucdir.errors import ConfigError
from ucdir.tasks import TASKS
from ucdir.tasks.scalars import SCALARS, check_scalars

KNOWN = ("jpeg_quality", "noise_strength")


def test_numbers_for_each_image():
    found = check_scalars({"jpeg_quality": 10, "noise_strength": [0.5, math.nan]}, KNOWN, batch=2)
    assert {name: (value.shape, value.dtype) for name, value in found.items()} == dict.fromkeys(
        KNOWN, ((2,), np.float32)
    )
    np.testing.assert_array_equal(found["jpeg_quality"], [10, 10])
    np.testing.assert_array_equal(found["noise_strength"], np.float32([0.5, np.nan]))
    np.testing.assert_array_equal(
        check_scalars({"jpeg_quality": torch.tensor([7])}, KNOWN)["jpeg_quality"], [7]
    )
    assert check_scalars({}, KNOWN) == {}


@pytest.mark.parametrize(
    ("scalars", "words"),
    [
        ({"blur": 3}, "knows nothing of blur; it takes jpeg_quality, noise_strength"),
        ({"jpeg_quality": "high"}, "jpeg_quality 'high' is not a number"),
        ({"jpeg_quality": 10**400}, "jpeg_quality 1000.* is not a number"),
        ({"jpeg_quality": 1e300}, "jpeg_quality inf is out of range"),
        ({"jpeg_quality": "10"}, "jpeg_quality '10' is not a number"),
        ({"jpeg_quality": None}, "jpeg_quality None is not a number"),
        ({"jpeg_quality": [1, 2, 3]}, "3 values for 1 images"),
        ({"jpeg_quality": 101}, r"jpeg_quality 101 is out of range; it goes from 1 to 100 .IJG quality."),
        ({"noise_strength": -1}, r"noise_strength -1 is out of range; it goes from 0 to 255 .8-bit levels."),
        ({"noise_strength": math.inf}, "noise_strength inf is out of range"),
    ],
)
def test_a_scalar_that_cannot_be_taken_is_named(scalars, words):
    with pytest.raises(ConfigError, match=words):
        check_scalars(scalars, KNOWN)


@pytest.mark.parametrize("name", TASKS)
def test_what_degradations_give_is_in_range(name):
    task, clean = TASKS[name].of_strength(None), np.zeros((8, 8, 3), np.uint8)
    for seed in range(50):
        scalars = task.degrade(clean, np.random.default_rng(seed)).scalars
        assert check_scalars(scalars, task.scalars).keys() == scalars.keys()


def test_the_scale_of_every_scalar_is_rising():
    assert all(name == one.name and one.scale[0] < one.scale[1] for name, one in SCALARS.items())
