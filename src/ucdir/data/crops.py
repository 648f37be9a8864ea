"""Training crops: which photo, where, how degraded, with which noise: functions of (seed, step, place)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ucdir.config import DataConfig, DiffusionConfig
from ucdir.data.photos import PhotoStore
from ucdir.diffusion.noise_schedule import NoiseSchedule


class Degrade(Protocol):
    """A task's degradation: it draws its parameters, and tells the scalars that describe them."""

    def __call__(
        self, clean: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], Mapping[str, float]]:
        """Clean uint8 [H,W,3] -> degraded uint8 [H,W,3], and the auxiliary scalars (NaN: unknown)."""


def to_unit(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 [H,W,3] -> float32 [3,H,W] in [-1,1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(127.5).sub_(1)


@dataclass(frozen=True)
class Crops(Dataset[dict[str, Tensor]]):
    """Item n is place n % batch_size of step n // batch_size, the same in every run and on every machine.

    An item holds `clean` and `degraded` [3,h,w] in [-1,1], `noise` ε [3,h,w], `noise_level` √γ [], `step` n
    (whole number) [], and one entry `scalar.<name>` [] for each auxiliary scalar.
    """

    photos: PhotoStore
    chosen: Sequence[int]
    degrade: Degrade
    data: DataConfig
    diffusion: DiffusionConfig
    seed: int
    batch_size: int

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        step, place = divmod(item, self.batch_size)
        rng = np.random.default_rng((self.seed, step, place))
        clean = self._crop(rng)
        degraded, scalars = self.degrade(clean, rng)
        return {
            "clean": to_unit(clean),
            "degraded": to_unit(degraded),
            "noise": torch.from_numpy(rng.standard_normal((3, *clean.shape[:2]), dtype=np.float32)),
            "noise_level": torch.tensor(self._noise_level(rng, place), dtype=torch.float32),
            "step": torch.tensor(step),
            **{f"scalar.{name}": torch.tensor(value, dtype=torch.float32) for name, value in scalars.items()},
        }

    def _crop(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        photo = self.photos[self.chosen[int(rng.integers(len(self.chosen)))]]
        side = self.data.crop
        top, left = (int(rng.integers(size - side + 1)) for size in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        if self.data.flip:
            crop = np.rot90(crop, int(rng.integers(4)))
            crop = crop[:, ::-1] if rng.integers(2) else crop
        return np.ascontiguousarray(crop)

    def _noise_level(self, rng: np.random.Generator, place: int) -> float:
        """√γ with γ ~ p(γ): t uniform in (0,T], spread evenly over the places of a batch."""
        d = self.diffusion
        focused = rng.random() < d.focus_probability
        fraction = (place + rng.random()) / self.batch_size
        return NoiseSchedule.of(d).continuous_level(fraction * d.focus if focused else fraction)


@dataclass(frozen=True)
class Batches(Sampler[list[int]]):
    """The items of each remaining step that belong to one process."""

    first_step: int
    last_step: int
    batch_size: int
    process: int
    processes: int

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size // self.processes
        for step in range(self.first_step, self.last_step):
            start = step * self.batch_size + self.process * share
            yield list(range(start, start + share))

    def __len__(self) -> int:
        return max(0, self.last_step - self.first_step)
