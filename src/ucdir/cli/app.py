"""The program itself, and how it says things. Heavy libraries are imported where they are needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ucdir.errors import UcdirError

if TYPE_CHECKING:
    from ucdir.config import Config

app = typer.Typer(
    help="Restores photographs with diffusion.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
data_app = typer.Typer(help="Look through training data.", no_args_is_help=True, rich_markup_mode=None)


def main() -> None:
    """Entry point of `ucdir`: an expected error is one line on stderr and exit status 2; Ctrl-C is 130."""
    try:
        app()
    except UcdirError as error:
        sys.exit(fail(error))


def fail(error: UcdirError) -> int:
    """Print an expected error; the exit status."""
    say(f"ucdir: {error}", err=True)
    return 2


def say(text: str, *, err: bool = False) -> None:
    """Print one line; what a terminal cannot show or would obey, in a file's name perhaps, is escaped."""
    typer.echo("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text), err=err)


@contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal: what it is told is (done, in all)."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        shown = progress.add_task(text, total=None)
        yield lambda done, count: progress.update(shown, completed=done, total=count)


def experiment(config: Path, photos: Path | None) -> Config:
    """A configuration, with other photographs than its own if any are named."""
    from ucdir.config import load_config

    settings = load_config(config)
    if photos is None:
        return settings
    return settings.model_copy(update={"data": settings.data.model_copy(update={"photos": photos})})
