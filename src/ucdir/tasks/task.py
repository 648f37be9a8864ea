"""What a restoration task is: a degradation for training, and the auxiliary scalars known when restoring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ucdir.config import Config
from ucdir.data.sources import Example
from ucdir.images import Photo


class Task(Protocol):
    """A task, made from an experiment's configuration; its `degrade` is what training learns to undo."""

    name: ClassVar[str]
    """The name in `TASKS` and on the command line."""
    scalars: ClassVar[tuple[str, ...]]
    """Auxiliary scalars: names in `model.scalars.SCALARS`."""
    strength: ClassVar[str]
    """What the strength of a degradation is, in words."""
    margin: ClassVar[int]
    """Pixels around a crop that its degradation looks at, and that are cut off afterwards."""

    def __init__(self, config: Config) -> None: ...

    def degrade(self, clean: NDArray[np.uint8], rng: np.random.Generator) -> Example:
        """Clean uint8 [H,W,3] -> truth and degraded picture of that size, and the scalars told (NaN: unknown)."""

    @staticmethod
    def settings(strength: float | None) -> Mapping[str, object]:
        """The configuration of a degradation whose scalars are always told; None: of any strength."""

    @staticmethod
    def known_scalars(photo: Photo) -> Mapping[str, float]:
        """What a photograph's own file tells of its damage."""
