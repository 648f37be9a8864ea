"""What is compared: the damaged picture itself, our models, and finished pictures of any other method."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from ucdir.data.photos import rgb8
from ucdir.errors import DataError
from ucdir.evaluation.cases import Case, Pixels
from ucdir.images import find_images
from ucdir.pipeline import Pipeline

LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")


class Method(Protocol):
    """Gives a restored picture of each case."""

    @property
    def name(self) -> str:
        """What its row is called."""

    @property
    def identity(self) -> str:
        """What its pictures depend on beside the case: where it is the same, pictures need not be made again."""

    def restore(self, case: Case) -> Pixels:
        """uint8 [H,W,3] of the size of the truth."""


@dataclass(frozen=True)
class Degraded:
    """The damaged picture as it is."""

    name: str = "degraded"
    identity: str = "degraded"

    def restore(self, case: Case) -> Pixels:
        """See `Method`."""
        return _degraded(case)


@dataclass(frozen=True)
class Restorer:
    """One of our models; `start=0` is its initial prediction alone.

    Args:
        name: of the row.
        pipeline: from `restoration.load`.
        folder: where it was loaded from, for its identity.
        steps: evaluations of the diffusion model; by default what the model was made for.
        start: fraction of T that sampling starts from; by default what the model was made for.
        seed: of the noise.
        told: auxiliary scalars to tell in place of the true ones.
    """

    name: str
    pipeline: Pipeline = field(repr=False)
    folder: Path
    steps: int | None = None
    start: float | None = None
    seed: int = 0
    told: Mapping[str, float] | None = None

    @cached_property
    def identity(self) -> str:
        """The model's files and how it is used."""
        files = sorted(p for p in self.folder.rglob("*") if p.suffix in {".json", ".safetensors"})
        hashes = [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
        told = None if self.told is None else dict(sorted(self.told.items()))
        return json.dumps([hashes, self.steps, self.start, self.seed, told])

    def restore(self, case: Case) -> Pixels:
        """See `Method`."""
        known = case.scalars if self.told is None else self.told
        scalars = self.pipeline.understood(known)
        (images,) = self.pipeline(
            _degraded(case), self.steps, seed=self.seed, scalars=scalars, start=self.start, output_type="np",
            return_dict=False,
        )  # fmt: skip
        pixels: Pixels = np.rint(images[0] * 255).astype(np.uint8)  # as a file holds it
        return pixels


@dataclass(frozen=True)
class Finished:
    """Pictures that another program has made, one for each case: of the same name, or with `.restored` in it."""

    name: str
    folder: Path

    @property
    def identity(self) -> str:
        """Nothing: what they depend on is their pixels, which are looked at each time."""
        return "finished"

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """By name without suffix.

        Raises:
            DataError: there is no such folder, or it holds JPEG files.
        """
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: there is no such folder; name one of restored pictures.")
        for file in sorted(self.folder.rglob("*")):
            if file.suffix.lower() in LOSSY_SUFFIXES:
                raise DataError(
                    f"{file}: a restored picture saved as JPEG would be measured with JPEG's own damage; save it as "
                    "PNG."
                )
        return {
            file.relative_to(self.folder).with_suffix("").as_posix().removesuffix(".restored"): file
            for file in find_images(self.folder)
        }

    def restore(self, case: Case) -> Pixels:
        """See `Method`; raises DataError where there is none, or of another size."""
        name = Path(case.name).with_suffix("").as_posix()
        file = self.files.get(name)
        if file is None:
            raise DataError(f"{self.folder}: holds no picture called {name}, which {case.name} needs.")
        pixels = rgb8(file)
        if pixels.shape != case.truth.shape:
            raise DataError(
                f"{file}: is {pixels.shape[1]}x{pixels.shape[0]} and its truth {case.truth.shape[1]}x"
                f"{case.truth.shape[0]} pixels; measure pictures of one size."
            )
        return pixels


def _degraded(case: Case) -> Pixels:
    if case.degraded is None:
        raise DataError(f"{case.name}: has no damaged picture; name a task or pairs.")
    return case.degraded
