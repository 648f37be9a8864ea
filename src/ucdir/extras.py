"""Packages that only some uses need, imported at the first one."""

from __future__ import annotations

import importlib
from typing import Any

from ucdir.errors import UcdirError


def optional_module(name: str, needed_by: str) -> Any:
    """The module `name` of the extra `metrics`.

    Raises:
        UcdirError: its package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UcdirError(
            f"{needed_by} needs the package {error.name}, which is not installed; run: pip install 'ucdir[metrics]'"
        ) from error
