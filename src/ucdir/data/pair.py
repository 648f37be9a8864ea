"""One real pair: a degraded photograph and its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """Two files of one picture, and what is known of the damage: auxiliary scalars by name, in their units."""

    degraded: Path
    clean: Path
    scalars: Mapping[str, float] = field(default_factory=dict)
    name: str = ""
