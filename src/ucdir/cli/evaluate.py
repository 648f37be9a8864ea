"""`ucdir evaluate`: one row of a table for each of our models and for any other program's images."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucdir.cli.app import TASK_NAMES, bar, say
from ucdir.errors import ConfigError
from ucdir.extras import check_extra
from ucdir.metrics import DEFAULT, METRICS

if TYPE_CHECKING:
    from ucdir.evaluation.cases import Cases
    from ucdir.evaluation.methods import Method
    from ucdir.evaluation.run import Result


def evaluate(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="Folder for images and values; the same command resumes where it stopped.",
        ),
    ],
    clean: Annotated[Path | None, typer.Option(help="Folder of clean images, which --task degrades.")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Real pairs instead of --clean: a folder or a list file.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help=f"{TASK_NAMES}; not needed for --restored alone."),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            "--quality",
            help="Of the degradation: JPEG quality, blur length in pixels, or exposure ratio.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="NAME or FOLDER of a model; may be repeated. Default: the task's."),
    ] = None,
    steps: Annotated[
        list[int] | None,
        typer.Option(help="Diffusion steps; may be repeated. Default: as the model was made for."),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(help="Another row, given these scalars: unknown, or NAME=VALUE,… ; may be repeated."),
    ] = None,
    restored: Annotated[
        list[str] | None,
        typer.Option(help="[NAME=]FOLDER of images that any program restored; may be repeated."),
    ] = None,
    metrics: Annotated[str, typer.Option(help=f"Separated by commas, of {', '.join(METRICS)}.")] = ",".join(
        DEFAULT
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Measure only this many images.")] = None,
    crop: Annotated[
        int | None, typer.Option(min=16, help="Measure only the centre: its side in pixels.")
    ] = None,
    held_out: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only what training with a data.hold_out of this number sets aside, if it used every image.",
        ),
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Report what cannot be measured and leave it out.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything to a file.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the rows to a file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table to a file.")] = None,
) -> None:
    """Measure restorations: one row of metrics for each method.

    All metrics but PSNR and SSIM need weights that do not come with this program: name their folder in the environment
    variable UCDIR_WEIGHTS, or they are downloaded once.
    """
    check_extra("metrics", "ucdir evaluate")
    from ucdir.evaluation import Settings
    from ucdir.evaluation import evaluate as evaluate_methods
    from ucdir.evaluation.cases import Cases

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cases = Cases(task, clean, pairs, strength, held_out, limit, crop)
    methods = _methods(cases, model or [], steps or [], given or [], restored or [], seed, device)
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    with bar("measuring") as shown:
        result = evaluate_methods(Settings(cases, methods, output, names, keep_going, shown))
    settings = {
        "task": task,
        "clean": None if clean is None else str(clean),
        "pairs": None if pairs is None else str(pairs),
        "strength": strength,
        "seed": seed,
        "crop": crop,
        "held_out": held_out,
        "limit": limit,
    }
    _report(result, settings, output, json_file, csv_file, markdown)
    if result.left_out:
        say(f"{len(result.left_out)} images left out; the warnings above say why.", err=True)
        raise typer.Exit(1)


def _methods(
    cases: Cases,
    models: list[str],
    steps: list[int],
    given: list[str],
    restored: list[str],
    seed: int,
    device: str,
) -> list[Method]:
    """One for each row, in the order of the table."""
    from ucdir.evaluation.methods import Degraded, Precomputed, Restorer
    from ucdir.model.pretrained import model_folder
    from ucdir.pipeline import load
    from ucdir.tasks.scalars import check_scalars

    names = models or ([cases.task] if cases.task is not None else [])
    if (steps or given) and not names:
        raise ConfigError("ucdir evaluate: --steps and --given are of models; name --task or --model.")
    methods: list[Method] = []
    if cases.task is not None or cases.pairs is not None:
        methods.append(Degraded())
    for name in names:
        pipeline, folder, short = load(name, device, "fp32"), model_folder(name), Path(name).name
        predictor = "predictor" if len(models) < 2 else f"{short}, predictor"
        methods.append(Restorer(predictor, pipeline, folder, start_fraction=0.0, seed=seed))
        if not steps:
            methods.append(Restorer(short, pipeline, folder, seed=seed))
        for count in steps:
            row = f"{short}, {count} step{'s' if count > 1 else ''}"
            methods.append(Restorer(row, pipeline, folder, count, seed=seed))
        for text in given:
            row = f"{short}, given {text}"
            scalars = _scalars(text)
            check_scalars(scalars, pipeline.engine.scalars)
            methods.append(Restorer(row, pipeline, folder, seed=seed, given=scalars))
    for text in restored:
        name, separator, folder_name = text.partition("=")
        methods.append(
            Precomputed(name, Path(folder_name)) if separator else Precomputed(Path(text).name, Path(text))
        )
    return methods


def _scalars(text: str) -> dict[str, float]:
    """The scalars that --given names."""
    if text == "unknown":
        return {}
    from ucdir.tasks.scalars import SCALARS

    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise ConfigError(f"--given {text}: expected unknown, or NAME=VALUE,… with numbers.") from None
        if name.strip() not in SCALARS:
            raise ConfigError(
                f"--given {text}: {name.strip()!r} is not a scalar; choose one of {', '.join(SCALARS)}."
            )
    return found


def _report(
    result: Result,
    settings: dict[str, Any],
    output: Path,
    json_file: Path | None,
    csv_file: Path | None,
    markdown: Path | None,
) -> None:
    """Print the table, and write every form of it into the output folder and to the files asked for."""
    from ucdir.evaluation.plot import plot
    from ucdir.evaluation.table import as_csv, as_dict, as_markdown, as_text
    from ucdir.images.atomic import atomic_write

    for line in as_text(result.rows):
        say(line)
    texts = {
        "table.json": json.dumps(as_dict(result.rows, settings, result.images), indent=1) + "\n",
        "table.csv": as_csv(result.rows),
        "table.md": as_markdown(result.rows, settings),
    }
    for (name, text), asked in zip(texts.items(), (json_file, csv_file, markdown), strict=True):
        for file in (output / name, asked):
            if file is not None:
                atomic_write([text.encode()], file, force=True)
    png = plot(result.rows)
    if png is not None:
        atomic_write([png], output / "plot.png", force=True)
    say(f"restored images, table, sheet.png{'' if png is None else ', plot.png'} are in {output}")
