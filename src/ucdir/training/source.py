"""The images of a training: decoded once, some of them held out, the others combined into one source of crops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ucdir.config import Config
from ucdir.data.pairs import PairStore, find_pairs, open_pairs, pair_folders
from ucdir.data.photos import PhotoStore, check_outside, open_photos
from ucdir.data.sources import DegradedPhotos, Mixture, RealPairs, Source
from ucdir.errors import OutputError
from ucdir.tasks import Task


def open_source(config: Config, task: Task[Any], output: Path) -> tuple[Source, str, list[int]]:
    """Open the images, which are decoded into the output folder the first time.

    Returns:
        the source of crops, the number of its images in words, and the indices of the held-out images, for
        `Source.middle`.

    Raises:
        ConfigError: the output folder lies among the images.
        DataError: there is nothing to train on.
        OutputError: the output folder cannot be written.
    """
    data = config.data
    check_outside(output, data.folders, "trained on")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made ({error.strerror}); name another folder.") from None
    pairs = _pairs(config, data.cache or output)
    if data.photos is None:
        assert pairs is not None  # noqa: S101 (a configuration names at least one of them)
        return pairs
    photos = _photos(config, output)
    chosen, held_out = photos.held_out_split(0 if pairs else data.hold_out)
    degraded = DegradedPhotos(photos, chosen, task.degrade, task.margin, data.flip, data.documents_share)
    if pairs is None:
        return degraded, f"{len(chosen)} photos", held_out
    source, words, held_out = pairs
    return Mixture(source, degraded, data.pairs_share), f"{words} and {len(chosen)} photos", held_out


def held_out_photos(config: Config, output: Path) -> list[str]:
    """The names of the photos that the training run in `output` has held out."""
    photos = _photos(config, output)
    return [photos.names[i] for i in photos.held_out_split(config.data.hold_out)[1]]


def _photos(config: Config, output: Path) -> PhotoStore:
    assert config.data.photos is not None  # noqa: S101 (for the type checker)
    return open_photos(
        config.data.photos,
        (config.data.cache or output) / "photos",
        smallest_side=config.make_task().smallest_photo(config.data.crop),
    )


def _pairs(config: Config, cache: Path) -> tuple[RealPairs, str, list[int]] | None:
    data = config.data
    if not data.has_pairs:
        return None
    if data.pairs is not None:
        found = find_pairs(data.pairs, data.layout)
    else:
        assert data.degraded is not None and data.clean is not None  # noqa: S101, PT018 (they go together)
        found = pair_folders(data.degraded, data.clean)
    store: PairStore = open_pairs(found, cache / "pairs", smallest_side=data.crop)
    chosen, held_out = store.held_out_split(data.hold_out)
    return RealPairs(store, chosen, data.flip), f"{len(chosen)} pairs", held_out
