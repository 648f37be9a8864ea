"""`ucdir train`, models made elsewhere (`convert`), and training data: `degrade`, `data check`."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from ucdir.cli.app import data_app, experiment, say
from ucdir.errors import ConfigError, OutputError
from ucdir.model.pretrained import check_own_name


def train(
    config: Annotated[Path, typer.Argument(help="A configuration such as configs/jpeg_restoration.yaml.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for checkpoint, log and samples.")],
    photos: Annotated[
        Path | None, typer.Option(help="Folder of clean photographs, in place of data.photos.")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Folder to save the finished model to.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the whole configuration and stop.")
    ] = False,
) -> None:
    """Train a model. To resume, run the same command again."""
    settings = experiment(config, photos)
    if dry_run:
        import yaml

        typer.echo(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), nl=False)
        return
    if export is not None:
        check_own_name(export)
        if export.exists():
            raise ConfigError(f"{export}: exists already; name a new folder for the model.")
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    from ucdir.training.export import export as export_model
    from ucdir.training.loop import train as train_model

    checkpoint = train_model(settings, output)
    if export is not None and os.environ.get("RANK", "0") == "0":  # one of several processes
        export_model(checkpoint, export, config=settings)
        typer.echo(f"the model is in {export}: ucdir restore --model {export} PHOTO")


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="The authors' checkpoint, I…_gen_ema.pth.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write the model to.")],
    task: Annotated[
        str, typer.Option(help="What it was trained for: jpeg_restoration, deblurring or low_light.")
    ] = "low_light",
) -> None:
    """Make a model folder of the authors' released checkpoint."""
    from ucdir.workflows.convert import convert as convert_checkpoint

    check_own_name(output)
    pipeline = convert_checkpoint(checkpoint, output, task=task)
    say(
        f"{checkpoint} -> {output}: {pipeline.config.default_steps} steps; ucdir restore --model {output} PHOTO"
    )


def degrade(
    photo: Annotated[Path, typer.Argument(help="A clean photograph.")],
    task: Annotated[str, typer.Option(help="jpeg_restoration, deblurring or low_light: what to undo later.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write, best a PNG.")],
    strength: Annotated[
        float | None,
        typer.Option(
            help="JPEG quality, blur length in pixels, or exposure ratio. Default: drawn by the seed."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other damage.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing output.")] = False,
) -> None:
    """Damage a clean photograph as training does, to try a restoration on it."""
    from ucdir.workflows.degrade import degrade as degrade_file

    scalars = degrade_file(photo, output, task=task, strength=strength, seed=seed, force=force)
    told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in scalars.items())
    say(f"{photo}: {task.replace('_', ' ')}, seed {seed}, {told} -> {output}")


@data_app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Clean photographs, or pairs (a folder or a list file).")],
    task: Annotated[str, typer.Option(help="jpeg_restoration, deblurring or low_light.")],
    clean: Annotated[
        Path | None, typer.Option(help="The folder of truths, if FOLDER holds the degraded.")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="How pairs are laid out: auto, folders, list, gopro, sid.")
    ] = "auto",
    crop: Annotated[int, typer.Option(min=1, help="Side of a training crop in pixels.")] = 64,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to a file too.")] = None,
) -> None:
    """Look through training data before hours are spent on it. Exit status 1: something is wrong."""
    from ucdir.tasks import TASKS

    if task not in TASKS:
        raise ConfigError(f"--task {task} is unknown; choose one of {', '.join(TASKS)}.")
    from ucdir.data.check import check_place

    report = check_place(folder, clean, layout, crop)
    for line in report.lines():
        say(line)
    if json_file is not None:
        import json

        try:
            json_file.write_text(json.dumps(report.as_dict(), indent=1), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{json_file}: cannot be written ({error.strerror}).") from None
    if report.problems:
        raise typer.Exit(1)
