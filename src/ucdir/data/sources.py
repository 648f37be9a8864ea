"""Where training crops come from: clean photographs that the task degrades, real pairs, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ucdir.data.pairs import PairStore
from ucdir.data.photos import PhotoStore
from ucdir.tasks import Example

Pixels = NDArray[np.uint8]


class Degrade(Protocol):
    """A task's degradation: it draws its parameters, and tells the scalars that describe them."""

    def __call__(self, clean: Pixels, rng: np.random.Generator) -> Example:
        """Clean uint8 [H,W,3] -> the example made of it."""


class Source(Protocol):
    """Draws examples; a function of the generator it is given."""

    def draw(self, rng: np.random.Generator, side: int) -> Example:
        """A crop of side x side pixels for training."""

    def middle(self, index: int, rng: np.random.Generator, side: int) -> Example:
        """The middle of picture number `index`, at most side x side pixels, to look at."""


@dataclass(frozen=True)
class DegradedPhotos:
    """Clean photographs, degraded anew each time; with `margin` pixels around a crop that are then cut off."""

    photos: PhotoStore
    chosen: Sequence[int]
    degrade: Degrade
    margin: int
    flip: bool

    def draw(self, rng: np.random.Generator, side: int) -> Example:
        """See `Source`."""
        photo = self.photos[self.chosen[int(rng.integers(len(self.chosen)))]]
        (crop,) = _crops((photo,), rng, side + 2 * self.margin, flip=self.flip)
        return _without_margin(self.degrade(crop, rng), self.margin, side)

    def middle(self, index: int, rng: np.random.Generator, side: int) -> Example:
        """See `Source`."""
        photo = self.photos[index]
        wide = middle(photo, side + 2 * self.margin)
        return _without_margin(self.degrade(wide, rng), self.margin, side)


@dataclass(frozen=True)
class RealPairs:
    """Degraded photographs and the truth of each."""

    pairs: PairStore
    chosen: Sequence[int]
    flip: bool

    def draw(self, rng: np.random.Generator, side: int) -> Example:
        """See `Source`."""
        index = self.chosen[int(rng.integers(len(self.chosen)))]
        degraded, clean = _crops(self.pairs[index], rng, side, flip=self.flip)
        return Example(clean, degraded, self.pairs.scalars[index])

    def middle(self, index: int, rng: np.random.Generator, side: int) -> Example:
        """See `Source`."""
        degraded, clean = (middle(picture, side) for picture in self.pairs[index])
        return Example(clean, degraded, self.pairs.scalars[index])


@dataclass(frozen=True)
class Mixture:
    """Real pairs with probability `share`, else degraded photographs; only the pairs are shown."""

    pairs: RealPairs
    photos: DegradedPhotos
    share: float

    def draw(self, rng: np.random.Generator, side: int) -> Example:
        """See `Source`."""
        return (self.pairs if rng.random() < self.share else self.photos).draw(rng, side)

    def middle(self, index: int, rng: np.random.Generator, side: int) -> Example:
        """See `Source`."""
        return self.pairs.middle(index, rng, side)


def _crops(pictures: Sequence[Pixels], rng: np.random.Generator, side: int, *, flip: bool) -> list[Pixels]:
    """The same place of each picture, turned and mirrored alike; smaller than `side` where the picture is."""
    height, width = (min(side, size) for size in pictures[0].shape[:2])
    top = int(rng.integers(pictures[0].shape[0] - height + 1))
    left = int(rng.integers(pictures[0].shape[1] - width + 1))
    crops = [picture[top : top + height, left : left + width] for picture in pictures]
    if flip:
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        crops = [np.rot90(crop, turns) for crop in crops]
        crops = [crop[:, ::-1] for crop in crops] if mirrored else crops
    return [np.ascontiguousarray(crop) for crop in crops]


def middle(picture: Pixels, side: int) -> Pixels:
    """The middle of a picture, at most `side` pixels a side."""
    height, width = (min(side, size) for size in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def _without_margin(example: Example, margin: int, side: int) -> Example:
    """The middle of both pictures; all of the margin where there is one, less where the photograph ended."""
    if not margin:
        return example
    return Example(middle(example.clean, side), middle(example.degraded, side), example.scalars)
