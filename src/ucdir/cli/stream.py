"""`ucdir restore -`: a photo from standard input, or to standard output; every message goes to stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ucdir.cli.app import discard, named, say, task_text
from ucdir.errors import ConfigError, ImageError, OutputError
from ucdir.limits import MAX_FILE_BYTES

if TYPE_CHECKING:
    from ucdir.workflows.batch import Batch


def restore_stream(batch: Batch, photo: str, output: str | None, format: str | None, seed: int) -> None:
    """Restore one photo.

    Args:
        batch: how.
        photo: a file, or "-" for standard input.
        output: a file, or "-" or None for standard output.
        format: a name or suffix, or "same"; None: that of `output`, or PNG.
        seed: of the noise.

    Raises:
        UcdirError: it cannot be read, restored or written.
    """
    from ucdir.images import check_writable
    from ucdir.images.atomic import atomic_write
    from ucdir.images.paths import shown
    from ucdir.workflows.outputs import format_suffix

    suffix = None if format is None else format_suffix(format)
    to_file = None if output in (None, "-") else Path(str(output))
    if to_file is None:
        _check_stdout()
        wanted = None if suffix == ".same" else suffix or ".png"
    else:
        if to_file.is_dir():
            raise OutputError(f"{shown(to_file)} is a folder; name a file for the photo from standard input.")
        if suffix not in (None, ".same", to_file.suffix.lower()):
            raise ConfigError(
                f"{shown(to_file)}: --format says another format than its suffix; leave out one."
            )
        check_writable(to_file, force=batch.overwrite)
        wanted = to_file.suffix
    result, done = batch.restore_bytes(_contents(photo), seed, wanted)
    for note in done.notes:
        say(f"note: {note}", err=True)
    if to_file is None:
        _to_stdout(result)
    else:
        atomic_write([result], to_file, force=batch.overwrite)
    if done.task is None:
        say(f"{photo}: {done.width}x{done.height}, passed on as it is -> {to_file or '-'}", err=True)
        return
    say(
        f"{photo}: {done.width}x{done.height}, {task_text(done.task, done.reason)}, {named(done.scalars)}{done.steps} "
        f"step{'s' * (done.steps != 1)}, {done.seconds:.1f} s -> {to_file or '-'}",
        err=True,
    )


def _contents(photo: str) -> bytes:
    from ucdir.images.read import file_bytes

    if photo != "-":
        return file_bytes(Path(photo))
    if sys.stdin is None or sys.stdin.isatty():
        raise ImageError("standard input is no file; write ucdir restore - < PHOTO.")
    try:
        data = read_at_most(sys.stdin.buffer, MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"standard input cannot be read ({error.strerror}); name a file.") from error
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(
            f"standard input has more than the {MAX_FILE_BYTES:,} bytes that ucdir opens; save it smaller."
        )
    return data


def read_at_most(file: BinaryIO, count: int) -> bytes:
    """As `file.read(count)`, which would ask for that much memory first."""
    parts: list[bytes] = []
    while count > 0 and (part := file.read(min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _check_stdout() -> None:
    if sys.stdout is None or sys.stdout.isatty():
        raise OutputError(
            "standard output is no file; write ucdir restore … > RESULT, or name a file with -o."
        )


def _to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        discard(1)
        raise OutputError(
            f"standard output does not take the result ({error.strerror}); name a file with -o."
        ) from error
