"""Restored images and their values on disk, so that an evaluation resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ucdir.data.photos import rgb8
from ucdir.errors import ImageError, OutputError
from ucdir.evaluation.cases import Case, Pixels
from ucdir.images import Photo, write
from ucdir.images.atomic import atomic_write


@dataclass(frozen=True)
class Found:
    """A stored result; without the image if none was asked for."""

    image: Pixels | None
    values: Mapping[str, float | str | None]
    seconds: float | None


@dataclass(frozen=True)
class Store:
    """Folder of one method: `NAME.png`, and `NAME.json` with the values and the key of what they depend on."""

    folder: Path

    def load(self, case: Case, key: str, *, image: bool) -> Found | None:
        """The result of this key; None if the record, or an image that is asked for, is missing."""
        file, record = self.files(case)
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
            if found["key"] != key:
                return None
            return Found(rgb8(file) if image else None, dict(found["values"]), found["seconds"])
        except (OSError, ValueError, KeyError, TypeError, ImageError):
            return None

    def save_image(self, case: Case, image: Pixels) -> None:
        """Write the image.

        Raises:
            OutputError: it cannot be written.
        """
        file, record = self.files(case)
        _prepare(file.parent, record)
        write(Photo(image), file, force=True)

    def save_record(self, case: Case, record: Mapping[str, Any]) -> None:
        """Write the values.

        Raises:
            OutputError: they cannot be written.
        """
        file = self.files(case)[1]
        _prepare(file.parent)
        atomic_write([json.dumps(record, indent=1, sort_keys=True).encode()], file, force=True)

    def files(self, case: Case) -> tuple[Path, Path]:
        """Image and record."""
        base = self.folder / case.stem
        return base.with_name(f"{base.name}.png"), base.with_name(f"{base.name}.json")


def _prepare(folder: Path, *stale: Path) -> None:
    """Make a folder, and remove files that are no longer true."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in stale:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another folder.") from None


def key_of(case: Case, identity: str) -> str:
    """A hash of what a result depends on: the pixels of the case, its scalars, and the method."""
    return hashlib.sha256(f"{case.digest} {identity}".encode()).hexdigest()


def folder_name(method: str) -> str:
    """A method's name as a folder."""
    return re.sub(r"[^\w.-]+", "_", method).strip("._") or "method"


def number(value: float | None) -> float | str | None:
    """A number as strict JSON can hold it: infinity and NaN as text."""
    if value is None or math.isfinite(value):
        return value
    return str(value)


def from_number(value: float | str | None) -> float | None:
    """The inverse of `number`."""
    return None if value is None else float(value)
