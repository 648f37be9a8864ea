"""`ucdir restore`: photos, one after the other; one that fails does not stop the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ucdir.cli.app import TASK_NAMES, Signalled, say
from ucdir.cli.files_from import FilesFrom, listed
from ucdir.cli.printer import Printer
from ucdir.cli.progress import Progress
from ucdir.cli.scalars import takes_scalars
from ucdir.cli.stream import restore_stream
from ucdir.errors import ConfigError
from ucdir.memory import bytes_of
from ucdir.tasks.scalars import SCALARS

if TYPE_CHECKING:
    from ucdir.workflows.batch import Batch, Job, Outcome

UNCERTAINTY = (
    "--uncertainty compares samples of one photo: give one PHOTO, --average, and --samples of 2 or more, and leave out "
    "--ray."
)
STREAMS = (
    "- is one photo from standard input or to standard output: leave out other photos, --files-from, --samples without "
    "--average, --uncertainty, --dry-run, --ray and --json."
)


@takes_scalars
def restore(
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTO…",
            help="Photos, folders with all that they contain, patterns such as 'a/**/*.jpg', or - for standard input.",
        ),
    ] = None,
    files_from: FilesFrom = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write, or a folder (a new one with / at its end), or - for standard output. Default: "
            "PHOTO.restored.png beside PHOTO.",
        ),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="same (as the photo), png, jpg, tif, webp, avif or bmp. Default: png.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Diffusion steps. Default: what the model was made for.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other detail.")] = 0,
    device: Annotated[
        str,
        typer.Option(
            help="auto, cpu, cuda (all GPUs), cuda:1, mps, or several that share the work: cuda:0,cuda:1."
        ),
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32 or bf16; auto is bf16 where the device has it (see ucdir info).")
    ] = "auto",
    engine: Annotated[
        str,
        typer.Option(
            help="torch, or onnx: ONNX Runtime, on CPUs. auto: torch where it is installed and faster (see ucdir info)."
        ),
    ] = "auto",
    patch_size: Annotated[
        int | None, typer.Option(help="Longest side of a patch in pixels. Default: as memory allows.")
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory to take at most, such as 2GB. Default: what is free."),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Largest width x height, of a file of any size. Default: 4,300,000,000, of a file in proportion.",
        ),
    ] = None,
    task: Annotated[
        str,
        typer.Option(
            help=f"{TASK_NAMES}. Default: auto, for what is wrong with the photo (see ucdir inspect)."
        ),
    ] = "auto",
    model: Annotated[
        str | None,
        typer.Option(help="Folder of a model of your own, or name of a pretrained one (see ucdir info)."),
    ] = None,
    brighten: Annotated[
        str,
        typer.Option(
            help="How many times to amplify the light: a number, auto (RAW to normal brightness, other photos not at "
            "all), or file (RAW: 10 s / exposure time)."
        ),
    ] = "auto",
    raw_size: Annotated[
        str,
        typer.Option(
            help="Of RAW files: full, the size of the sensor, or half, a pixel for each 2x2 of it, as in the paper: "
            "four times faster, and with less noise."
        ),
    ] = "full",
    fidelity: Annotated[
        float,
        typer.Option(min=0, max=1, help="0: all of the sampled detail. 1: none, the initial prediction."),
    ] = 0.0,
    amount: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="How much of the restoration is applied, 1: all. Default: all, of a JPEG above quality 30 less.",
        ),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            min=1, max=64, help="Number of restorations to sample, with consecutive seeds; see --diversity."
        ),
    ] = 1,
    average: Annotated[
        bool, typer.Option("--average", help="Write the mean of the samples instead of each.")
    ] = False,
    uncertainty: Annotated[
        Path | None,
        typer.Option(help="File for a map of where the samples differ: there, detail was invented."),
    ] = None,
    consistent: Annotated[
        bool | None,
        typer.Option(
            "--consistent/--no-consistent",
            help="Of a JPEG file: contradict nothing it says. The result compresses to the same file. Default: nearly, "
            "from quality 75 on.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Skip results that are finished: whole, of this photo and these settings. The default, but with "
            "--overwrite, where it replaces only the others. And go on with a large photo at the last finished row of "
            "patches, which is kept in a hidden folder.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
    force: Annotated[bool, typer.Option("--force", hidden=True)] = False,
    keep_times: Annotated[
        bool, typer.Option("--keep-times", help="Give results the times of their photos.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what would be read and written, by which task and why; write nothing."
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Photos at once: while one is restored, others are read and written. Default: 1; with a GPU, as many "
            "as keep it busy.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Restore on a Ray cluster: HOST:PORT, auto (the one of this machine), or local (all cores of this "
            "machine). See docs/scale.md.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for each output instead of text.")
    ] = False,
    *,
    scalars: dict[str, float],
) -> None:
    """Restore photos."""
    from ucdir.workflows.batch import Batch

    if uncertainty is not None and (samples < 2 or not average or ray is not None):
        raise ConfigError(UNCERTAINTY)
    if max_memory is not None:
        bytes_of(max_memory)
    overwrite |= force
    batch = Batch(
        task, model, device, precision,
        settings={
            "scalars": scalars, "brighten": _brighten(brighten), "steps": steps,
            "fidelity": fidelity, "amount": amount, "samples": samples if average else 1, "consistent": consistent,
            **({} if _raw_size(raw_size) == "full" else {"raw_size": raw_size}),
            **({} if samples == 1 or average else {"one_of_several": True}),
        },
        options={
            "patch_size": patch_size, "max_memory": max_memory, "uncertainty": uncertainty, "keep_times": keep_times,
            "max_pixels": max_pixels, "resume": resume,
        },
        engine=engine, overwrite=overwrite, resume=(resume or not overwrite) and uncertainty is None,
    )  # fmt: skip
    names, seeds = list(photos or ()), range(seed, seed + (1 if average else samples))
    if "-" in names or output == "-":
        if (
            len(names) != 1
            or files_from is not None
            or len(seeds) > 1
            or dry_run
            or as_json
            or uncertainty
            or ray
        ):
            raise ConfigError(STREAMS)
        restore_stream(batch, names[0], output, format, seed)
        return
    printer = Printer(as_json=as_json)
    planned = _plan(names, listed(files_from), output, format, seeds, printer)
    if uncertainty is not None and printer.several:
        raise ConfigError(UNCERTAINTY)
    if dry_run:
        batch.check_model()
        problems = batch.check(planned)
        for job in planned:
            printer.print(problems.get(job) or batch.plan(job))
    else:
        _run(batch, planned, jobs, printer, ray)
    printer.close()


def _plan(
    names: list[str],
    listed: list[str],
    output: str | None,
    format: str | None,
    seeds: range,
    printer: Printer,
) -> list[Job]:
    """What is to be done; what gives no photo is said at once."""
    from ucdir.workflows.inputs import find_inputs
    from ucdir.workflows.outputs import jobs_for

    if not names and not listed:
        raise ConfigError("no photo is named; name photos or folders, or a list of them with --files-from.")
    found = find_inputs(names, listed)
    printer.several = found.several
    jobs = jobs_for(found, output, format, seeds)
    for problem in found.problems:
        printer.problem(str(problem))
    if found.results:
        many = (
            f"{found.results} results of earlier runs are"
            if found.results > 1
            else "a result of an earlier run is"
        )
        say(f"note: {many} left out; name the files to restore them once more.", err=True)
    return jobs


def _run(batch: Batch, planned: list[Job], threads: int | None, printer: Printer, ray: str | None) -> None:
    problems = batch.check(planned)
    for outcome in problems.values():
        printer.print(outcome)
    left = [job for job in planned if job not in problems]
    if not left:
        return
    try:
        with Progress(len(left)) as progress:

            def report(outcome: Outcome) -> None:
                progress.add(outcome)
                with progress.paused():
                    printer.print(outcome)

            if ray is None:
                batch.run(left, report, progress.watch, threads)
            else:
                from ucdir.workflows.cluster import run_on_cluster

                done = run_on_cluster(batch, left, report, ray, threads)
        if ray is not None:
            say(f"ucdir: {done}.", err=True)
    except (KeyboardInterrupt, Signalled) as stop:
        batch.tidy(left)
        what = "Ctrl-C" if isinstance(stop, KeyboardInterrupt) else stop.name
        say(
            f"ucdir: stopped by {what}; what is finished stays, and the same command goes on with the rest.",
            err=True,
        )
        raise SystemExit(130 if isinstance(stop, KeyboardInterrupt) else stop.code) from None


# ------------------------------------------------------------------------------------------------------------- options


def _raw_size(text: str) -> str:
    from ucdir.images.raw import RAW_SIZES

    if text not in RAW_SIZES:
        raise ConfigError(f"--raw-size {text} is unknown; choose {' or '.join(RAW_SIZES)}.")
    return text


def _brighten(text: str) -> float | Literal["auto", "file"]:
    if text in {"auto", "file"}:
        return text  # type: ignore[return-value]
    try:
        ratio = float(text)
    except ValueError:
        ratio = 0.0
    low, high = SCALARS["exposure_ratio"].range
    if not low <= ratio <= high:
        raise ConfigError(
            f"--brighten {text} is neither a number from {low:g} to {high:g}, nor auto, nor file."
        )
    return ratio
