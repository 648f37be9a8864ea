"""Restored pictures and their values on disk, so that an evaluation goes on where it stopped."""

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
from ucdir.images.paths import atomic_write


@dataclass(frozen=True)
class Found:
    """What the store knows of one result; no pixels where none were asked for."""

    pixels: Pixels | None
    values: Mapping[str, float | str | None]
    seconds: float | None


@dataclass(frozen=True)
class Store:
    """Folder of one method: `NAME.png`, and `NAME.json` with the values and with what they depend on."""

    folder: Path

    def load(self, case: Case, key: str, *, picture: bool) -> Found | None:
        """What is there of this key; nothing where the record, or a picture that is asked for, is missing."""
        place, record = self.files(case)
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
            if found["key"] != key:
                return None
            return Found(rgb8(place) if picture else None, dict(found["values"]), found["seconds"])
        except (OSError, ValueError, KeyError, TypeError, ImageError):
            return None

    def save_picture(self, case: Case, pixels: Pixels) -> None:
        """Write the picture.

        Raises:
            OutputError: it cannot be written.
        """
        picture, record = self.files(case)
        try:
            picture.parent.mkdir(parents=True, exist_ok=True)
            record.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{picture.parent}: cannot be written ({error.strerror}).") from None
        write(Photo(pixels), picture, force=True)

    def save_record(self, case: Case, record: Mapping[str, Any]) -> None:
        """Write the values.

        Raises:
            OutputError: they cannot be written.
        """
        file = self.files(case)[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write([json.dumps(record, indent=1, sort_keys=True).encode()], file, force=True)

    def files(self, case: Case) -> tuple[Path, Path]:
        """Picture and record."""
        base = self.folder / Path(case.name).with_suffix("")
        return base.with_name(f"{base.name}.png"), base.with_name(f"{base.name}.json")


def key_of(case: Case, identity: str) -> str:
    """What a result depends on: the pixels of the case, what is known of it, and the method."""
    return hashlib.sha256(f"{case.digest} {identity}".encode()).hexdigest()


def folder_name(method: str) -> str:
    """A method's name as a folder."""
    return re.sub(r"[^\w.-]+", "_", method).strip("._") or "method"


def number(value: float | None) -> float | str | None:
    """A number as JSON can hold it."""
    if value is None or math.isfinite(value):
        return value
    return str(value)


def from_number(value: float | str | None) -> float | None:
    """The inverse of `number`."""
    return None if value is None else float(value)
