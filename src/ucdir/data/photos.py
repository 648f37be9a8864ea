"""Clean photographs, decoded once into one file that crops are read from.

Decoding a photograph takes a hundred times longer than cutting a crop out of it, so the pixels of a whole
folder are kept as plain bytes in a cache file, which is mapped into memory and shared by all workers.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import DataError, ImageError, OutputError

logger = logging.getLogger(__name__)

CACHE_NAME = re.compile(r"[0-9a-f]{16}\.(bin|json)(\.part)?|[0-9a-f]{16}\.\d+\.(part|index)")
"""Names of the files in a cache."""


@dataclass(frozen=True)
class PhotoStore:
    """Decoded photographs: `store[i]` is photo i, uint8 [H,W,3], mapped from disk."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    offsets: tuple[int, ...]
    file: Path

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """All photographs one after another; each process maps the file by itself."""
        return np.memmap(self.file, dtype=np.uint8, mode="r")

    def __reduce__(self) -> tuple[type[PhotoStore], tuple[object, ...]]:
        return PhotoStore, (self.names, self.shapes, self.offsets, self.file)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        height, width = self.shapes[index]
        start = self.offsets[index]
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)

    def split(self, hold_out: int) -> tuple[list[int], list[int]]:
        """Indices to train on and indices set aside, the latter spread evenly over the photographs.

        Raises:
            DataError: nothing would be left to train on.
        """
        if hold_out >= len(self):
            raise DataError(
                f"data.hold_out sets {hold_out} photographs aside, but there are only {len(self)}."
            )
        held = {(2 * i + 1) * len(self) // (2 * hold_out) for i in range(hold_out)}
        return [i for i in range(len(self)) if i not in held], sorted(held)


def find_photos(folder: Path) -> list[Path]:
    """All image files below `folder`, in the order of their names.

    Raises:
        DataError: the folder is missing or holds no image.
    """
    from ucdir.images import READABLE_SUFFIXES

    if not folder.is_dir():
        raise DataError(
            f"{folder}: there is no such folder; data.photos must name a folder of clean photographs."
        )
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in READABLE_SUFFIXES and p.is_file())
    if not found:
        raise DataError(f"{folder}: holds no image ({', '.join(sorted(READABLE_SUFFIXES))}).")
    return found


def open_photos(folder: Path, cache: Path, smallest_side: int) -> PhotoStore:
    """Open the photographs of a folder, decoding them into `cache` the first time.

    Unreadable files and photographs with a side under `smallest_side` pixels are left out with a warning.

    Raises:
        DataError: no photograph of the folder can be used.
        OutputError: the cache cannot be written.
    """
    files = find_photos(folder)
    states = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    stamp = json.dumps([smallest_side, *states])
    base = cache / hashlib.sha256(stamp.encode()).hexdigest()[:16]
    store = _open_cache(base)
    if store is None:
        logger.info("decoding %d photographs into %s, once", len(files), cache)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            _remove_old_caches(cache)
            _decode(files, folder, base, smallest_side)
        except OSError as error:
            raise OutputError(f"{cache}: decoded photographs cannot be kept there ({error}).") from None
        store = _open_cache(base)
    if store is None:
        raise OutputError(f"{cache}: changed while being written; run one training at a time.")
    return store


def _open_cache(base: Path) -> PhotoStore | None:
    """The store that `_decode` wrote; nothing where it is missing, unfinished or damaged."""
    file = base.with_suffix(".bin")
    try:
        entry = json.loads(base.with_suffix(".json").read_text(encoding="utf-8"))
        shapes = tuple((int(h), int(w)) for h, w in entry["shapes"])
        sizes = [h * w * 3 for h, w in shapes]
        if file.stat().st_size != sum(sizes) or not sizes or len(sizes) != len(entry["names"]):
            return None
        offsets = tuple(itertools.accumulate(sizes[:-1], initial=0))
        return PhotoStore(tuple(entry["names"]), shapes, offsets, file)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remove_old_caches(cache: Path) -> None:
    """Remove what a killed decoding left, and the pixels of photographs that have changed since."""
    for file in cache.iterdir():
        if CACHE_NAME.fullmatch(file.name):
            file.unlink()


def _decode(files: Sequence[Path], folder: Path, base: Path, smallest_side: int) -> None:
    """Write pixels (.bin), then names and shapes (.json), each under its name only when it is whole."""
    names: list[str] = []
    shapes: list[tuple[int, int]] = []
    unfinished = base.with_suffix(".bin.part")
    with unfinished.open("wb") as out:
        for file in files:
            try:
                pixels = _rgb8(file)
            except ImageError as error:
                logger.warning("left out: %s", error)
                continue
            if min(pixels.shape[:2]) < smallest_side:
                logger.warning("left out: %s: smaller than a crop of %d pixels", file, smallest_side)
                continue
            out.write(pixels.data)
            names.append(file.relative_to(folder).as_posix())
            shapes.append((pixels.shape[0], pixels.shape[1]))
        out.flush()
        os.fsync(out.fileno())
    if not names:
        unfinished.unlink()
        raise DataError(f"{folder}: none of its {len(files)} images can be used; the warnings above say why.")
    unfinished.replace(base.with_suffix(".bin"))
    index = base.with_suffix(".json.part")
    index.write_text(json.dumps({"names": names, "shapes": shapes}), encoding="utf-8")
    index.replace(base.with_suffix(".json"))


def _rgb8(file: Path) -> NDArray[np.uint8]:
    """A photograph as uint8 [H,W,3]."""
    from ucdir.images import read

    pixels = read(file).pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels.astype(np.uint32) * 255 + 32767) // 65535
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).astype(np.uint8))
