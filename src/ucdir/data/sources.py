"""Sources of training crops: clean photos that the task degrades, real pairs, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ucdir.data.documents import document
from ucdir.data.frames import FrameStore
from ucdir.data.pairs import PairStore
from ucdir.data.photos import PhotoStore
from ucdir.images.pixels import middle
from ucdir.tasks import Example

Pixels = NDArray[np.uint8]


class Degrade(Protocol):
    """A task's degradation with random parameters, which it returns as auxiliary scalars."""

    def __call__(self, clean: Pixels, rng: np.random.Generator, side: int) -> Example:
        """Clean uint8 [H,W,3] -> clean image, degraded image and scalars; side x side pixels in the middle are used."""


class Source(Protocol):
    """Makes examples; they are a function of the random number generator."""

    def crop(self, rng: np.random.Generator, side: int) -> Example:
        """A random crop of side x side pixels for training."""

    def middle(self, index: int, rng: np.random.Generator, side: int) -> Example:
        """The middle of image number `index`, at most side x side pixels, for sample images."""


@dataclass(frozen=True)
class DegradedPhotos:
    """Clean photos that are degraded for each crop, with a margin around it that is then cut off."""

    photos: PhotoStore
    chosen: Sequence[int]
    degrade: Degrade
    margin: Callable[[int], int]
    """Of a crop's side, in pixels."""
    flip: bool
    documents_share: float = 0.0
    """Share of the crops that are drawn instead: see `data.documents`."""
    candidates: int = 1
    """Places drawn for each crop, of which the one with the most detail is taken."""
    most_shrunk: float = 1.0
    """Photos are shrunk by a factor between 1 and this, log-uniform, as far as they are large enough."""

    def crop(self, rng: np.random.Generator, side: int) -> Example:
        """A random crop of a random photo, degraded."""
        wide = side + 2 * self.margin(side)
        factor, candidates = 1.0, self.candidates
        if self.documents_share and rng.random() < self.documents_share:
            photo, candidates = document(rng, wide), 1  # a page is as large as the crop
        else:
            photo = self.photos[self.chosen[int(rng.integers(len(self.chosen)))]]
            if self.most_shrunk > 1:
                most = min(self.most_shrunk, min(photo.shape[:2]) / wide)
                factor = max(1.0, most) ** rng.random()
        (crop,) = _crops((photo,), rng, round(wide * factor), flip=self.flip, candidates=candidates)
        if factor > 1:
            crop = _shrunk(crop, wide)
        return _without_margin(self.degrade(crop, rng, side), side)

    def middle(self, index: int, rng: np.random.Generator, side: int) -> Example:
        """The middle of a photo, degraded."""
        photo = self.photos[index]
        wide = middle(photo, side + 2 * self.margin(side))
        return _without_margin(self.degrade(wide, rng, side), side)


@dataclass(frozen=True)
class RealPairs:
    """Degraded photos and the clean image of each."""

    pairs: PairStore
    chosen: Sequence[int]
    flip: bool
    candidates: int = 1
    scale: tuple[float, float] = (1.0, 1.0)
    """Least and most that the difference of a pair is multiplied by; uniform."""

    def crop(self, rng: np.random.Generator, side: int) -> Example:
        """The same random crop of both images of a random pair."""
        index = self.chosen[int(rng.integers(len(self.chosen)))]
        degraded, clean = _crops(self.pairs[index], rng, side, flip=self.flip, candidates=self.candidates)
        if self.scale != (1, 1):
            scaled = clean + rng.uniform(*self.scale) * (degraded.astype(np.float32) - clean)
            degraded = np.rint(scaled.clip(0, 255)).astype(np.uint8)
        return Example(clean, degraded, self.pairs.scalars[index])

    def middle(self, index: int, rng: np.random.Generator, side: int) -> Example:
        """The middle of both images of a pair."""
        degraded, clean = (middle(image, side) for image in self.pairs[index])
        return Example(clean, degraded, self.pairs.scalars[index])


@dataclass(frozen=True)
class FilmFrames:
    """Consecutive sharp frames, of which the task makes one blurred image."""

    frames: FrameStore
    counts: tuple[int, int]
    """Fewest and most frames of an image; an odd number is drawn, so that one is in the middle."""
    degrade: Callable[[Sequence[Pixels], np.random.Generator], Example]
    flip: bool
    candidates: int = 1

    def crop(self, rng: np.random.Generator, side: int) -> Example:
        """The same random crop of some frames of a random run."""
        run = self.frames[int(rng.integers(len(self.frames)))]
        fewest, most = self.counts
        count = min(int(rng.integers(fewest, most + 1)) | 1, most, len(run)) - 1 | 1
        first = int(rng.integers(len(run) - count + 1))
        return self.degrade(
            _crops(run[first : first + count], rng, side, flip=self.flip, candidates=self.candidates), rng
        )

    def middle(self, index: int, rng: np.random.Generator, side: int) -> Example:
        """The middle of a whole run."""
        run = self.frames[index]
        return self.degrade([middle(frame, side) for frame in run[: len(run) - 1 | 1]], rng)


@dataclass(frozen=True)
class Mixture:
    """Crops of several sources, each in its share; sample images are the first one's alone."""

    parts: Sequence[tuple[float, Source]]
    """Share of the crops and source; the last one has what is left."""

    def crop(self, rng: np.random.Generator, side: int) -> Example:
        """A random crop of one of them."""
        left = rng.random()
        for share, source in self.parts[:-1]:
            if left < share:
                return source.crop(rng, side)
            left -= share
        return self.parts[-1][1].crop(rng, side)

    def middle(self, index: int, rng: np.random.Generator, side: int) -> Example:
        """The middle of an image of the first source."""
        return self.parts[0][1].middle(index, rng, side)


def _crops(
    images: Sequence[Pixels], rng: np.random.Generator, side: int, *, flip: bool, candidates: int = 1
) -> list[Pixels]:
    """The same place of each image, with the same rotation and reflection; smaller than `side` where the image is.

    Of so many places the one is taken where the last image, which is clean, has the most detail.
    """
    height, width = (min(side, size) for size in images[0].shape[:2])
    places = []
    for _ in range(candidates):
        top = int(rng.integers(images[0].shape[0] - height + 1))
        left = int(rng.integers(images[0].shape[1] - width + 1))
        places.append((slice(top, top + height), slice(left, left + width)))
    place = max(places, key=lambda p: _detail(images[-1][p])) if candidates > 1 else places[0]
    crops = [image[place] for image in images]
    if flip:
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        crops = [np.rot90(crop, turns) for crop in crops]
        crops = [crop[:, ::-1] for crop in crops] if mirrored else crops
    return [np.ascontiguousarray(crop) for crop in crops]


def _shrunk(image: Pixels, side: int) -> Pixels:
    """A square image at side x side pixels."""
    from PIL import Image

    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))


def _detail(image: Pixels) -> float:
    """Mean difference of neighbours, of every other green pixel."""
    green = image[::2, ::2, 1].astype(np.int16)
    return float(sum(np.abs(np.diff(green, axis=axis)).mean() for axis in (0, 1) if green.shape[axis] > 1))


def _without_margin(example: Example, side: int) -> Example:
    """The middle of the example; at the border of a photo the margin is narrower."""
    return Example(middle(example.clean, side), middle(example.degraded, side), example.scalars)
