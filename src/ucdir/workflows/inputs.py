"""Which photos a batch restores: files, folders, patterns and lists become files, each with its place in the output."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Final

from ucdir.errors import ImageError, UcdirError
from ucdir.images import find_images
from ucdir.images.paths import RAW_SUFFIXES, READABLE_SUFFIXES, files_below, is_file, is_result, shown
from ucdir.workflows.records import records_of
from ucdir.workflows.stores import exists, find_below, is_folder, is_stored, is_url, place

_WILD: Final = frozenset("*?[")


@dataclass(frozen=True)
class Input:
    """One photo.

    Args:
        photo: the file.
        below: its path below the folder or pattern that it was found by, which is mirrored in the output; None of a
            file that was named.
    """

    photo: Path
    below: Path | None = None


@dataclass
class Inputs:
    """What was found.

    Args:
        photos: in the order of the arguments, and by name within a folder; no file twice.
        problems: one error for each argument, or folder below it, that gives nothing.
        results: how many results of earlier runs were left out.
        several: whether more than one photo was asked for, even if only one was found.
    """

    photos: list[Input] = field(default_factory=list)
    problems: list[UcdirError] = field(default_factory=list)
    results: int = 0
    several: bool = False


def find_inputs(names: Iterable[str], listed: Iterable[str] = ()) -> Inputs:
    """The photos that arguments and the lines of a list name.

    A file or folder that exists is taken literally, whatever characters are in its name. Folders are searched as
    `images.find_images` does. Results of earlier runs are left out of folders and patterns.

    Args:
        names: files, folders, and patterns (`*`, `?`, `[a-z]`, and `**` for folders in any depth).
        listed: files and folders.
    """
    search = _Search()
    groups = [list(search.by_name(name)) for name in names] + [
        list(search.by_name(name, literally=True)) for name in listed
    ]
    if sum(len(group) > 0 and group[0].below is not None for group in groups) > 1:
        groups = [[_in_own_folder(one) for one in group] for group in groups]
    once: dict[Path, Input] = {}
    for one in (one for group in groups for one in group):
        once.setdefault(one.photo.absolute(), one)
    search.found.photos = list(once.values())
    search.found.several |= len(groups) > 1
    return search.found


def _in_own_folder(one: Input) -> Input:
    """Of several folders, each gets one of its name in the output."""
    if one.below is None:
        return one
    root = one.photo.parents[len(one.below.parts) - 1].resolve().name
    return replace(one, below=root / one.below)


def _fits(names: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether a path's names fit the parts of a pattern, where `**` is any number of folders."""
    if not names or not parts:
        return not names and not parts
    if parts[0] == "**":
        return _fits(names, parts[1:] or ("*",)) or _fits(names[1:], parts)
    return fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])


@dataclass
class _Search:
    found: Inputs = field(default_factory=Inputs)

    def by_name(self, name: str, *, literally: bool = False) -> Iterator[Input]:
        if is_url(name):
            return self.in_store(name, literally=literally)
        if os.path.isdir(name):  # noqa: PTH112 (never an error, however odd the name)
            return self.in_folder(Path(name))
        if not literally and not os.path.lexists(name) and _WILD & set(name):
            return self.matching(name)
        return iter([Input(Path(name))])

    def in_store(self, name: str, *, literally: bool) -> Iterator[Input]:
        """An object, or those of a folder or pattern."""
        try:
            path = place(name)
            if not is_stored(path):  # file://
                yield from self.by_name(str(path), literally=literally)
                return
            pattern = not literally and bool(_WILD & set(name)) and not exists(path)
            if not pattern and not name.endswith("/") and not is_folder(path):
                yield Input(path)
                return
            self.found.several = True
            root = path
            while pattern and _WILD & set(str(root)):
                root = root.parent
            found = [
                (root / below.as_posix(), below) for below in find_below(root, path.path if pattern else None)
            ]
        except UcdirError as error:
            self._add(error)
            return
        photos = [(photo, below) for photo, below in found if not self._is_result(photo)]
        if not photos:
            what = "nothing but results of earlier runs" if found else "no photo"
            self._add(ImageError(f"{shown(path)}: there is {what}; check the name."))
        for photo, below in photos:
            yield Input(photo, below)  # type: ignore[arg-type]

    def in_folder(self, folder: Path) -> Iterator[Input]:
        self.found.several = True
        before = len(self.found.problems)
        files = find_images(folder, raw=True, results=True, on_error=self._refuse)
        photos = [file for file in files if not self._is_result(file)]
        if not photos and len(self.found.problems) == before:
            what = "nothing but results of earlier runs" if files else "no photo"
            self._add(ImageError(f"{shown(folder)}: this folder holds {what}; name another one, or a file."))
        for file in photos:
            yield Input(file, file.relative_to(folder))

    def matching(self, pattern: str) -> Iterator[Input]:
        """Files of a pattern; if it leaves the suffix open, those with the suffix of an image."""
        self.found.several = True
        parts = Path(pattern).parts
        root = Path(*parts[: next(i for i, part in enumerate(parts) if _WILD & set(part))])
        files = sorted(self._files_of(root, parts[len(root.parts) :], pattern))
        if pattern.endswith("*"):
            files = [file for file in files if file.suffix.lower() in {*READABLE_SUFFIXES, *RAW_SUFFIXES}]
        photos = [file for file in files if not self._is_result(file)]
        if not photos:
            self._add(ImageError(f"{shown(Path(pattern))}: no photo has such a name; check the pattern."))
        for file in photos:
            yield Input(file, file.relative_to(root))

    def _files_of(self, root: Path, parts: tuple[str, ...], pattern: str) -> Iterator[Path]:
        if "**" not in parts:
            yield from (Path(name) for name in glob.glob(pattern) if is_file(name))  # noqa: PTH207
            return
        for file in files_below(root, self._refuse):  # not `glob`, which would follow links in circles
            if _fits(file.relative_to(root).parts, parts):
                yield file

    def _is_result(self, file: Path) -> bool:
        found = is_result(file) or file.name in self._records(file.parent)
        self.found.results += found
        return found

    def _records(self, folder: Path) -> frozenset[str]:
        """Names of results that a folder's record knows, of any name that was chosen with --output."""
        if folder not in self._known:
            self._known[folder] = frozenset(records_of(folder).entries)
        return self._known[folder]

    @cached_property
    def _known(self) -> dict[Path, frozenset[str]]:
        return {}

    def _refuse(self, folder: Path, error: OSError) -> None:
        self._add(
            ImageError(
                f"{shown(folder)}: this folder cannot be read ({error.strerror}); change its permissions."
            )
        )

    def _add(self, problem: UcdirError) -> None:
        self.found.problems.append(problem)
