"""`ucdir ablate`: Table 4, row by row."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from ucdir.cli.app import experiment, say


def ablate(
    config: Annotated[Path, typer.Argument(help="A configuration such as configs/jpeg_restoration.yaml.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder; the same command goes on where it stopped.")
    ],
    photos: Annotated[
        Path | None, typer.Option(help="Folder of clean photographs, in place of data.photos.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Of training in all; every row gets the same steps.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of each row, in place of --minutes.")
    ] = None,
    row: Annotated[
        list[str] | None, typer.Option(help="Only this row, by the paper's name; may be repeated.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option("--strength", "--quality", help="Of the damage that is measured on.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="Photographs set aside that are measured.")] = 8,
    crop: Annotated[int, typer.Option(min=32, help="Side of their middle that is measured.")] = 256,
) -> None:
    """Train the rows of Table 4, one design choice changed in each, and measure them."""
    from ucdir.ablations import ROWS
    from ucdir.ablations.run import ablate as ablate_rows
    from ucdir.ablations.run import as_markdown

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results = ablate_rows(
        experiment(config, photos), output, steps=steps, minutes=minutes, rows=row or tuple(ROWS), strength=strength,
        pictures=pictures, crop=crop,
    )  # fmt: skip
    for line in as_markdown(results).splitlines():
        say(line)
