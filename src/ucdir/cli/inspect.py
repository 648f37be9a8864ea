"""`ucdir inspect`: what is wrong with photos, and what would be done about it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ucdir.cli.app import say
from ucdir.cli.files_from import FilesFrom, listed
from ucdir.errors import ConfigError, UcdirError


def inspect(
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTO…",
            help="Photos, folders with all that they contain, or patterns such as 'a/**/*.jpg'.",
        ),
    ] = None,
    files_from: FilesFrom = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for each photo instead of text.")
    ] = False,
) -> None:
    """Say what is wrong with photos, how much, and what restore would do. Exit status 1: some could not be read."""
    from ucdir.workflows.inputs import find_inputs
    from ucdir.workflows.inspect import inspect as inspect_file

    names, more = list(photos or ()), listed(files_from)
    if not names and not more:
        raise ConfigError("no photo is named; name photos or folders, or a list of them with --files-from.")
    found = find_inputs(names, more)
    failed, done = [str(problem) for problem in found.problems], 0
    for problem in failed:
        say(f"ucdir: {problem}", err=True)
    for one in found.photos:
        try:
            result = inspect_file(one.photo)
        except UcdirError as error:
            failed.append(str(error))
            say(f"ucdir: {error}", err=True)
            if as_json:
                say(json.dumps({"input": str(one.photo), "error": str(error)}))
            continue
        done += 1
        if as_json:
            say(json.dumps({"input": str(one.photo), **result.as_dict(), "error": None}))
        else:
            for line in (result.headline(str(one.photo)), *(f"  {line}" for line in result.lines())):
                say(line)
    if failed:
        raise typer.Exit(1 if done else 2)
