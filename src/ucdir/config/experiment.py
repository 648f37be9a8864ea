"""A configuration: the whole description of a model, its data, its training and its sampling.

It is read from YAML and checked in one go, with all problems in one message. Everything is frozen, and unknown keys
are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from ucdir.config.pipeline import PipelineConfig
from ucdir.config.presets import PRESETS, Preset, over
from ucdir.config.sections import DataConfig
from ucdir.degradations import BlurGenerator, JpegCompressionGenerator, LowLightGenerator
from ucdir.errors import ConfigError
from ucdir.section import problems
from ucdir.tasks import TASKS, Task


class Config(Preset):
    """One experiment.

    A file's key `preset` (`default` where there is none) names what its other keys are laid over; it is resolved here,
    and is no field.
    """

    task: str = "jpeg_restoration"
    """A name in `tasks.TASKS`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """All randomness is a function of it, the step and the place."""
    data: DataConfig
    jpeg: JpegCompressionGenerator = JpegCompressionGenerator()
    blur: BlurGenerator = BlurGenerator()
    low_light: LowLightGenerator = LowLightGenerator()

    def make_task(self) -> Task[Any]:
        """The task, its degradation set up as its section says."""
        kind = TASKS[self.task]
        return kind(getattr(self, kind.section))

    @property
    def pipeline(self) -> PipelineConfig:
        """How the trained model restores: as `sampling` says; the regression baseline in one step without noise."""
        sampling = self.sampling.model_dump()
        if self.training.objective == "regression":
            sampling |= {"sampler": "ddim", "steps": 1, "eta": 0.0, "noise_scale": 0.0}
        return PipelineConfig(
            task=self.task,
            **sampling,
            residual_range="unit" if self.model.architecture == "release" else "image",
            residual_scale=self.diffusion.residual_scale,
            timesteps=self.diffusion.timesteps,
            beta_start=self.diffusion.beta_start,
            beta_end=self.diffusion.beta_end,
        )

    @field_validator("task")
    @classmethod
    def _known_task(cls, name: str) -> str:
        if name not in TASKS:
            raise ValueError(f"there is no such task; choose one of {', '.join(TASKS)}")
        return name

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, values: Any) -> Any:
        """The keys of a file over those of its preset, with the scalars of its task."""
        if not isinstance(values, dict):
            return values
        own = dict(values)
        name = own.pop("preset", "default")
        if not isinstance(name, str) or name not in PRESETS:
            raise ValueError(f"preset {name!r:.80} is unknown; choose one of {', '.join(PRESETS)}")
        settings = PRESETS[name].model_dump(exclude_unset=True)
        released = settings.get("model", {}).get("architecture") == "release"
        task = own.get("task", cls.model_fields["task"].default)
        if isinstance(task, str) and task in TASKS and not released:
            settings = over(settings, {"model": {"diffusion_model": {"scalars": TASKS[task].scalars}}})
        return over(settings, own)


RENAMED = {
    "sampling.start": "sampling.start_fraction",
    "sampling.noise": "sampling.noise_scale",
    "model.diffusion_model.residual_deviation": "model.diffusion_model.sigma_data",
}
"""Keys of earlier versions, and what they are called now."""


def load_config(path: Path) -> Config:
    """Read a YAML configuration.

    Raises:
        ConfigError: naming the file and every problem in it.
    """
    from ucdir.config.yaml_file import read_yaml

    return parse_config(read_yaml(path), source=str(path))


def parse_config(values: object, source: str) -> Config:
    """Check the parsed contents of a configuration; `source` names them in the error.

    Raises:
        ConfigError: naming every problem.
    """
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise ConfigError(
            f"{source}: expected keys and values, found {found}; configs/ holds examples to start from."
        )
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {problems(error, RENAMED)}.") from None
