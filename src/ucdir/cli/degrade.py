"""`ucdir degrade`: degraded copies of clean photos."""

from __future__ import annotations

from typing import Annotated
from zlib import crc32

import typer

from ucdir.cli.app import TASK_NAMES, fail, named, say
from ucdir.cli.scalars import as_options
from ucdir.cli.shell import command_line
from ucdir.errors import UcdirError
from ucdir.tasks import TASKS


def degrade(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO…", help="Clean photos, or folders of them.")],
    task: Annotated[str, typer.Option(help=f"The task that is to undo it: {TASK_NAMES}.")],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="The file to write, preferably a PNG; of several photos a folder of PNG files.",
        ),
    ],
    strength: Annotated[
        float | None,
        typer.Option(
            help=f"{'; '.join(f'{name}: {kind.strength}' for name, kind in TASKS.items())}. Default: sampled."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another degradation.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    force: Annotated[bool, typer.Option("--force", hidden=True)] = False,
) -> None:
    """Degrade clean photos as training does, to try a restoration on them, and print the command that restores each."""
    from ucdir.images.atomic import make_folder
    from ucdir.tasks import task_of_strength
    from ucdir.workflows.degrade import degrade as degrade_file
    from ucdir.workflows.inputs import find_inputs
    from ucdir.workflows.outputs import name_outputs

    task_of_strength(task, strength)  # what is wrong with them is said once
    found = find_inputs(photos)
    outputs = name_outputs(found, output, mark="")
    for problem in found.problems:
        fail(problem)
    done, failed, unprinted = 0, len(found.problems), False
    for one, path in zip(found.photos, outputs, strict=True):
        own = seed if one.below is None else seed << 32 | crc32(str(one.below).encode("utf-8", "replace"))
        try:
            if found.several:
                make_folder(path.parent)
            scalars = degrade_file(
                one.photo, path, task=task, strength=strength, seed=own, force=overwrite or force
            )
        except UcdirError as error:
            failed += 1
            fail(error)
            continue
        done += 1
        words = f"seed {own}, {named(scalars).removesuffix(', ')}"
        unprinted |= not say(f"{one.photo}: {task.replace('_', ' ')}, {words} -> {path}")
        unprinted |= not say(
            f"  {command_line('ucdir', 'restore', path, '--task', task, *as_options(scalars))}"
        )
    if failed or unprinted:
        raise typer.Exit(1 if done else 2)
