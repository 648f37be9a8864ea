"""The program itself, and how it says things. Heavy libraries are imported where they are needed."""

from __future__ import annotations

import sys

import typer

from ucdir.errors import UcdirError

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
