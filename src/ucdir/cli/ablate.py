"""`ucdir ablate`: the rows of Table 4."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from ucdir.cli.app import TASK_NAMES, experiment, say
from ucdir.errors import ConfigError
from ucdir.extras import check_extra


def ablate(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder; the same command resumes where it stopped.")
    ],
    config: Annotated[
        Path | None, typer.Argument(help="Your own configuration, instead of the small one of --task.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help=f"{TASK_NAMES}: a small study, hours on a laptop."),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of clean photographs, instead of data.photos.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Of training in all; every row gets the same number of steps."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each row, instead of --minutes.")] = None,
    row: Annotated[
        list[str] | None, typer.Option(help="Only this row, by the paper's name; may be repeated.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option("--strength", "--quality", help="Of the degradation to measure on.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Held-out photographs to measure on.")] = 8,
    crop: Annotated[int, typer.Option(min=32, help="Side in pixels of their centre that is measured.")] = 256,
) -> None:
    """Train the rows of Table 4, one design choice changed in each, and measure them."""
    check_extra("train", "ucdir ablate")
    from ucdir.ablations import ROWS, study
    from ucdir.ablations.run import ablate as ablate_rows
    from ucdir.ablations.run import as_markdown

    if config is not None and task is None:
        ablated = experiment(config, photos)
    elif task is not None and config is None and photos is not None:
        ablated = study(task, photos)
    else:
        raise ConfigError("ucdir ablate: name a configuration, or --task and --photos.")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results = ablate_rows(
        ablated, output, steps=steps, minutes=minutes, rows=row or tuple(ROWS), strength=strength,
        images=images, crop=crop,
    )  # fmt: skip
    for line in as_markdown(results).splitlines():
        say(line)
