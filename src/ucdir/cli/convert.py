"""`ucdir convert`: a model folder from the authors' checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ucdir.cli.app import TASK_NAMES, say
from ucdir.extras import check_extra


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="The authors' checkpoint, I…_gen_ema.pth.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write the model to.")],
    task: Annotated[str, typer.Option(help=f"What it was trained for: {TASK_NAMES}.")] = "low_light",
) -> None:
    """Convert the authors' released checkpoint to a model folder."""
    check_extra("torch", "ucdir convert")
    from ucdir.model.pretrained import check_own_name
    from ucdir.workflows.convert import convert as convert_checkpoint

    check_own_name(output)
    config = convert_checkpoint(checkpoint, output, task=task)
    say(f"{checkpoint} -> {output}: {config.steps} steps; ucdir restore --model {output} PHOTO")
