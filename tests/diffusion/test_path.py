"""Paths: the states that f_θ is trained on."""

import numpy as np
import pytest
import torch

from ucdir.diffusion.path import PATHS, StraightPath
from ucdir.diffusion.samplers import start_sample
from ucdir.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule(2000, 1e-6, 1e-2)
SIGMA_START = np.sqrt(1 / np.cumprod(1 - np.linspace(1e-6, 1e-2, 2000))[599] - 1)  # of 0.3 T


def test_the_diffusion_path_is_eq_1():
    path = PATHS["diffusion"](SCHEDULE, 0.3)
    levels = torch.tensor([0.1, 0.6, 1.0])
    assert torch.equal(path.signal(levels), torch.ones(3))
    for fraction in (0.01, 0.4, 1.0):
        assert path.level(fraction) == SCHEDULE.continuous_level(fraction)
        assert path.level(fraction, focus=0.5) == SCHEDULE.continuous_level(fraction * 0.5)


def test_states_of_the_straight_path():
    path = PATHS["straight"](SCHEDULE, 0.3)
    assert path.sigma_start == pytest.approx(SIGMA_START, rel=1e-9)
    for t in (0.0, 0.25, 0.5, 0.99):
        level = path.level(1 - t)
        assert np.sqrt(1 - level**2) / level == pytest.approx((1 - t) * SIGMA_START, rel=1e-6)
        assert path.signal(np.float64(level)) == pytest.approx(t, abs=1e-6)
        assert path.signal(torch.tensor(level)).item() == pytest.approx(t, abs=1e-5)
        assert path.level(1 - t, focus=0.5) == level


def test_it_begins_where_sampling_starts():
    path, noise = StraightPath(SCHEDULE, 0.3), torch.randn(2, 3, 4, 4)
    level = path.level(1.0)
    state = (
        level * path.signal(torch.tensor(level)) * 7.0 + (1 - level**2) ** 0.5 * noise
    )  # of a residual of 7
    for steps, spacing in ((8, "sigma"), (1, "time")):
        first = SCHEDULE.sampling_levels(steps, 0.3, spacing)[0]
        assert level == pytest.approx(first, rel=1e-9)
        torch.testing.assert_close(state, start_sample(noise, first), atol=1e-5, rtol=0)


def test_it_ends_at_the_residual():
    path = StraightPath(SCHEDULE, 0.3)
    assert path.level(0.0) == 1.0
    assert path.signal(torch.tensor([1.0, 0.01])).tolist() == [1.0, 0.0], "no less than none of it"
