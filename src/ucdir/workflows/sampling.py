"""How an image is restored: by which model, told what, and in how many samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ConfigError
from ucdir.images import Photo
from ucdir.images.pixels import Signal
from ucdir.limits import MAX_SAMPLES
from ucdir.pipeline import OnStep, RestorationPipeline, is_whole
from ucdir.tasks import TASKS, JpegRestoration
from ucdir.tasks.scalars import check_mapping
from ucdir.workflows.choice import choose_task, with_jpeg_quality
from ucdir.workflows.consistent import check_consistent
from ucdir.workflows.streamed import mean_and_std

Models = RestorationPipeline | Callable[[str], RestorationPipeline]
"""A pipeline, or a function that loads the one of a pretrained model's name."""


DIVERSITY_OF_MEAN = 1.0
"""Of samples that are averaged: they are to differ where and as much as they may be wrong."""
DIVERSITY_OF_SEVERAL = 0.5
"""Of samples that are looked at one by one: the most that the card of `jpeg_restoration` found as natural as the
default (Fréchet distance 3.51 and 3.57); at 1 (5.69) they have coloured specks, which only a mean is free of."""


class SamplingOptions(TypedDict, total=False):
    """Arguments that are passed on to `RestorationPipeline.__call__`, which documents them."""

    steps: int | None
    start_fraction: float | None
    eta: float | None
    fidelity: float
    amount: float | None
    patch_size: int | None
    max_memory: int | str | None


@dataclass(frozen=True)
class Chosen:
    """What an image is restored by."""

    pipeline: RestorationPipeline
    scalars: dict[str, float]
    steps: int

    @property
    def task(self) -> str:
        """Name of the model's task."""
        return self.pipeline.config.task


@dataclass(frozen=True)
class Result(Chosen):
    """The restored image: the mean of its samples, and how much they differ."""

    mean: Signal  # [B,3,H,W]
    std: NDArray[np.float32] | None  # [H,W], of several samples of one image


@dataclass(frozen=True)
class Sampling:
    """The arguments of `restore` that apply to every kind of image."""

    task: str
    models: Models
    scalars: Mapping[str, float]
    seed: int
    samples: int
    consistent: bool | None
    on_step: OnStep | None
    options: SamplingOptions
    found: Mapping[str, float] = field(default_factory=dict)
    """Scalars that an inspection found."""
    reason: str | None = None
    """For the task that was chosen."""
    left_alone: bool = False
    """Whether nothing is wrong with the photo."""
    one_of_several: bool = False
    """Whether other samples of the image are written, too."""

    def __post_init__(self) -> None:
        if not is_whole(self.samples) or not 1 <= self.samples <= MAX_SAMPLES:
            raise ConfigError(f"samples {self.samples!r:.80} is not a whole number from 1 to {MAX_SAMPLES}.")
        if not is_whole(self.seed) or not 0 <= self.seed < 2**63 - self.samples:
            raise ConfigError(f"seed {self.seed!r:.80} is not a whole number from 0 to 2^63 - 1 - samples.")
        if not isinstance(self.task, str):
            raise ConfigError(f"task {self.task!r:.80} is not a name of one.")
        check_mapping(self.scalars)

    @property
    def is_of_jpeg(self) -> bool:
        """Whether photos of high quality get JPEG restoration too: they do not choose it by themselves."""
        if isinstance(self.models, RestorationPipeline):
            return self.models.config.task == JpegRestoration.name
        return self.task == JpegRestoration.name or "jpeg_quality" in self.scalars

    @property
    def is_open(self) -> bool:
        """Whether the task is still to be chosen."""
        return self.task == "auto" and not isinstance(self.models, RestorationPipeline)

    def of(self, number: int) -> Sampling:
        """For one image of a batch."""
        own = {
            name: value[number] if isinstance(value, (list, tuple, np.ndarray)) else value
            for name, value in self.scalars.items()
        }
        return replace(self, scalars=own)

    def settled(self, photo: Photo, name: str) -> tuple[Sampling, Photo]:
        """With the task that is chosen for a photo, and the photo with the JPEG quality that its pixels show."""
        if not self.is_open:
            task = self.models.config.task if isinstance(self.models, RestorationPipeline) else self.task
            return self, with_jpeg_quality(photo, name) if task == JpegRestoration.name else photo
        choice = choose_task(photo, self.scalars, consistent=bool(self.consistent))
        if choice.task == JpegRestoration.name:
            photo = with_jpeg_quality(photo, name, choice.found)
        if choice.task is None:
            return replace(self, left_alone=True, reason=choice.reason), photo
        return replace(self, task=choice.task, found=choice.scalars, reason=choice.reason), photo

    def chosen(self, photo: Photo | None, name: str) -> Chosen:
        """The model for an image, and what is known of its degradation; `photo` is what a file says."""
        pipeline = self.models
        if not isinstance(pipeline, RestorationPipeline):
            pipeline = pipeline(self.task)  # the pretrained model of a task has its name
        task = pipeline.config.task
        check_task(self.task, task)
        if self.consistent:
            check_consistent(photo, task, name)
        of_file = {} if photo is None else TASKS[task].known_scalars(photo)
        found = {**self._dials, **of_file, **self.found}
        scalars = {n: v for n, v in found.items() if n in pipeline.engine.scalars} | dict(self.scalars)
        steps = self.options.get("steps")
        return Chosen(pipeline, scalars, pipeline.config.steps if steps is None else steps)

    def __call__(self, degraded: Signal, photo: Photo | None = None, name: str = "image") -> Result:
        """The mean of the samples."""
        chosen = self.chosen(photo, name)
        samples = (self._sample(n, chosen.pipeline, degraded, chosen.scalars) for n in range(self.samples))
        mean, std = mean_and_std(samples)
        return Result(chosen.pipeline, chosen.scalars, chosen.steps, mean, std)

    @property
    def _dials(self) -> dict[str, float]:
        """What is told to models that take it, unless it is given: several samples are to differ."""
        if self.samples > 1:
            return {"diversity": DIVERSITY_OF_MEAN}
        return {"diversity": DIVERSITY_OF_SEVERAL} if self.one_of_several else {}

    def _sample(
        self, number: int, pipeline: RestorationPipeline, degraded: Signal, scalars: Mapping[str, float]
    ) -> Signal:
        report = None if self.on_step is None else partial(_report, self.on_step, number, self.samples)
        return pipeline.restore_signal(
            degraded, seed=self.seed + number, scalars=scalars, on_step=report, **self.options
        )


def _report(on_step: OnStep, sample: int, samples: int, done: int, steps: int) -> None:
    on_step(sample * steps + done, samples * steps)


def check_task(task: str, model_task: str) -> None:
    """Refuse a model that was made for another task than the one asked for.

    Raises:
        ConfigError: it was.
    """
    if task not in ("auto", model_task):
        raise ConfigError(
            f"task {task}: the model was made for {model_task}; leave out the task, or choose another model."
        )
