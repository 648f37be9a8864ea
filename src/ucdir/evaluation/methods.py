"""What is compared: the degraded image itself, our models, and images that another program has restored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ucdir.data.photos import rgb8
from ucdir.errors import DataError
from ucdir.evaluation.cases import Case, Pixels
from ucdir.images import find_images
from ucdir.model.pretrained import model_digest
from ucdir.pipeline import RestorationPipeline

LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")


class Method(Protocol):
    """Restores the image of a case."""

    @property
    def name(self) -> str:
        """The name of its row."""

    @property
    def identity(self) -> str:
        """What its images depend on beside the case: stored images of the same identity are used again."""

    def restore(self, case: Case) -> Pixels:
        """uint8 [H,W,3] of the clean image's size."""


@dataclass(frozen=True)
class Degraded:
    """The degraded image as it is."""

    name: str = "degraded"
    identity: str = "degraded"

    def restore(self, case: Case) -> Pixels:
        """The degraded image, unchanged; raises DataError if the case has none."""
        return _degraded(case)


@dataclass(frozen=True)
class Restorer:
    """One of our models; with `start_fraction=0` the initial prediction alone.

    Args:
        name: of the row.
        pipeline: from `pipeline.load`.
        folder: where it was loaded from; its files are part of the identity.
        steps: sampling steps, each one forward pass of the diffusion model; the model's own number by default.
        start_fraction: fraction of T that sampling starts from; the model's own by default.
        seed: of the noise.
        given: auxiliary scalars that the model is given in place of the case's own.
    """

    name: str
    pipeline: RestorationPipeline = field(repr=False)
    folder: Path
    steps: int | None = None
    start_fraction: float | None = None
    seed: int = 0
    given: Mapping[str, float] | None = None

    @cached_property
    def identity(self) -> str:
        """The model's files and how it is used."""
        given = None if self.given is None else dict(sorted(self.given.items()))
        return json.dumps([model_digest(self.folder), self.steps, self.start_fraction, self.seed, given])

    def restore(self, case: Case) -> Pixels:
        """The model's output, uint8 [H,W,3]; scalars of the case that the model does not take are dropped."""
        known = {n: value for n, value in case.scalars.items() if n in self.pipeline.engine.scalars}
        restored: Pixels = self.pipeline(
            _degraded(case), steps=self.steps, seed=self.seed, start_fraction=self.start_fraction,
            amount=1 if self.start_fraction == 0 else None,
            scalars=known if self.given is None else self.given,
        )  # fmt: skip
        return restored


@dataclass(frozen=True)
class Precomputed:
    """Images restored by another program: for each case `NAME` or `NAME.restored`, with any suffix that is lossless."""

    name: str
    folder: Path

    @property
    def identity(self) -> str:
        """The same for all: the images' own pixels are compared instead."""
        return "finished"

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """By name without suffix.

        Raises:
            DataError: there is no such folder, or it holds JPEG files or two files for one image.
        """
        found: dict[str, Path] = {}
        for file in find_images(self.folder, results=True):
            if file.suffix.lower() in LOSSY_SUFFIXES:
                raise DataError(
                    f"{file}: a restored image saved as JPEG would be measured with JPEG's own artefacts; save it "
                    "as PNG."
                )
            stem = file.relative_to(self.folder).with_suffix("").as_posix().removesuffix(".restored")
            other = found.setdefault(stem, file)
            if other is not file:
                raise DataError(
                    f"{other} and {file.name} are both for the image {stem}: take one of them away."
                )
        return found

    def restore(self, case: Case) -> Pixels:
        """The image with the case's name, uint8 [H,W,3]; raises DataError if there is none, or one of another size."""
        file = self.files.get(case.stem)
        if file is None:
            raise DataError(
                f"{self.folder}: has no image called {case.stem}, which is needed for {case.name}."
            )
        pixels = rgb8(file)
        if pixels.shape != case.clean.shape:
            raise DataError(
                f"{file}: is {pixels.shape[1]}x{pixels.shape[0]} and the clean image {case.clean.shape[1]}x"
                f"{case.clean.shape[0]} pixels; measure images of one size."
            )
        return pixels


def _degraded(case: Case) -> Pixels:
    if case.degraded is None:
        raise DataError(f"{case.name}: has no degraded image; name a task or pairs.")
    return case.degraded
