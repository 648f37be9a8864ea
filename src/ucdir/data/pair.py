"""One real pair: a degraded photograph and its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ucdir.errors import DataError


@dataclass(frozen=True)
class Pair:
    """Two files of one picture, and what is known of the damage: auxiliary scalars by name, in their units."""

    degraded: Path
    clean: Path
    scalars: Mapping[str, float] = field(default_factory=dict)
    name: str = ""


def images_below(folder: Path) -> list[Path]:
    """All files below a folder that look like images or RAW files, in the order of their names.

    Raises:
        DataError: there is no such folder.
    """
    from ucdir.images import READABLE_SUFFIXES
    from ucdir.images.kinds import RAW_SUFFIXES

    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; name one that holds photographs.")
    known = {*READABLE_SUFFIXES, *RAW_SUFFIXES}
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in known and p.is_file())
