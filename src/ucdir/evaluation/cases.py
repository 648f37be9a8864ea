"""What is measured on: a clean image, and its degraded version that a method restores."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ucdir.data.pair import Pair
from ucdir.data.pairs import find_pairs
from ucdir.data.photos import find_photos, held_out_split, rgb8
from ucdir.errors import ConfigError, DataError
from ucdir.images.pixels import middle
from ucdir.tasks import Task, task_class, task_of_strength

Pixels = NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """One image: its name, the clean pixels and, if a task is measured, the degraded ones and the known scalars."""

    name: str
    stem: str
    """Where its results lie below a method's folder, without suffix; see `stem_of`."""
    clean: Pixels = field(repr=False)
    degraded: Pixels | None = field(default=None, repr=False)
    scalars: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """A hash of the pixels and scalars."""
        parts = [self.clean.tobytes(), b"" if self.degraded is None else self.degraded.tobytes()]
        hashes = [hashlib.sha256(part).hexdigest() for part in parts]
        return json.dumps([hashes, self.clean.shape, sorted(self.scalars.items())])


@dataclass(frozen=True)
class Cases:
    """Images to measure on, read one at a time.

    Args:
        task: a name in `tasks.TASKS`; None if nothing is restored and only images restored elsewhere are measured.
        clean: folder of clean images, degraded here by the task's degradation, each by its own seed.
        pairs: data set of real pairs, in place of `clean`; see `data.pairs.find_pairs`.
        strength: of the degradation, in the task's unit; sampled for each image by default.
        held_out: only the images (or pairs) that training with this `data.hold_out` sets aside, if training can use
            all of them.
        names: only the images with these names.
        limit: number of images to measure, from the first on.
        crop: side in pixels of the centre that is measured.
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
            raise ConfigError("evaluation: name either a folder of clean images or a data set of pairs.")
        if self.task is not None:
            task_class(self.task)
        if self.pairs is not None and self.strength is not None:
            raise ConfigError(f"strength {self.strength:g}: pairs are degraded already; leave it out.")

    @property
    def sources(self) -> Sequence[Source]:
        """The images, not yet read.

        Raises:
            ConfigError: the strength is out of range.
            DataError: there are none.
        """
        if self.pairs is not None:
            pairs = self._set_aside(find_pairs(self.pairs), "pairs")
            found: list[Source] = [PairSource(pair, self.crop) for pair in pairs]
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
        stems = Counter(source.stem for source in found)
        twice = sorted(stem for stem, count in stems.items() if count > 1)
        if twice:
            raise DataError(
                f"{self.clean or self.pairs}: two images are called {twice[0]}; rename one of them."
            )
        return found[: self.limit]

    def _set_aside(self, things: Sequence[T], what: str) -> Sequence[T]:
        """The ones that training would not have seen; all of them if `held_out` is not given."""
        return (
            [things[i] for i in held_out_split(len(things), self.held_out, what)[1]]
            if self.held_out
            else things
        )

    def __iter__(self) -> Iterator[Source]:
        return iter(self.sources)


@dataclass(frozen=True)
class CleanSource:
    """A clean image that is degraded when it is read."""

    name: str
    file: Path
    task: Task[Any] | None
    number: int
    crop: int | None

    @property
    def stem(self) -> str:
        """See `stem_of`."""
        return stem_of(self.name, self.file)

    def read(self) -> Case:
        """The case; raises ImageError if the file cannot be read."""
        clean = _cropped(rgb8(self.file), self.crop)
        if self.task is None:
            return Case(self.name, self.stem, clean)
        example = self.task.degrade(clean, np.random.default_rng(self.number))
        known = {name: value for name, value in example.scalars.items() if not math.isnan(value)}
        return Case(self.name, self.stem, np.ascontiguousarray(example.clean), example.degraded, known)


@dataclass(frozen=True)
class PairSource:
    """A real pair."""

    pair: Pair
    crop: int | None

    @property
    def name(self) -> str:
        """The pair's name."""
        return self.pair.name

    @property
    def stem(self) -> str:
        """See `stem_of`."""
        return stem_of(self.pair.name, self.pair.degraded)

    def read(self) -> Case:
        """The case; raises ImageError or DataError if the files cannot be read or are no pair."""
        degraded, clean = (_cropped(pixels, self.crop) for pixels in self.pair.read())
        return Case(self.name, self.stem, clean, degraded, self.pair.scalars)


Source = CleanSource | PairSource


def stem_of(name: str, file: Path) -> str:
    """A relative path that leads out of no folder, by an image's name, of which only the file's own suffix is left out.

    Names may have dots (SID's 00001_00_0.04s), and those of a list of pairs may be absolute or begin with `..`.
    """
    path = Path(name.removesuffix(file.suffix) if name.endswith(file.name) else name)
    return "/".join(part for part in path.parts if part not in (path.anchor, ".."))


def _cropped(pixels: Pixels, side: int | None) -> Pixels:
    return pixels if side is None else middle(pixels, side)
