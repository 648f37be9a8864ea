"""Fixtures for the whole suite."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared():
    """A function `shared(path)`: a file of the data folder beside the repository; skips where it is absent."""
    base = Path(os.environ.get("UCDIR_SHARED", ROOT.parent / "shared"))

    def locate(path: str) -> Path:
        found = base / path
        if not found.exists():
            pytest.skip(f"needs the data folder: {path} is not in {base.name}/ beside the repository")
        return found

    return locate
