"""Settings of a model folder beside its networks: the task, the noise schedule, and how images are sampled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ucdir.limits import MAX_SAMPLING_STEPS, MAX_SCHEDULE_STEPS
from ucdir.section import Section

Beta = Annotated[float, Field(gt=0, lt=1)]
Betas = Annotated[tuple[Beta, ...], Field(min_length=1, max_length=MAX_SCHEDULE_STEPS)]
Timesteps = Annotated[int, Field(ge=1, le=1_000_000)]


class PipelineConfig(Section):
    """How a model restores an image; the defaults of a call."""

    task: str = "jpeg_restoration"
    """A name in `tasks.TASKS`."""
    sampler: str = "ddim"
    """A name in `diffusion.samplers.SAMPLERS`."""
    steps: Annotated[int, Field(ge=1, le=MAX_SAMPLING_STEPS)] = 50
    """Sampling steps."""
    start_fraction: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Fraction of T that sampling starts from; 0 gives the initial prediction alone."""
    spacing: Literal["time", "sigma"] = "time"
    """What the steps are uniform in: t, or σ = √(1-γ)/√γ."""
    eta: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the ancestral noise (DDPM and DDIM); 0 is deterministic after the first noise."""
    noise_scale: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Standard deviation of the noise that sampling starts from; the released network has a little above 1."""
    residual_scale: Annotated[float, Field(ge=1e-3, le=1e3)] = 1.0
    """The residual was multiplied by this before it was diffused."""
    residual_range: Literal["image", "unit"] = "image"
    """A name in `diffusion.residual.RESIDUAL_RANGES`: what the predicted residual is clipped to."""
    timesteps: Timesteps = 2000
    """T: steps of the noise schedule."""
    beta_start: Beta = 1e-6
    """β of the first step."""
    beta_end: Beta = 1e-2
    """β of the last step; between the two β is linear."""
    betas: Betas | None = None
    """β of every step, in place of the three fields above."""

    @model_validator(mode="after")
    def _rising(self) -> PipelineConfig:
        if self.betas is None and self.beta_start > self.beta_end:
            raise ValueError(f"beta_start {self.beta_start} is above beta_end {self.beta_end}")
        return self
