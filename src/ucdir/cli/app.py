"""The program itself, and how it prints. Heavy libraries are imported where they are needed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ucdir.cli.scalars import value_text
from ucdir.errors import DeviceError, UcdirError
from ucdir.memory import save_address_space
from ucdir.tasks import TASKS

if TYPE_CHECKING:
    from ucdir.config import Config

app = typer.Typer(
    help="Restores photographs with diffusion.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
data_app = typer.Typer(help="Check training data.", no_args_is_help=True, rich_markup_mode=None)

TASK_NAMES = ", ".join(list(TASKS)[:-1]) + f" or {list(TASKS)[-1]}"
"""For help texts."""


class Signalled(SystemExit):
    """The program was told to end, by a signal other than Ctrl-C; raised where it is, so that it tidies up."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def main() -> None:
    """Entry point of `ucdir`: an expected error is one line on stderr and exit status 2; signals are 128 + theirs."""
    _open_missing_streams()
    save_address_space()
    with _ended_by_signals():
        try:
            app()
        except UcdirError as error:
            sys.exit(fail(error))
        except MemoryError:
            sys.exit(fail(DeviceError("the memory is full; close other programs, or raise its limit.")))


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise `Signalled`, unless something else (nohup) has been said about them."""

    def end(number: int, _: object) -> None:
        raise Signalled(number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        ours = []
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def fail(error: UcdirError) -> int:
    """Print an expected error; the exit status."""
    say(f"ucdir: {error}", err=True)
    return 2


def say(text: str, *, err: bool = False) -> bool:
    """Print one line; what a terminal cannot show or would obey, in a file's name perhaps, is escaped.

    Returns:
        whether it could be printed. If not, as after `| true`, nothing more is printed there.
    """
    try:
        typer.echo("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text), err=err)
    except OSError:
        discard(2 if err else 1)
        return False
    return True


def discard(descriptor: int) -> None:
    """Let what is left in the buffer of a standard stream go nowhere, or Python fails on it when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def named(scalars: dict[str, float]) -> str:
    """Scalars as they are printed: `jpeg quality 10, `."""
    return "".join(f"{name.replace('_', ' ')} {value_text(name, value)}, " for name, value in scalars.items())


def task_text(task: str | None, reason: str | None) -> str:
    """A task as it is printed, with what it was chosen for: `low light (a RAW file)`."""
    name = (task or "").replace("_", " ")
    return f"{name} ({reason})" if reason else name


@contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar, called with (done, in all); None where stderr is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        shown = progress.add_task(text, total=None)
        yield lambda done, count: progress.update(shown, completed=done, total=count)


def experiment(config: Path, photos: Path | None) -> Config:
    """A configuration, with another folder of photos if one is given."""
    from ucdir.config import load_config

    settings = load_config(config)
    if photos is None:
        return settings
    return settings.model_copy(update={"data": settings.data.model_copy(update={"photos": photos})})


def _open_missing_streams() -> None:
    """Open /dev/null for standard streams that are closed (`2>&-`), or the next file opened would take their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
