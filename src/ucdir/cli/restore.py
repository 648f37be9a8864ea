"""`ucdir restore`: photos, one after the other; one that fails does not stop the others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from ucdir.cli.app import TASK_NAMES, bar, fail, named, say
from ucdir.cli.scalars import takes_scalars
from ucdir.errors import ConfigError, OutputError, UcdirError
from ucdir.memory import bytes_of
from ucdir.tasks import TASKS
from ucdir.tasks.scalars import SCALARS

if TYPE_CHECKING:
    from ucdir.pipeline import RestorationPipeline


class Job(NamedTuple):
    """One file to be written."""

    photo: Path
    output: Path
    seed: int


@takes_scalars
def restore(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO…", help="Photos to restore.")],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write, or a folder (a new one with / at its end). Default: PHOTO.restored.png beside PHOTO.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Diffusion steps. Default: what the model was made for.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other detail.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32 or bf16; auto is bf16 where the device has it (see ucdir info).")
    ] = "auto",
    patch_size: Annotated[
        int | None, typer.Option(help="Longest side of a patch in pixels. Default: as memory allows.")
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory to take at most, such as 2GB. Default: what is free."),
    ] = None,
    task: Annotated[str, typer.Option(help=f"{TASK_NAMES}. Default: what the file suggests.")] = "auto",
    model: Annotated[
        str | None,
        typer.Option(help="Folder of a model of your own, or name of a pretrained one (see ucdir info)."),
    ] = None,
    exposure_ratio: Annotated[
        str,
        typer.Option(
            help="How many times to amplify the light: a number, auto, or file (RAW: 10 s / exposure time)."
        ),
    ] = "auto",
    fidelity: Annotated[
        float,
        typer.Option(min=0, max=1, help="0: all of the sampled detail. 1: none, the initial prediction."),
    ] = 0.0,
    samples: Annotated[
        int, typer.Option(min=1, max=64, help="Number of restorations to sample, with consecutive seeds.")
    ] = 1,
    average: Annotated[
        bool, typer.Option("--average", help="Write the mean of the samples instead of each.")
    ] = False,
    uncertainty: Annotated[
        Path | None,
        typer.Option(help="File for a map of where the samples differ: there, detail was invented."),
    ] = None,
    consistent: Annotated[
        bool,
        typer.Option(
            "--consistent",
            help="Of a JPEG file: contradict nothing it says. The result compresses to the same file.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--overwrite", "--force", help="Replace existing outputs.")] = False,
    keep_times: Annotated[
        bool, typer.Option("--keep-times", help="Give results the times of their photos.")
    ] = False,
    *,
    scalars: dict[str, float],
) -> None:
    """Restore photos."""
    photos = list(dict.fromkeys(photos))
    if uncertainty is not None and (samples < 2 or not average or len(photos) > 1):
        raise ConfigError(
            "--uncertainty compares samples of one photo: give one PHOTO, --average, and --samples of 2 or more."
        )
    if task not in ("auto", *TASKS):
        raise ConfigError(f"--task {task} is unknown; choose auto or one of {', '.join(TASKS)}.")
    if max_memory is not None:
        bytes_of(max_memory)
    ratio = _exposure_ratio(exposure_ratio)
    jobs, status = [], 0
    for job in _jobs(photos, _outputs(photos, output), seed, 1 if average else samples):
        try:  # what is wrong is said before the model is loaded
            _check(job, force=force)
            jobs.append(job)
        except UcdirError as error:
            status = fail(error)
    if not jobs:
        raise typer.Exit(status)

    from ucdir.workflows.restore import restore as restore_photo

    models = _models(task, model, device, precision)
    for job in jobs:
        try:
            with bar(job.photo.name) as on_step:
                done = restore_photo(
                    job.photo, job.output, task=task, pipeline=models, scalars=scalars, exposure_ratio=ratio,
                    seed=job.seed, samples=samples if average else 1, uncertainty=uncertainty, consistent=consistent,
                    force=force, keep_times=keep_times, on_step=on_step, steps=steps, fidelity=fidelity,
                    patch_size=patch_size, max_memory=max_memory,
                )  # fmt: skip
        except UcdirError as error:
            status = fail(error)
            continue
        said = [say(f"note: {note}", err=True) for note in done.notes]
        said.append(
            say(
                f"{job.photo}: {done.width}x{done.height}, {done.task.replace('_', ' ')}, {named(done.scalars)}"
                f"{done.steps} step{'s' * (done.steps != 1)}, {done.seconds:.1f} s -> {done.output}"
            )
        )
        if not all(said):
            status = status or 1
    if status:
        raise typer.Exit(status)


# ------------------------------------------------------------------------------------------------------ what to write


def _outputs(photos: list[Path], output: str | None) -> list[Path]:
    """A file for each photo: beside it, in a folder, or the one named; no two the same."""
    from ucdir.images import default_output

    folder = None if output is None else Path(output)
    if output is not None and folder is not None and not os.path.isdir(output):  # noqa: PTH112 (never an error)
        if output.endswith(os.sep):
            _make(folder)
        elif len(photos) > 1:
            raise OutputError(
                f"{output}: there is no such folder; create it first, or write {output}{os.sep} for a new one."
            )
        else:
            return [folder]
    usual = [default_output(photo, folder) for photo in photos]
    outputs: list[Path] = []
    for photo, path in zip(photos, usual, strict=True):
        own, number = path, 2
        if usual.count(path) > 1:  # as of a.jpg and a.png
            own = path.with_name(f"{photo.name}.restored.png")
        while own in outputs:  # as of x/a.jpg and y/a.jpg
            own, number = path.with_name(f"{photo.name}-{number}.restored.png"), number + 1
        outputs.append(own)
    return outputs


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError(f"{folder}: this folder cannot be made ({text}); choose another.") from None


def _jobs(photos: list[Path], outputs: list[Path], seed: int, samples: int) -> list[Job]:
    """Every sample of every photo: with one seed after the other, to files -1, -2, … if there are several."""
    return [
        Job(photo, path if samples == 1 else path.with_stem(f"{path.stem}-{number + 1}"), seed + number)
        for photo, path in zip(photos, outputs, strict=True)
        for number in range(samples)
    ]


def _check(job: Job, *, force: bool) -> None:
    """Refuse what cannot be read or written.

    Raises:
        ImageError: there is no such photo.
        OutputError: its result cannot be written.
    """
    from ucdir.images import check_writable, read

    if not os.path.isfile(job.photo):  # noqa: PTH113 (never an error, however odd the name)
        read(job.photo)
    check_writable(job.output, force=force)


# ------------------------------------------------------------------------------------------------------------- options


def _models(
    task: str, model: str | None, device: str, precision: str
) -> RestorationPipeline | Callable[[str], RestorationPipeline]:
    """The model that was named, or a function that loads the one of a task at its first use."""
    from functools import cache

    from ucdir.pipeline import load
    from ucdir.workflows.restore import check_task

    if model is None:
        return cache(lambda name: load(name, device, precision))
    pipeline = load(model, device, precision)
    check_task(task, pipeline)
    return pipeline


def _exposure_ratio(text: str) -> float | Literal["auto", "file"]:
    if text in {"auto", "file"}:
        return text  # type: ignore[return-value]
    try:
        ratio = float(text)
    except ValueError:
        ratio = 0.0
    low, high = SCALARS["exposure_ratio"].range
    if not low <= ratio <= high:
        raise ConfigError(
            f"--exposure-ratio {text} is neither a number from {low:g} to {high:g}, nor auto, nor file."
        )
    return ratio
