"""Samplers: with a perfect denoiser each finds the residual, and each is what its paper says."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ucdir.diffusion.path import StraightPath
from ucdir.diffusion.samplers import SAMPLERS, adds_noise, start_sample
from ucdir.diffusion.schedule import NoiseSchedule, sigma_of
from ucdir.errors import ConfigError

SCHEDULE = NoiseSchedule(2000, 1e-6, 1e-2)
DETERMINISTIC = [name for name in SAMPLERS if not adds_noise(name)]


def normal(step, shape=(1, 3, 4, 5)):
    return np.random.default_rng(step).standard_normal(shape, dtype=np.float32)


def no_noise(step):
    raise AssertionError("a deterministic sampler asked for noise")


def options(name, eta):
    return {"eta": eta} if adds_noise(name) else {}


def linear(x, level):
    """A denoiser that is not perfect: the best linear guess of a residual of deviation 0.5."""
    return level * 0.25 / (level**2 * 0.25 + 1 - level**2) * x


def sample(name, levels, denoise=linear, eta=1.0, noise=normal):
    x = start_sample(normal(0), levels[0])
    return SAMPLERS[name](denoise, x, levels, noise, **options(name, eta))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("start", [1.0, 0.4])
def test_with_a_perfect_denoiser_every_sampler_finds_the_residual(name, steps, start):
    residual = np.linspace(-1, 1, 60, dtype=np.float32).reshape(1, 3, 4, 5)
    found = sample(name, SCHEDULE.sampling_levels(steps, start), lambda x, level: residual)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, residual, atol=1e-4)  # σ of 150 at the start takes digits


@pytest.mark.parametrize("name", SAMPLERS)
def test_arrays_and_tensors_take_the_same_lines(name):
    levels = SCHEDULE.sampling_levels(5, 0.6)
    x = start_sample(normal(0), levels[0])
    array = SAMPLERS[name](linear, x, levels, normal, **options(name, 1.0))
    tensor = SAMPLERS[name](
        linear, torch.from_numpy(x), levels, lambda step: torch.from_numpy(normal(step)), **options(name, 1.0)
    )
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor.numpy(), array, atol=1e-6)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_first_sample_is_left_alone(name):
    levels = SCHEDULE.sampling_levels(3)
    x = start_sample(normal(0), levels[0])
    before = x.copy()
    SAMPLERS[name](linear, x, levels, normal, **options(name, 1.0))
    assert np.array_equal(x, before)


# ------------------------------------------------------------------------- each is what its paper says


@pytest.mark.parametrize("name", ["ddim", *DETERMINISTIC])
def test_deterministic_samplers_solve_one_equation(name):
    """Of the probability-flow ODE the linear denoiser's solution is known: x/√(γ·s² + 1-γ) stays the same."""
    levels = SCHEDULE.sampling_levels(400, 0.5)
    found = sample(name, levels, eta=0.0, noise=no_noise)
    x, level = start_sample(normal(0), levels[0]), levels[0]
    np.testing.assert_allclose(found, x * 0.5 / (level**2 * 0.25 + 1 - level**2) ** 0.5, atol=2e-2)


def test_methods_of_second_order_are_nearer_to_it_with_few_steps():
    levels = SCHEDULE.sampling_levels(12, 0.5)
    x, level = start_sample(normal(0), levels[0]), levels[0]
    exact = x * 0.5 / (level**2 * 0.25 + 1 - level**2) ** 0.5
    error = {name: np.abs(sample(name, levels, eta=0.0) - exact).mean() for name in ["ddim", *DETERMINISTIC]}
    assert error["heun"] < 0.5 * error["euler"]
    assert error["dpm_solver++"] < 0.5 * error["euler"]


def test_euler_is_ddim_without_noise():
    levels = SCHEDULE.sampling_levels(7, 0.8)
    np.testing.assert_allclose(sample("euler", levels), sample("ddim", levels, eta=0.0), atol=1e-5)


@pytest.mark.parametrize("name", ["ddim", *DETERMINISTIC])
@pytest.mark.parametrize("like", [np.asarray, torch.from_numpy])
def test_the_straight_path_is_solved_by_the_same_samplers(name, like):
    """x̂ = a·r + σε, a = 1 - σ/σ₀: of normal r of deviation s, the flow keeps x̂ over its deviation √(a²s²+σ²)."""
    path, s = StraightPath(SCHEDULE, 0.3), 0.5

    def denoise(x, level):
        a, sigma = float(path.signal(np.float64(level))), sigma_of(level)
        return a * s**2 / (a**2 * s**2 + sigma**2) * x / level

    x = start_sample(normal(0), SCHEDULE.sampling_levels(1, 0.3)[0])
    error = []
    for steps in (8, 32, 128):
        levels = SCHEDULE.sampling_levels(steps, 0.3, "sigma")
        found = SAMPLERS[name](denoise, like(x), levels, no_noise, **options(name, 0.0))
        error.append(np.abs(np.asarray(found) - s * normal(0)).max())
    assert error[2] < error[1] < error[0] < 0.4
    assert error[2] < 0.04, "more steps, one picture"


def test_a_step_of_euler_on_the_straight_path_by_hand():
    """x̂' = a'·r̂ + σ'ε̂ with ε̂ = (x̂ - a·r̂)/σ."""
    path, levels = StraightPath(SCHEDULE, 0.3), SCHEDULE.sampling_levels(4, 0.3, "sigma")[1:3]
    (a, ahead), (sigma, following) = (path.signal(np.array(levels)), map(sigma_of, levels))
    x, residual = normal(0), normal(1)
    found = SAMPLERS["euler"](lambda *_: residual, levels[0] * x, levels, no_noise) / levels[1]
    np.testing.assert_allclose(found, ahead * residual + following / sigma * (x - a * residual), atol=1e-5)


def test_ddpm_has_the_mean_and_the_variance_of_the_posterior():
    """Ho et al. 2020, Eq. 7: one step from level γ to γ' by hand."""
    levels = SCHEDULE.sampling_levels(50)[10:12]
    (gamma, following), x = (level**2 for level in levels), start_sample(normal(0), levels[0])
    alpha = gamma / following
    mean = (alpha**0.5 * (1 - following) * x + following**0.5 * (1 - alpha) * linear(x, levels[0])) / (
        1 - gamma
    )
    std = ((1 - following) / (1 - gamma) * (1 - alpha)) ** 0.5
    found = SAMPLERS["ddpm"](linear, x, levels, normal, eta=1.0)
    np.testing.assert_allclose(found, mean + std * normal(1), atol=1e-5)
    still = SAMPLERS["ddim"](linear, x, levels, no_noise, eta=0.0)
    assert np.abs(still - found).mean() > 1e-3, "control: without its noise it is another sampler"


def test_dpm_solver_takes_the_step_before_into_account():
    levels = [0.3, 0.5, 0.7, 1.0]
    sigmas = [(1 - level**2) ** 0.5 / level for level in levels]
    x = start_sample(normal(0), levels[0]) / levels[0]
    first = linear(levels[0] * x, levels[0])
    x = sigmas[1] / sigmas[0] * x + (1 - sigmas[1] / sigmas[0]) * first
    second = linear(levels[1] * x, levels[1])
    h = [np.log(a / b) for a, b in pairwise(sigmas[:3])]
    d = (1 + h[1] / (2 * h[0])) * second - h[1] / (2 * h[0]) * first
    x = sigmas[2] / sigmas[1] * x + (1 - sigmas[2] / sigmas[1]) * d
    np.testing.assert_allclose(sample("dpm_solver++", levels), linear(levels[2] * x, levels[2]), atol=1e-5)


def test_it_tells_of_each_step():
    told = []
    levels = SCHEDULE.sampling_levels(3)
    SAMPLERS["euler"](
        linear, start_sample(normal(0), levels[0]), levels, normal, on_step=lambda *a: told.append(a)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_ddpm_without_noise_is_refused():
    with pytest.raises(ConfigError, match="'ddpm' with eta 0 .*DDIM; choose eta 1"):
        sample("ddpm", SCHEDULE.sampling_levels(2), eta=0.0)
