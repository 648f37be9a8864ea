"""Samplers (Sec. 4.2): diffusers' schedulers by name, on our noise schedule, started late if wanted.

A sampler knows no network. The pipeline asks it for the steps and their noise levels, and hands it the predicted noise.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)
from torch import Tensor

from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.errors import ConfigError

BAND = 512
"""Rows of an image that a scheduler is given at once, if it is one of `MEMORYLESS`."""

MEMORYLESS = (DDIMScheduler, DDPMScheduler)
"""Schedulers whose step looks at nothing but its arguments."""


def _ddim(schedule: NoiseSchedule) -> SchedulerMixin:
    """DDIM: with eta = 0 deterministic, with eta = 1 the ancestral sampler (DDPM) on the same steps."""
    return DDIMScheduler(**_settings(schedule), clip_sample=False, set_alpha_to_one=True)


def _dpm_solver(schedule: NoiseSchedule) -> SchedulerMixin:
    """DPM-Solver++ of second order, deterministic."""
    return DPMSolverMultistepScheduler(**_settings(schedule), algorithm_type="dpmsolver++", solver_order=2)


def _unipc(schedule: NoiseSchedule) -> SchedulerMixin:
    """UniPC of second order, deterministic."""
    return UniPCMultistepScheduler(**_settings(schedule), solver_order=2)


SAMPLERS: dict[str, Callable[[NoiseSchedule], SchedulerMixin]] = {
    "ddpm": _ddim,
    "ddim": _ddim,
    "dpm_solver++": _dpm_solver,
    "unipc": _unipc,
}
"""Schedulers by name. `ddpm` is DDIM with `sampling.eta` 1, whose steps are DDPM's, and which takes noise by place."""


def _settings(schedule: NoiseSchedule) -> dict[str, Any]:
    return {
        "num_train_timesteps": schedule.timesteps,
        "beta_start": schedule.beta_start,
        "beta_end": schedule.beta_end,
        "beta_schedule": "linear",
        "prediction_type": "epsilon",
        "timestep_spacing": "trailing",  # uniform, from the last step on: T, T - T/n, …
    }


def make_scheduler(name: str, schedule: NoiseSchedule) -> SchedulerMixin:
    """A scheduler over all T steps.

    Raises:
        ConfigError: no sampler has that name.
    """
    if name not in SAMPLERS:
        raise ConfigError(f"sampling.sampler {name!r} is unknown; choose one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name](schedule)


def late_start(scheduler: SchedulerMixin, start: float) -> SchedulerMixin:
    """The scheduler cut to its first `start`·T steps; see `NoiseSchedule.late_start`.

    Raises:
        ConfigError: its noise schedule is not linear, so that it cannot be cut.
    """
    config = scheduler.config
    if start == 1:
        return type(scheduler).from_config(config)
    if config.get("beta_schedule") != "linear" or config.get("trained_betas") is not None:
        raise ConfigError(
            f"start {start}: only a scheduler of linear β can start late, and this {type(scheduler).__name__} has "
            f"{config.get('beta_schedule')!r}; choose start 1, or make it with from_config(pipe.scheduler.config)."
        )
    full = NoiseSchedule(config["num_train_timesteps"], config["beta_start"], config["beta_end"])
    cut = full.late_start(start)
    return type(scheduler).from_config(
        config, num_train_timesteps=cut.timesteps, beta_start=cut.beta_start, beta_end=cut.beta_end
    )


def noise_levels(scheduler: SchedulerMixin) -> list[float]:
    """√γ at each of the scheduler's steps, after `set_timesteps`."""
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None:  # σ² = (1 - γ)/γ; exact also where a solver's steps lie between the trained ones
        return [(1 + float(s) ** 2) ** -0.5 for s in sigmas[: len(scheduler.timesteps)]]
    return [float(scheduler.alphas_cumprod[int(t)]) ** 0.5 for t in scheduler.timesteps]


def start_sample(scheduler: SchedulerMixin, noise: Tensor) -> Tensor:
    """The noisy residual that sampling starts from: residual 0 plus `noise`, scaled in place to the first level."""
    first = noise_levels(scheduler)[0]
    # schedulers of σ (Euler and its kin) hold samples divided by √γ
    spread = (1 - first**2) ** 0.5 / (1.0 if float(scheduler.init_noise_sigma) == 1.0 else first)
    return noise.mul_(spread)


def step(
    scheduler: SchedulerMixin,
    predicted_noise: Tensor,  # [B,3,H,W]
    timestep: Tensor,
    sample: Tensor,  # [B,3,H,W]; may be overwritten
    *,
    eta: float,  # share of the ancestral noise
    draw: Callable[[int, int], Tensor],  # the noise to add to rows from … to, [B,3,rows,W]
    generator: list[torch.Generator] | None,  # one an image, for schedulers that take noise in no other way
) -> Tensor:
    """One step of any scheduler, handing it what it knows of: eta, noise by place, or a generator."""
    known = inspect.signature(scheduler.step).parameters
    wanted: dict[str, Any] = {}
    if "eta" in known:
        wanted["eta"] = eta
    stochastic = eta > 0 if "eta" in known else str(scheduler.config.get("algorithm_type")).startswith("sde")
    if "generator" in known and "variance_noise" not in known:
        wanted["generator"] = generator

    def rows(top: int, bottom: int) -> Tensor:
        noise = {"variance_noise": draw(top, bottom)} if "variance_noise" in known and stochastic else {}
        part = slice(top, bottom)
        previous: Tensor = scheduler.step(
            predicted_noise[..., part, :],
            timestep,
            sample[..., part, :],
            **wanted,
            **noise,
            return_dict=False,
        )[0]
        return previous

    height = sample.shape[-2]
    if not isinstance(scheduler, MEMORYLESS):  # it remembers earlier steps: the image has to come whole
        return rows(0, height)
    # a step makes several copies of what it is given, so large images are given a band at a time
    for top in range(0, height, BAND):
        bottom = min(top + BAND, height)
        sample[..., top:bottom, :] = rows(top, bottom)
    return sample
