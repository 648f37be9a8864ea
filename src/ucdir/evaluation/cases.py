"""What is measured on: a truth, and the damaged picture that a method restores."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ucdir.data.pairs import find_pairs
from ucdir.data.photos import find_photos, rgb8, split
from ucdir.data.sources import middle
from ucdir.errors import ConfigError, DataError
from ucdir.tasks import Task, task_class, task_of_strength

Pixels = NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """One picture: its name, the truth, and, if a task is measured, the damaged picture and what is known of it."""

    name: str
    truth: Pixels = field(repr=False)
    degraded: Pixels | None = field(default=None, repr=False)
    scalars: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """The same for the same pixels and scalars."""
        parts = [self.truth.tobytes(), b"" if self.degraded is None else self.degraded.tobytes()]
        hashes = [hashlib.sha256(part).hexdigest() for part in parts]
        return json.dumps([hashes, self.truth.shape, sorted(self.scalars.items())])


@dataclass(frozen=True)
class Cases:
    """Pictures to measure on, read one at a time.

    Args:
        task: a name in `tasks.TASKS`; None where nothing is restored and only finished pictures are measured.
        clean: folder of clean pictures, damaged here by the task's degradation, each by its own seed.
        pairs: data set of real pairs, in place of `clean`; see `data.pairs.find_pairs`.
        strength: of the damage, in the task's unit; drawn anew for each picture by default.
        held_out: only the pictures (or pairs) that so large a `data.hold_out` sets aside in training, if that can use
            all of them.
        names: only the pictures of these names.
        limit: only the first so many.
        crop: only the middle of each picture, so many pixels a side.
    """

    task: str | None
    clean: Path | None = None
    pairs: Path | None = None
    strength: float | None = None
    held_out: int | None = None
    limit: int | None = None
    crop: int | None = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if (self.clean is None) == (self.pairs is None):
            raise ConfigError("evaluation: name either a folder of clean pictures or a data set of pairs.")
        if self.task is not None:
            task_class(self.task)
        if self.pairs is not None and self.strength is not None:
            raise ConfigError(f"strength {self.strength:g}: pairs are damaged already; leave it out.")

    @property
    def sources(self) -> Sequence[Source]:
        """The pictures, not yet read.

        Raises:
            ConfigError: the strength is out of range.
            DataError: there are none.
        """
        if self.pairs is not None:
            pairs = self._set_aside(find_pairs(self.pairs), "pairs")
            found: list[Source] = [
                PairSource(pair.name, pair.clean, pair.degraded, dict(pair.scalars), self.crop)
                for pair in pairs
            ]
        else:
            assert self.clean is not None  # noqa: S101 (one of both is named)
            files = self._set_aside(find_photos(self.clean), "photographs")
            if self.names is not None:
                files = [file for file in files if file.relative_to(self.clean).as_posix() in self.names]
            task = None if self.task is None else task_of_strength(self.task, self.strength)
            found = [
                CleanSource(file.relative_to(self.clean).as_posix(), file, task, number, self.crop)
                for number, file in enumerate(files)
            ]
        names = [Path(source.name).with_suffix("").as_posix() for source in found]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(
                f"{self.clean or self.pairs}: two pictures are called {twice[0]}; rename one of them."
            )
        return found[: self.limit]

    def _set_aside(self, things: Sequence[T], what: str) -> Sequence[T]:
        """Those of the pictures that training would not have seen; all, where that is not asked for."""
        return [things[i] for i in split(len(things), self.held_out, what)[1]] if self.held_out else things

    def __iter__(self) -> Iterator[Source]:
        return iter(self.sources)


@dataclass(frozen=True)
class CleanSource:
    """A clean picture that is damaged when it is read."""

    name: str
    file: Path
    task: Task[Any] | None
    number: int
    crop: int | None

    def read(self) -> Case:
        """The case; raises ImageError where the file cannot be read."""
        truth = _cropped(rgb8(self.file), self.crop)
        if self.task is None:
            return Case(self.name, truth)
        example = self.task.degrade(truth, np.random.default_rng(self.number))
        known = {name: value for name, value in example.scalars.items() if not math.isnan(value)}
        return Case(self.name, np.ascontiguousarray(example.clean), example.degraded, known)


@dataclass(frozen=True)
class PairSource:
    """A real pair."""

    name: str
    clean: Path
    degraded: Path
    scalars: Mapping[str, float]
    crop: int | None

    def read(self) -> Case:
        """The case; raises ImageError or DataError where the files cannot be read or are no pair."""
        truth, degraded = rgb8(self.clean, 1.0), rgb8(self.degraded, self.scalars.get("exposure_ratio"))
        if truth.shape != degraded.shape:
            raise DataError(
                f"{self.degraded} is {degraded.shape[1]}x{degraded.shape[0]} and {self.clean} is "
                f"{truth.shape[1]}x{truth.shape[0]}: no pair."
            )
        return Case(self.name, _cropped(truth, self.crop), _cropped(degraded, self.crop), self.scalars)


Source = CleanSource | PairSource


def _cropped(pixels: Pixels, side: int | None) -> Pixels:
    return pixels if side is None else middle(pixels, side)
