"""`ucdir train`."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from ucdir.cli.app import experiment, say
from ucdir.errors import ConfigError
from ucdir.extras import check_extra

SECONDS_FOR_THE_FIRST = 10.0


def train(
    config: Annotated[Path, typer.Argument(help="A configuration such as configs/jpeg_restoration.yaml.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for checkpoint, log and samples.")],
    photos: Annotated[
        Path | None, typer.Option(help="Folder of clean photos, instead of data.photos.")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Folder to save the finished model to.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0, help="Stop after so many minutes, the learning rate falling over the second half."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the whole configuration and stop.")
    ] = False,
) -> None:
    """Train a model. To resume, run the same command again; for several GPUs or machines see docs/training.md."""
    try:
        _train(config, output, photos, export, minutes, dry_run=dry_run)
    except ConfigError:
        # the first process of this machine finds the same and says it; the others are ended then
        time.sleep(0 if os.environ.get("LOCAL_RANK", "0") == "0" else SECONDS_FOR_THE_FIRST)
        raise


def _train(
    config: Path,
    output: Path,
    photos: Path | None,
    export: Path | None,
    minutes: float | None,
    *,
    dry_run: bool,
) -> None:
    from ucdir.model.pretrained import check_own_name

    settings = experiment(config, photos)
    if dry_run:
        import yaml

        typer.echo(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), nl=False)
        return
    if export is not None:
        check_own_name(export)
        if os.path.lexists(export):
            raise ConfigError(f"{export}: exists already; name a new folder for the model.")
    check_extra("train", "ucdir train")
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    from ucdir.training.export import export as export_model
    from ucdir.training.loop import train as train_model
    from ucdir.training.processes import leave

    checkpoint = train_model(settings, output, minutes)
    leave()
    if export is not None and os.environ.get("RANK", "0") == "0":  # one of several processes
        export_model(checkpoint, export, config=settings)
        say(f"the model is in {export}: ucdir restore --model {export} PHOTO")
