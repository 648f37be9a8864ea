"""Optional packages: each belongs to an extra of this package and is imported where it is first needed."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from ucdir.errors import ExtraError

Extra = Literal["metrics", "train", "diffusers", "onnx", "raw", "serve", "heic"]


def optional_module(name: str, extra: Extra, needed_by: str) -> Any:
    """The module `name`, which the extra `extra` installs.

    Args:
        name: dotted name of the module.
        extra: as in `pip install 'ucdir[EXTRA]'`.
        needed_by: what needs it; begins the error message.

    Raises:
        ExtraError: its package is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ExtraError(
            f"{needed_by} needs the package {error.name}, which is not installed; run: pip install 'ucdir[{extra}]'"
        ) from error
