"""The images of a training: decoded once, some of them held out, the others combined into one source of crops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ucdir.config import Config, DataConfig
from ucdir.data.frames import open_frames
from ucdir.data.pair import Pair
from ucdir.data.pairs import PairStore, find_pairs, open_pairs, pair_folders
from ucdir.data.photos import PhotoStore, check_outside, open_photos, without_held_out
from ucdir.data.sources import DegradedPhotos, FilmFrames, Mixture, RealPairs, Source
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
    parts: list[tuple[float, Source]] = []
    words: list[str] = []
    held_out: list[int] = []
    if pairs is not None:
        real, held_out = pairs
        parts.append((data.pairs_share if data.photos else 1 - data.frames_share, real))
        words.append(f"{len(real.chosen)} pairs")
    if data.photos is not None:
        photos = _photos(config, output)
        if pairs is None:
            chosen, held_out = photos.held_out_split(_hold_out(config))
        else:
            chosen = without_held_out(photos.names, data.hold_out_names, "photographs")
        share = 1 - data.pairs_share * (pairs is not None) - data.frames_share * (data.frames is not None)
        degraded = DegradedPhotos(
            photos,
            chosen,
            task.degrade_middle,
            task.margin,
            data.flip,
            documents_share=data.documents_share,
            candidates=data.candidates,
            most_shrunk=data.most_shrunk,
        )
        parts.append((share, degraded))
        words.append(f"{len(chosen)} photos")
    if data.frames is not None:
        frames = _frames(config, task, data.cache or output)
        parts.append((data.frames_share, frames))
        words.append(f"{len(frames.frames)} runs of frames")
    source = parts[0][1] if len(parts) == 1 else Mixture(parts)
    return source, " and ".join(words), held_out


def held_out_photos(config: Config, output: Path) -> list[str]:
    """The names of the photos that the training run in `output` has held out."""
    photos = _photos(config, output)
    return [photos.names[i] for i in photos.held_out_split(_hold_out(config))[1]]


def _hold_out(config: Config) -> int | tuple[str, ...]:
    return config.data.hold_out_names or config.data.hold_out


def _photos(config: Config, output: Path) -> PhotoStore:
    assert config.data.photos is not None  # noqa: S101 (for the type checker)
    return open_photos(
        config.data.photos,
        (config.data.cache or output) / "photos",
        smallest_side=config.make_task().smallest_photo(config.data.crop),
    )


def pairs_of(data: DataConfig) -> list[Pair]:
    """The pairs that a configuration names, not yet decoded; raises DataError if there are none."""
    if data.pairs is not None:
        return find_pairs(data.pairs, data.layout)
    assert data.degraded is not None and data.clean is not None  # noqa: S101, PT018 (they go together)
    return pair_folders(data.degraded, data.clean)


def _pairs(config: Config, cache: Path) -> tuple[RealPairs, list[int]] | None:
    data = config.data
    if not data.has_pairs:
        return None
    store: PairStore = open_pairs(pairs_of(data), cache / "pairs", smallest_side=data.crop)
    chosen, held_out = store.held_out_split(_hold_out(config))
    return RealPairs(store, chosen, data.flip, data.candidates, data.pairs_scale), held_out


def _frames(config: Config, task: Task[Any], cache: Path) -> FilmFrames:
    data, counts = config.data, config.blur.frames
    assert data.frames is not None  # noqa: S101 (for the type checker)
    store = open_frames(data.frames, cache / "frames", smallest_side=data.crop, fewest=counts[0] | 1)
    store = store.without(data.frames, data.hold_out_names)
    return FilmFrames(store, counts, task.of_frames, data.flip, data.candidates)
