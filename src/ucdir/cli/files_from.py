"""The option `--files-from`: a list of photos, from a file or standard input."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ucdir.cli.stream import read_at_most
from ucdir.errors import ConfigError
from ucdir.limits import MAX_LIST_BYTES

FilesFrom = Annotated[
    str | None,
    typer.Option(
        help="A file with one photo or folder a line (or separated by NUL), or - for standard input."
    ),
]
"""An option of commands that take many photos; see `listed`."""


def listed(files_from: str | None) -> list[str]:
    """The lines of a list, or what NUL separates; names of any bytes."""
    if files_from is None:
        return []
    try:
        with open(0 if files_from == "-" else files_from, "rb", closefd=files_from != "-") as file:
            data = read_at_most(file, MAX_LIST_BYTES + 1)
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"--files-from {files_from}: cannot be read ({text}); check the name.") from error
    if len(data) > MAX_LIST_BYTES:
        raise ConfigError(f"--files-from {files_from}: is longer than {MAX_LIST_BYTES >> 20} MiB; split it.")
    if b"\0" in data:
        lines = data.split(b"\0")
    else:
        lines = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    names = [os.fsdecode(line) for line in lines if line]
    if not names:
        raise ConfigError(f"--files-from {files_from}: names no photo; write one a line.")
    return names
