"""The noise schedule by hand: its table, levels between steps, its beginning as a schedule."""

import math

import numpy as np
import pytest

from ucdir.config import PRESETS
from ucdir.diffusion.schedule import NoiseSchedule, level_of, sigma_of
from ucdir.errors import ConfigError

PAPER = NoiseSchedule.of(PRESETS["paper"].diffusion)
SMALL = NoiseSchedule(timesteps=7, beta_start=0.01, beta_end=0.3)


def by_hand(schedule):
    levels, gamma = [1.0], 1.0
    for t in range(schedule.timesteps):
        position = t / (schedule.timesteps - 1) if schedule.timesteps > 1 else 0.0
        gamma *= 1 - (schedule.beta_start + position * (schedule.beta_end - schedule.beta_start))
        levels.append(math.sqrt(gamma))
    return levels


def test_paper_has_2000_steps_from_clean_to_noise():
    levels = PAPER.levels()
    assert (PAPER.timesteps, PAPER.beta_start, PAPER.beta_end) == (2000, 1e-6, 1e-2)
    assert levels.shape == (2001,)
    assert levels[0] == 1
    assert levels[1] == pytest.approx(math.sqrt(1 - 1e-6), rel=1e-15)
    assert levels[-1] ** 2 == pytest.approx(math.exp(-10), rel=0.05), "the sum of all β is 10"
    assert np.all(np.diff(levels) < 0)


@pytest.mark.parametrize("schedule", [PAPER, SMALL, NoiseSchedule(1, 0.1, 0.5), NoiseSchedule(5, 0.2, 0.2)])
def test_table_by_hand(schedule):
    np.testing.assert_allclose(schedule.levels(), by_hand(schedule), rtol=1e-12)


def test_whole_steps_are_the_table():
    for schedule in (PAPER, SMALL):
        levels = schedule.levels()
        for t in {0, 1, 2, schedule.timesteps // 2, schedule.timesteps - 1, schedule.timesteps}:
            assert schedule.continuous_level(t / schedule.timesteps) == pytest.approx(levels[t], rel=1e-12)


def test_between_the_steps_it_is_a_straight_line():
    levels = SMALL.levels()
    for share in (0.25, 0.5, 0.9):
        expected = (1 - share) * levels[3] + share * levels[4]
        assert SMALL.continuous_level((3 + share) / 7) == pytest.approx(expected, rel=1e-12)
    fractions = np.linspace(0, 1, 501)
    assert np.all(np.diff([SMALL.continuous_level(f) for f in fractions]) < 0)


@pytest.mark.parametrize("start", [1.0, 0.4, 0.25, 0.0005])
def test_late_start_is_the_exact_beginning(start):
    cut = PAPER.late_start(start)
    assert cut.timesteps == round(start * 2000)
    np.testing.assert_allclose(cut.levels(), PAPER.levels()[: cut.timesteps + 1], rtol=1e-13)
    np.testing.assert_allclose(cut.levels()[-1], PAPER.continuous_level(start), rtol=1e-12)


def test_late_start_has_at_least_one_step():
    assert PAPER.late_start(1e-9).timesteps == 1
    assert NoiseSchedule(1, 0.1, 0.1).late_start(1.0) == NoiseSchedule(1, 0.1, 0.1)


def test_control_the_same_betas_over_fewer_steps_are_another_schedule():
    shorter = NoiseSchedule(800, PAPER.beta_start, PAPER.beta_end)
    assert abs(shorter.levels()[-1] - PAPER.late_start(0.4).levels()[-1]) > 0.3


def test_late_start_of_a_late_start():
    once = PAPER.late_start(0.2)
    twice = PAPER.late_start(0.5).late_start(0.4)
    assert once.timesteps == twice.timesteps == 400
    np.testing.assert_allclose(once.levels(), twice.levels(), rtol=1e-13)


# --------------------------------------------------------------------------------------------- the levels of sampling


def test_fifty_steps_are_uniform_over_all_of_t():
    levels = PAPER.sampling_levels(50)
    assert levels == [*PAPER.levels()[2000:0:-40], 1.0]


@pytest.mark.parametrize(("start", "steps"), [(0.4, 4), (0.4, 1), (0.25, 10), (0.3, 7), (1.0, 2000)])
def test_late_steps_are_uniform_below_the_start(start, steps):
    expected = [PAPER.continuous_level(start * (1 - i / steps)) for i in range(steps)] + [1.0]
    np.testing.assert_allclose(PAPER.sampling_levels(steps, start), expected, rtol=2e-3)
    assert PAPER.sampling_levels(steps, start)[0] == PAPER.late_start(start).levels()[-1]


def test_more_steps_than_there_are_is_refused():
    assert len(PAPER.sampling_levels(20, 0.01)) == 21
    with pytest.raises(
        ConfigError, match=r"21 sampling steps are more than the 20 below start_fraction 0\.01"
    ):
        PAPER.sampling_levels(21, 0.01)


def test_any_betas():
    schedule = NoiseSchedule(2000, 1e-6, 1e-2, betas=(0.1, 0.2, 0.5))
    np.testing.assert_allclose(schedule.levels() ** 2, [1, 0.9, 0.72, 0.36], rtol=1e-12)
    assert NoiseSchedule(3, 1e-6, 1e-2, betas=(0.1, 0.2, 0.5)).late_start(0.7).betas == (0.1, 0.2)


def test_levels_uniform_in_sigma():
    even = PAPER.sampling_levels(8, 0.3, "sigma")
    assert even[0] == PAPER.sampling_levels(8, 0.3)[0], "the same start"
    assert even[-1] == 1.0
    np.testing.assert_allclose(
        np.diff([sigma_of(level) for level in even]), -sigma_of(even[0]) / 8, rtol=1e-6
    )
    assert PAPER.sampling_levels(1, 0.3, "sigma") == PAPER.sampling_levels(1, 0.3)
    assert [level_of(sigma_of(level)) for level in even] == pytest.approx(even)
