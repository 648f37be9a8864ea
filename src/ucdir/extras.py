"""Optional packages: each belongs to an extra of this package and is imported where it is first needed."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any, Literal

from ucdir.errors import ExtraError

Extra = Literal["torch", "metrics", "train", "diffusers", "serve", "heic", "stores", "s3", "gs", "cluster"]


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
        raise missing(str(error.name), extra, needed_by) from error


def check_extra(extra: Extra, needed_by: str, package: str = "torch") -> None:
    """Refuse what needs a package that is not installed, without importing it.

    Args:
        extra: as in `optional_module`.
        needed_by: as in `optional_module`.
        package: name of its top module.

    Raises:
        ExtraError: it is not installed.
    """
    if not is_installed(package):
        raise missing(package, extra, needed_by)


def is_installed(package: str) -> bool:
    """Whether a top module could be imported, without importing it."""
    return find_spec(package) is not None


def missing(package: str, extra: Extra, needed_by: str) -> ExtraError:
    """The error that says which extra to install."""
    return ExtraError(
        f"{needed_by} needs the package {package}, which is not installed; run: pip install 'ucdir[{extra}]'"
    )
