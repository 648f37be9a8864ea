"""Samplers: steps and levels are those of the schedule, and with a perfect denoiser each finds the residual."""

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
)

from ucdir.diffusion import samplers
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.errors import ConfigError

SCHEDULE = NoiseSchedule(2000, 1e-6, 1e-2)


def no_noise(top, bottom):
    raise AssertionError("a deterministic sampler asked for noise")


def test_fifty_steps_are_uniform_over_all_of_t():
    scheduler = samplers.make_scheduler("ddpm", SCHEDULE)
    scheduler.set_timesteps(50)
    # diffusers counts from 0: its step t is our step t + 1
    assert scheduler.timesteps.tolist() == list(range(1999, 0, -40))
    np.testing.assert_allclose(samplers.noise_levels(scheduler), SCHEDULE.levels()[2000:0:-40], rtol=1e-4)


@pytest.mark.parametrize("name", samplers.SAMPLERS)
@pytest.mark.parametrize(("start", "steps"), [(1.0, 50), (0.4, 4), (0.4, 1), (0.25, 10)])
def test_levels_are_those_of_the_whole_schedule(name, start, steps):
    scheduler = samplers.late_start(samplers.make_scheduler(name, SCHEDULE), start)
    scheduler.set_timesteps(steps)
    expected = [SCHEDULE.continuous_level(start * (1 - i / steps)) for i in range(steps)]
    np.testing.assert_allclose(samplers.noise_levels(scheduler), expected, rtol=2e-3)


def test_starting_at_the_end_changes_nothing():
    scheduler = samplers.make_scheduler("unipc", SCHEDULE)
    assert dict(samplers.late_start(scheduler, 1.0).config) == dict(scheduler.config)


def perfect_sample(scheduler, residual, steps, eta=0.0):
    """Sampling with a denoiser that knows the residual."""
    scheduler.set_timesteps(steps)
    levels = samplers.noise_levels(scheduler)
    generator = torch.Generator().manual_seed(0)
    sample = samplers.start_sample(scheduler, torch.randn(residual.shape, generator=generator))
    for i, t in enumerate(scheduler.timesteps):
        noisy = scheduler.scale_model_input(sample, t)
        noise = (noisy - levels[i] * residual) / (1 - levels[i] ** 2) ** 0.5
        sample = samplers.step(
            scheduler, noise, t, sample, eta=eta, generator=generator,
            draw=lambda top, bottom: torch.randn(1, 3, bottom - top, 5, generator=generator),
        )  # fmt: skip
    return sample


@pytest.mark.parametrize("name", samplers.SAMPLERS)
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("start", [1.0, 0.4])
def test_with_a_perfect_denoiser_every_sampler_finds_the_residual(name, eta, start):
    residual = torch.linspace(-1, 1, 60).reshape(1, 3, 4, 5)
    scheduler = samplers.late_start(samplers.make_scheduler(name, SCHEDULE), start)
    assert torch.allclose(perfect_sample(scheduler, residual, 8, eta), residual, atol=1e-3)


@pytest.mark.parametrize(
    "kind", [DPMSolverMultistepScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler, DDPMScheduler]
)
def test_other_schedulers_of_diffusers_take_over_the_settings(kind):
    residual = torch.linspace(-1, 1, 60).reshape(1, 3, 4, 5)
    other = kind.from_config(samplers.make_scheduler("ddim", SCHEDULE).config)
    found = perfect_sample(samplers.late_start(other, 0.4), residual, 8)
    assert torch.allclose(found, residual, atol=2e-3)


def test_ddpm_is_the_ancestral_sampler():
    """DDIM with eta 1 has the mean and the deviation of diffusers' own DDPM step."""
    ours = samplers.make_scheduler("ddpm", SCHEDULE)
    theirs = DDPMScheduler.from_config(ours.config, clip_sample=False, variance_type="fixed_small")
    generator = torch.Generator().manual_seed(0)
    sample, noise = torch.randn(2, 1, 3, 32, 32, generator=generator)
    added = torch.randn(sample.shape, generator=torch.Generator().manual_seed(7))
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(50)
    for t in (1999, 999, 39):
        a = samplers.step(
            ours, noise, torch.tensor(t), sample.clone(), eta=1.0, draw=lambda *_: added, generator=generator
        )
        b = theirs.step(noise, t, sample, generator=torch.Generator().manual_seed(7)).prev_sample
        assert torch.allclose(a, b, atol=2e-4), t
    still = samplers.step(
        ours, noise, torch.tensor(999), sample.clone(), eta=0.0, draw=no_noise, generator=generator
    )
    assert not torch.allclose(still, samplers.step(
        ours, noise, torch.tensor(999), sample.clone(), eta=1.0, draw=lambda *_: added, generator=generator
    ), atol=1e-3), "control: without its noise it is another sampler"  # fmt: skip


def test_bands_of_rows_change_nothing(monkeypatch):
    residual = torch.linspace(-1, 1, 3 * 40 * 5).reshape(1, 3, 40, 5)
    scheduler = samplers.make_scheduler("ddim", SCHEDULE)
    whole = perfect_sample(scheduler, residual, 4)
    monkeypatch.setattr(samplers, "BAND", 7)
    assert torch.equal(perfect_sample(scheduler, residual, 4), whole)


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="'plms' is unknown; choose one of ddpm, ddim"):
        samplers.make_scheduler("plms", SCHEDULE)
