"""Clean photographs, decoded once into one file that crops are read from.

Decoding a photograph takes a hundred times longer than cutting a crop out of it, so the pixels of a whole
folder are kept as plain bytes in a cache file, which is mapped into memory and shared by all workers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import logging
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ConfigError, DataError, ImageError, OutputError
from ucdir.images import READABLE_SUFFIXES, find_images, read
from ucdir.images.pixels import to_rgb8
from ucdir.images.srgb import as_srgb

logger = logging.getLogger(__name__)

CACHE_NAME = re.compile(r"[0-9a-f]{16}\.(bin|json)(\.part)?|[0-9a-f]{16}\.\d+\.(part|index)")
"""Names of the files in a cache."""
MOST_AT_A_TIME = 16
"""Photos that are decoded beside each other, and so held in memory, where there are as many processors."""


@dataclass(frozen=True)
class PhotoStore:
    """Decoded photographs: `store[i]` is photo i, uint8 [H,W,3], mapped from disk."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    offsets: tuple[int, ...]
    file: Path

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """All photos one after another; each process maps the file itself."""
        return np.memmap(self.file, dtype=np.uint8, mode="r")

    def __reduce__(self) -> tuple[type[PhotoStore], tuple[object, ...]]:
        return PhotoStore, (self.names, self.shapes, self.offsets, self.file)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        height, width = self.shapes[index]
        start = self.offsets[index]
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)

    def held_out_split(self, hold_out: int | Sequence[str]) -> tuple[list[int], list[int]]:
        """Indices to train on and indices set aside: by patterns of their names, or so many, spread evenly.

        Raises:
            DataError: nothing would be left to train on, or a pattern fits no name.
        """
        return split_off(self.names, hold_out, "photographs")


def split_off(names: Sequence[str], hold_out: int | Sequence[str], what: str) -> tuple[list[int], list[int]]:
    """Indices to train on and indices set aside of things with these names; see `PhotoStore.held_out_split`."""
    if isinstance(hold_out, int):
        return held_out_split(len(names), hold_out, what)
    for pattern in hold_out:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise DataError(f"data.hold_out_names: {pattern!r} fits none of the {len(names)} {what}.")
    held = [i for i, name in enumerate(names) if any(fnmatchcase(name, pattern) for pattern in hold_out)]
    if len(held) == len(names):
        raise DataError(f"data.hold_out_names sets all {len(names)} {what} aside.")
    return sorted(set(range(len(names))) - set(held)), held


def of_held_out(name: str, patterns: Sequence[str]) -> bool:
    """Whether a file beside pairs that are held out by these patterns may show one of their scenes.

    Its name is compared from each of its folders on, with and without its suffix, as data sets differ in both:
    `train/GOPR0374_11_00/000001.png` is of the scene `GOPR0374*`.
    """
    parts = Path(name).parts
    ends = [Path(*parts[first:]) for first in range(len(parts))]
    tried = [path.as_posix() for end in ends for path in (end, end.with_suffix(""))]
    return any(fnmatchcase(one, pattern) for one in tried for pattern in patterns)


def without_held_out(names: Sequence[str], patterns: Sequence[str], what: str) -> list[int]:
    """Indices of the files that `of_held_out` does not take for what is set aside.

    Raises:
        DataError: none is left.
    """
    left = [i for i, name in enumerate(names) if not of_held_out(name, patterns)]
    if not left:
        raise DataError(f"data.hold_out_names sets all {len(names)} {what} aside.")
    return left


def held_out_split(count: int, hold_out: int, what: str) -> tuple[list[int], list[int]]:
    """Indices to train on and indices set aside of `count` things; see `PhotoStore.held_out_split`."""
    if hold_out >= count:
        raise DataError(
            f"data.hold_out sets {hold_out} {what} aside, but there are only {count}: lower it, or add some."
        )
    held = {(2 * i + 1) * count // (2 * hold_out) for i in range(hold_out)}
    return [i for i in range(count) if i not in held], sorted(held)


def check_outside(output: Path, folders: Iterable[Path], use: str) -> None:
    """Refuse an output folder among images that are read: what is written there would be read as one of them.

    Args:
        output: the folder.
        folders: of the images.
        use: what is done with the images, for the message.

    Raises:
        ConfigError: the output lies within one of the folders.
    """
    for folder in folders:
        if output.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(f"{output}: lies within {folder}, whose images are {use}; name another folder.")


def find_photos(folder: Path) -> list[Path]:
    """All image files below `folder`, in the order of their names.

    Raises:
        DataError: the folder is missing or contains no image.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: there is no such folder; data.photos must name a folder of clean photographs."
        )
    found = find_images(folder)
    if not found:
        raise DataError(f"{folder}: contains no image ({', '.join(sorted(READABLE_SUFFIXES))}).")
    return found


def open_photos(folder: Path, cache: Path, smallest_side: int) -> PhotoStore:
    """Open the photographs of a folder, decoding them into `cache` the first time.

    Unreadable files and photographs with a side under `smallest_side` pixels are left out with a warning.

    Raises:
        DataError: no photograph of the folder can be used.
        OutputError: the cache cannot be written.
    """
    files = find_photos(folder)
    found = decode_groups([(file,) for file in files], cache, smallest_side)
    if found is None:
        raise DataError(f"{folder}: none of its {len(files)} images can be used; the warnings above say why.")
    store, _ = found
    return replace(store, names=tuple(Path(name).relative_to(folder).as_posix() for name in store.names))


def decode_groups(
    groups: Sequence[Sequence[Path]],
    cache: Path,
    smallest_side: int,
    exposure_ratios: Sequence[float | None] | None = None,
) -> tuple[PhotoStore, tuple[int, ...]] | None:
    """Decode files that belong together into one store, group by group, the first time.

    A group is left out with a warning if one of its files is unreadable or too small, or their sizes differ.

    Args:
        groups: files, one or more in each group.
        cache: folder of the decoded pixels.
        smallest_side: in pixels.
        exposure_ratios: what the first file of each group is amplified by if it is RAW; the others are developed as
            bright as they are.

    Returns:
        the store of all files of the groups that are left, and the numbers of these groups; None if none is left.

    Raises:
        OutputError: the cache cannot be written.
    """
    ratios = exposure_ratios or [None] * len(groups)
    states = [[(os.path.realpath(p), *_state(p)) for p in group] for group in groups]
    stamp = json.dumps([smallest_side, states, ratios])
    base = cache / hashlib.sha256(stamp.encode()).hexdigest()[:16]
    found = _open_cache(base, groups)
    if found is None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with _only_one(cache):
                if _open_cache(base, groups) is None:  # else another training has just written it
                    logger.info("decoding %d photographs into %s, once", sum(map(len, groups)), cache)
                    _remove_old_caches(cache)
                    if not _decode(groups, base, smallest_side, ratios):
                        return None
        except OSError as error:
            for unfinished in (base.with_suffix(".bin.part"), base.with_suffix(".json.part")):
                with contextlib.suppress(OSError):
                    unfinished.unlink()
            raise OutputError(f"{cache}: decoded photographs cannot be kept there ({error}).") from None
        found = _open_cache(base, groups)
    if found is None:
        raise OutputError(
            f"{cache}: was changed by another training while it was written; give each a data.cache of its own."
        )
    return found


@contextlib.contextmanager
def _only_one(cache: Path) -> Iterator[None]:
    """Wait until no other training decodes into this folder."""
    descriptor = os.open(cache, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _state(file: Path) -> tuple[int, int]:
    """Size and time of change; a file that is missing is reported when it is read."""
    try:
        status = file.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _open_cache(base: Path, groups: Sequence[Sequence[Path]]) -> tuple[PhotoStore, tuple[int, ...]] | None:
    """The store that `_decode` wrote; nothing where it is missing, unfinished or damaged.

    Its names are those of the groups: the training that decoded them may have called the same folder otherwise.
    """
    file = base.with_suffix(".bin")
    try:
        entry = json.loads(base.with_suffix(".json").read_text(encoding="utf-8"))
        shapes = tuple((int(h), int(w)) for h, w in entry["shapes"])
        sizes = [h * w * 3 for h, w in shapes]
        kept = tuple(int(number) for number in entry["kept"])
        names = tuple(str(photo) for number in kept for photo in groups[number])
        if file.stat().st_size != sum(sizes) or not sizes or len(sizes) != len(names):
            return None
        offsets = tuple(itertools.accumulate(sizes[:-1], initial=0))
        return PhotoStore(names, shapes, offsets, file), kept
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _remove_old_caches(cache: Path) -> None:
    """Remove what a killed decoding left, and the pixels of photographs that have changed since."""
    for file in cache.iterdir():
        if CACHE_NAME.fullmatch(file.name):
            file.unlink()


def _decode(
    groups: Sequence[Sequence[Path]], base: Path, smallest_side: int, ratios: Sequence[float | None]
) -> bool:
    """Write pixels (.bin), then shapes and the groups' numbers (.json), each under its name only when it is whole."""
    shapes: list[tuple[int, int]] = []
    kept: list[int] = []
    unfinished = base.with_suffix(".bin.part")
    with unfinished.open("wb") as out:
        for number, (group, images) in enumerate(zip(groups, _images(groups, ratios), strict=True)):
            problem = images if isinstance(images, str) else _problem(group, images, smallest_side)
            if isinstance(images, str) or problem:
                logger.warning("left out: %s", problem)
                continue
            for pixels in images:
                out.write(pixels.data)
                shapes.append((pixels.shape[0], pixels.shape[1]))
            kept.append(number)
        out.flush()
        os.fsync(out.fileno())
    if not kept:
        unfinished.unlink()
        return False
    unfinished.replace(base.with_suffix(".bin"))
    index = base.with_suffix(".json.part")
    index.write_text(json.dumps({"shapes": shapes, "kept": kept}), encoding="utf-8")
    index.replace(base.with_suffix(".json"))
    return True


def _images(
    groups: Sequence[Sequence[Path]], ratios: Sequence[float | None]
) -> Iterator[list[NDArray[np.uint8]] | str]:
    """The images of each group, or why they cannot be read; as many groups at a time as there are processors."""

    def decoded(group: Sequence[Path], ratio: float | None) -> list[NDArray[np.uint8]] | str:
        try:
            return [rgb8(file, ratio if i == 0 else 1.0) for i, file in enumerate(group)]
        except ImageError as error:
            return str(error)

    ahead = min(os.cpu_count() or 1, MOST_AT_A_TIME)
    with ThreadPoolExecutor(ahead) as pool:
        waiting: deque[Future[list[NDArray[np.uint8]] | str]] = deque()
        for group, ratio in zip(groups, ratios, strict=True):
            waiting.append(pool.submit(decoded, group, ratio))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _problem(group: Sequence[Path], images: Sequence[NDArray[np.uint8]], smallest_side: int) -> str:
    """What keeps decoded files from being used; empty if nothing does."""
    sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in images]
    if len(set(sizes)) > 1:
        return f"{group[0]} is {sizes[0]} and {group[1]} is {sizes[1]}: no pair"
    if min(images[0].shape[:2]) < smallest_side:
        return f"{group[0]}: smaller than a crop of {smallest_side} pixels"
    return ""


def rgb8(file: Path, exposure_ratio: float | None = None) -> NDArray[np.uint8]:
    """A photograph as uint8 [H,W,3] in sRGB; a RAW file is amplified, with None to normal brightness.

    Raises:
        ImageError: it cannot be read.
    """
    photo = read(file, exposure_ratio="auto" if exposure_ratio is None else exposure_ratio)
    return to_rgb8(as_srgb(photo).pixels)
