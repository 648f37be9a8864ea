"""`ucdir degrade`: a degraded copy of a clean photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ucdir.cli.app import TASK_NAMES, named, say
from ucdir.tasks import TASKS


def degrade(
    photo: Annotated[Path, typer.Argument(help="A clean photo.")],
    task: Annotated[str, typer.Option(help=f"The task that is to undo it: {TASK_NAMES}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write, preferably a PNG.")],
    strength: Annotated[
        float | None,
        typer.Option(
            help=f"{'; '.join(f'{name}: {kind.strength}' for name, kind in TASKS.items())}. Default: sampled."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another degradation.")] = 0,
    force: Annotated[
        bool, typer.Option("--overwrite", "--force", help="Replace an existing output.")
    ] = False,
) -> None:
    """Degrade a clean photo as training does, to try a restoration on it."""
    from ucdir.workflows.degrade import degrade as degrade_file

    scalars = degrade_file(photo, output, task=task, strength=strength, seed=seed, force=force)
    say(f"{photo}: {task.replace('_', ' ')}, seed {seed}, {named(scalars).removesuffix(', ')} -> {output}")
