"""Training crops; photo, position, degradation, noise and noise level are functions of (seed, step, place in batch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ucdir.config import DiffusionConfig
from ucdir.data.sources import Source
from ucdir.diffusion.path import PATHS
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.images.pixels import to_signal


def scalars_of(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The auxiliary scalars of a batch of `Crops` by name, each [B]."""
    return {k.removeprefix("scalar."): v for k, v in batch.items() if k.startswith("scalar.")}


@dataclass(frozen=True)
class Crops(Dataset[dict[str, Tensor]]):
    """Item n is place n % batch_size of step n // batch_size, the same in every run and on every machine.

    Its generator is that of (seed, step, place). NumPy fills short keys with zeros, so objectives draw with a fourth
    number above 0: 1 is `energy_score.drawn`, 2 the views of LPIPS, 3 those of the discriminator.

    An item holds `clean` and `degraded` [3,side,side] in [-1,1], `noise` ε [3,side,side], `noise_level` √γ [], `step`
    and `place` (whole numbers) [], and one entry `scalar.<name>` [] for each auxiliary scalar (NaN: unknown).
    """

    source: Source
    side: int
    scalars: Sequence[str]
    diffusion: DiffusionConfig
    seed: int
    batch_size: int
    start_fraction: float = 1.0
    """Of sampling; the straight path begins there."""
    also: Callable[[tuple[int, int, int], torch.Size], dict[str, Tensor]] | None = None
    """What an objective wants beside these, from (seed, step, place) and the shape of the image: drawn here, in the
    workers, and not while the networks wait."""

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        step, place = divmod(item, self.batch_size)
        rng = np.random.default_rng((self.seed, step, place))
        clean, degraded, given = self.source.crop(rng, self.side)
        scalars = {name: given.get(name, float("nan")) for name in self.scalars}
        signal = torch.from_numpy(to_signal(clean)[0])
        return {
            "clean": signal,
            "degraded": torch.from_numpy(to_signal(degraded)[0]),
            "noise": torch.from_numpy(rng.standard_normal((3, *clean.shape[:2]), dtype=np.float32)),
            "noise_level": torch.tensor(self._noise_level(rng, place), dtype=torch.float32),
            "step": torch.tensor(step),
            "place": torch.tensor(place),
            **{f"scalar.{name}": torch.tensor(value, dtype=torch.float32) for name, value in scalars.items()},
            **(self.also((self.seed, step, place), signal.shape) if self.also else {}),
        }

    def _noise_level(self, rng: np.random.Generator, place: int) -> float:
        """√γ with γ ~ p(γ), uniform on the path (in t of (0,T]), spread evenly over the places of a batch."""
        d = self.diffusion
        focused = rng.random() < d.focus_probability
        fraction = (place + rng.random()) / self.batch_size
        path = PATHS[d.path](NoiseSchedule.of(d), self.start_fraction)
        return path.level(fraction, focus=d.focus if focused else 1.0)


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
