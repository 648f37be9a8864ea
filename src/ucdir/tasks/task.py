"""What a restoration task is: a degradation for training, and the auxiliary scalars known when restoring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ucdir.config import Config
from ucdir.images import Photo


class Task(Protocol):
    """A task, made from an experiment's configuration; its `degrade` is what training learns to undo."""

    name: ClassVar[str]
    """The name in `TASKS` and on the command line."""
    scalars: ClassVar[tuple[str, ...]]
    """Auxiliary scalars: names in `model.scalars.SCALARS`."""

    def __init__(self, config: Config) -> None: ...

    def degrade(
        self, clean: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], Mapping[str, float]]:
        """Clean uint8 [H,W,3] -> degraded uint8 [H,W,3], and the scalars told to the model (NaN: unknown)."""

    @staticmethod
    def known_scalars(photo: Photo) -> Mapping[str, float]:
        """What a photograph's own file tells of its damage."""
