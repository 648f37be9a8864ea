"""Commands as they are printed, to be pasted into a shell."""

from __future__ import annotations

import os
import shlex
from pathlib import Path


def command_line(*parts: str | Path) -> str:
    """A command for a POSIX shell, on one printable line; a path that begins with a dash is no option in it.

    Example:
        >>> command_line("ucdir", "restore", Path("-my photo.png"), "--task", "low_light")
        "ucdir restore './-my photo.png' --task low_light"
    """
    return " ".join(_quoted(_path(part) if isinstance(part, Path) else part) for part in parts)


def _path(path: Path) -> str:
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def _quoted(text: str) -> str:
    if text.isprintable():
        return shlex.quote(text)
    # a line break, say, or bytes that are no text: Bash, Zsh and Ksh know $'...'
    escaped = (
        chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{''.join(escaped)}'"
