"""`ucdir restore`: photographs, file by file."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ucdir.cli.app import bar, fail, say
from ucdir.errors import ConfigError, OutputError, UcdirError

if TYPE_CHECKING:
    from ucdir.pipeline import Pipeline
    from ucdir.workflows.restore import Restored


class Blur(StrEnum):
    """Kinds of blur on the command line."""

    MOTION = "motion"
    DEFOCUS = "defocus"


def restore(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO…", help="Photographs to restore.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="File to write, or a folder. Default: PHOTO.restored.png beside the photo."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Diffusion steps. Default: what the model was made for.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other detail.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32 or bf16: auto is bf16 where the device has it (see ucdir info).")
    ] = "auto",
    patch_size: Annotated[
        int | None, typer.Option(help="Longest side of a patch in pixels. Default: as memory allows.")
    ] = None,
    task: Annotated[
        str,
        typer.Option(help="jpeg_restoration, deblurring or low_light. Default: as the file tells."),
    ] = "auto",
    model: Annotated[
        str | None,
        typer.Option(help="Folder of a model of your own, or the name of another one (see ucdir info)."),
    ] = None,
    jpeg_quality: Annotated[
        float | None,
        typer.Option(
            min=1, max=100, help="Quality that the photo was once saved with, if its file does not tell it."
        ),
    ] = None,
    blur_type: Annotated[
        Blur | None, typer.Option(help="Whether the camera shook or was out of focus.")
    ] = None,
    blur_length: Annotated[
        float | None, typer.Option(min=0, max=64, help="Length of the blur in pixels, roughly.")
    ] = None,
    exposure_ratio: Annotated[
        str,
        typer.Option(
            help="How many times to amplify the light: a number, auto, or file (RAW: 10 s / exposure)."
        ),
    ] = "auto",
    noise_strength: Annotated[
        float | None, typer.Option(min=0, max=128, help="Deviation of the noise in 8-bit levels, roughly.")
    ] = None,
    fidelity: Annotated[
        float,
        typer.Option(min=0, max=1, help="0: all the detail that was drawn. 1: none, the mean prediction."),
    ] = 0.0,
    samples: Annotated[
        int, typer.Option(min=1, max=64, help="Draw so many restorations, by seeds one after another.")
    ] = 1,
    average: Annotated[
        bool, typer.Option("--average", help="Write the mean of the samples instead of each.")
    ] = False,
    uncertainty: Annotated[
        Path | None,
        typer.Option(help="File for a picture of where samples differ: there, detail was invented."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing output.")] = False,
) -> None:
    """Restore photographs."""
    if uncertainty is not None and (samples < 2 or not average or len(photos) > 1):
        raise ConfigError(
            "--uncertainty: is told of one photograph by --samples of 2 or more with --average."
        )
    whole = [_target(photo, output, len(photos)) for photo in photos]
    _refuse_same_target(photos, whole)
    drawn = 1 if average else samples
    jobs = [
        (photo, target if drawn == 1 else target.with_stem(f"{target.stem}-{number + 1}"), seed + number)
        for photo, target in zip(photos, whole, strict=True)
        for number in range(drawn)
    ]
    failed = 0
    for job in list(jobs):
        try:  # what is wrong is told before the model is loaded
            _check(*job[:2], force=force)
        except UcdirError as error:
            failed = fail(error)
            jobs.remove(job)
    if not jobs:
        raise typer.Exit(failed)
    told = {
        "jpeg_quality": jpeg_quality,
        "blur_type": None if blur_type is None else float(blur_type is Blur.DEFOCUS),
        "blur_length": blur_length,
        "noise_strength": noise_strength,
    }
    scalars = {name: value for name, value in told.items() if value is not None}
    ratio = _exposure_ratio(exposure_ratio)
    pipelines = _pipelines(task, model, device, precision)
    settings = {
        "task": task, "pipeline": pipelines, "steps": steps, "patch_size": patch_size, "scalars": scalars,
        "exposure_ratio": ratio, "fidelity": fidelity, "samples": samples if average else 1,
        "uncertainty": uncertainty, "force": force,
    }  # fmt: skip
    for photo, target, its_seed in jobs:
        try:
            done = _restore_one(photo, target, seed=its_seed, **settings)
        except UcdirError as error:
            # one bad photograph does not stop the others
            failed = fail(error)
            continue
        for note in done.notes:
            say(f"note: {note}", err=True)
        known = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in done.scalars.items())
        say(
            f"{photo}: {done.width}x{done.height}, {done.task.replace('_', ' ')}, "
            f"{f'{known}, ' if known else ''}{done.steps} steps, "
            f"{done.seconds:.1f} s -> {done.output}"
        )
    if failed:
        raise typer.Exit(failed)


def _check(photo: Path, target: Path, *, force: bool) -> None:
    """Raises ImageError where there is no such photograph, OutputError where its result cannot be written."""
    from ucdir.images import check_writable, read

    if not os.path.isfile(photo):  # noqa: PTH113 (never an error, however odd the name)
        read(photo)
    check_writable(target, force=force)


def _restore_one(photo: Path, target: Path, **settings: Any) -> Restored:
    """`restoration.restore` with a bar."""
    from ucdir.workflows.restore import restore as restore_file

    with bar(photo.name) as shown:
        return restore_file(photo, target, on_step=shown, **settings)


def _pipelines(
    task: str, model: str | None, device: str, precision: str
) -> Pipeline | Callable[[str], Pipeline]:
    """The model that was named, or a function that loads the one of a task at its first use."""
    from ucdir.tasks import TASKS
    from ucdir.workflows.restore import load

    if task not in ("auto", *TASKS):
        raise ConfigError(f"--task {task} is unknown; choose auto or one of {', '.join(TASKS)}.")
    if model is not None:
        return load(model, device, precision)
    loaded: dict[str, Pipeline] = {}

    def of_task(name: str) -> Pipeline:
        if name not in loaded:
            loaded[name] = load(name, device, precision)
        return loaded[name]

    return of_task


def _exposure_ratio(text: str) -> float | Literal["auto", "file"]:
    if text in {"auto", "file"}:
        return text  # type: ignore[return-value]
    try:
        ratio = float(text)
    except ValueError:
        ratio = 0.0
    if not 1 <= ratio <= 1000:
        raise ConfigError(f"--exposure-ratio {text} is neither a number from 1 to 1000, nor auto, nor file.")
    return ratio


def _target(photo: Path, output: Path | None, count: int) -> Path:
    """Where a photograph's result goes: beside it, into a folder, or to the file named."""
    from ucdir.images import default_output

    if output is None:
        return default_output(photo)
    is_folder = os.path.isdir(output)  # noqa: PTH112 (never an error, however odd the name)
    if is_folder or count > 1:
        if not is_folder:
            raise OutputError(f"{output}: there is no such folder; create it first.")
        return default_output(photo, output)
    return output


def _refuse_same_target(photos: list[Path], targets: list[Path]) -> None:
    seen: dict[Path, Path] = {}
    for photo, target in zip(photos, targets, strict=True):
        if target in seen:
            raise OutputError(
                f"{target}: both {seen[target]} and {photo} would be written there; restore one at a time."
            )
        seen[target] = photo
