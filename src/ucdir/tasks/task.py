"""What a restoration task is: a degradation for training, and the auxiliary scalars known when restoring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ConfigError
from ucdir.images import Photo
from ucdir.section import Section

Generator = TypeVar("Generator", bound=Section)


class Example(NamedTuple):
    """Clean and degraded image, uint8 [H,W,3] each, and the auxiliary scalars (NaN or absent: unknown)."""

    clean: NDArray[np.uint8]
    degraded: NDArray[np.uint8]
    scalars: Mapping[str, float]


class Task(ABC, Generic[Generator]):
    """A task with the generator of its degradation, which is a section of the configuration."""

    name: ClassVar[str]
    """The name in `TASKS`, in configurations and on the command line."""
    help: ClassVar[str]
    """What it undoes, in a few words."""
    section: ClassVar[str]
    """The field of `config.Config` that holds the generator."""
    scalars: ClassVar[tuple[str, ...]]
    """Auxiliary scalars: names in `tasks.scalars.SCALARS`."""
    strength: ClassVar[str]
    """What the strength of a degradation is, in words, with its range."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    @classmethod
    @abstractmethod
    def of_strength(cls, strength: float | None) -> Self:
        """The task with a degradation of one strength (None: of any) whose scalars are always given.

        Raises:
            pydantic.ValidationError: the strength is out of range.
        """

    def margin(self, side: int) -> int:
        """Pixels around a crop of `side` pixels that its degradation reads, and that are cut off afterwards."""
        return 0

    def smallest_photo(self, side: int) -> int:
        """Shortest side of the photos that crops of `side` pixels are cut from."""
        return side

    @abstractmethod
    def degrade(self, clean: NDArray[np.uint8], rng: np.random.Generator) -> Example:
        """Clean uint8 [H,W,3] -> the example made of it, both images of one size, that of `clean` or a similar one."""

    def degrade_middle(self, clean: NDArray[np.uint8], rng: np.random.Generator, side: int) -> Example:
        """As `degrade`, where only side x side pixels in the middle are wanted; what is around may be missing."""
        return self.degrade(clean, rng)

    def of_frames(self, frames: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> Example:
        """Consecutive sharp frames of a film, uint8 [H,W,3] each and odd in number -> an example made of them.

        Raises:
            ConfigError: the task has no use for frames.
        """
        raise ConfigError(f"data.frames: {self.name} makes nothing of a film's frames; leave them out.")

    @staticmethod
    def amount(scalars: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32] | None:
        """How much of the restoration is applied, 0..1 for each image of a batch, where a call does not say; None: all.

        Args:
            scalars: that are known, by name, [B] each, NaN where unknown.
        """
        return None

    @staticmethod
    @abstractmethod
    def known_scalars(photo: Photo) -> Mapping[str, float]:
        """The scalars that are known from the photo's own file."""


def hide_some(scalars: Mapping[str, float], probability: float, rng: np.random.Generator) -> dict[str, float]:
    """The scalars, each replaced by NaN (unknown) with this probability, independently; one number of `rng` each."""
    given = rng.random(len(scalars)) >= probability
    return {
        name: value if known else float("nan")
        for (name, value), known in zip(scalars.items(), given, strict=True)
    }
