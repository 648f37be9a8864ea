"""`ucdir data check`: what is wrong with training data, before hours are spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ucdir.cli.app import TASK_NAMES, say
from ucdir.tasks import task_class


def check(
    folder: Annotated[Path, typer.Argument(help="Clean photos, or pairs (a folder or a list file).")],
    task: Annotated[str, typer.Option(help=f"{TASK_NAMES}.")],
    clean: Annotated[
        Path | None, typer.Option(help="The folder of clean photos, if FOLDER holds the degraded ones.")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="How pairs are laid out: auto, folders, list, gopro, sid or polyu.")
    ] = "auto",
    crop: Annotated[int, typer.Option(min=1, help="Side of a training crop in pixels.")] = 64,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to a file too.")] = None,
) -> None:
    """Check training data. Exit status 1: something is wrong with it."""
    import json

    from ucdir.data.check import check_place
    from ucdir.images.atomic import atomic_write

    task_class(task)
    report = check_place(folder, clean, layout, crop)
    for line in report.lines():
        say(line)
    if json_file is not None:
        atomic_write([json.dumps(report.as_dict(), indent=1).encode()], json_file, force=True)
    if report.problems:
        raise typer.Exit(1)
