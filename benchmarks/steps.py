"""Quality and time against the number of steps, for each way of sampling: LPIPS, PSNR, NIQE, seconds per image.

    python benchmarks/steps.py --task jpeg_restoration --clean FOLDER --strength 10 -o steps_jpeg [--steps 1 2 4 8 50]

Ways are named `sampler/start_fraction/eta/noise_scale` (`config.PipelineConfig`); `model` stands for the model's own.
The folder gets table.md and steps.png; the same command resumes where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure

from ucdir.config.pipeline import PipelineConfig
from ucdir.evaluation import Settings, evaluate
from ucdir.evaluation.cases import Cases
from ucdir.evaluation.methods import Method, Restorer
from ucdir.evaluation.table import Row, as_markdown, as_text
from ucdir.model.pretrained import model_folder
from ucdir.pipeline import RestorationPipeline, load
from ucdir.tasks import TASKS

METRICS = ("lpips", "psnr", "niqe")
WAYS = (
    "model",
    "ddim/0.3/1/1",
    "ddim/1/1/1",
    "ddim/1/0/1",
    "ddim/0.15/0/1",
    "dpm_solver++/0.3/0/1",
    "ddim/0.3/0/0",
)


@dataclass(frozen=True)
class Way:
    """One way of sampling, with some number of steps."""

    name: str
    steps: int
    method: Method


def ways_of(model: str, names: Sequence[str], steps: Sequence[int], device: str) -> list[Way]:
    """Every way with every number of steps."""
    pipeline, folder = load(model, device, "fp32"), model_folder(model)
    found = []
    for name in names:
        changed = pipeline if name == "model" else with_sampling(pipeline, name)
        for count in steps:
            row = f"{name.replace('/', ' ')}, {count} step{'s' if count > 1 else ''}"
            found.append(Way(name, count, Restorer(row, changed, folder, count)))
    return found


def with_sampling(pipeline: RestorationPipeline, name: str) -> RestorationPipeline:
    """The same networks, sampled from in another way."""
    sampler, *numbers = name.split("/")
    start_fraction, eta, noise_scale = map(float, numbers)
    sampling = {
        "sampler": sampler, "start_fraction": start_fraction, "eta": eta, "noise_scale": noise_scale,
    }  # fmt: skip
    config = PipelineConfig.model_validate({**pipeline.config.model_dump(), **sampling})
    return RestorationPipeline(pipeline.engine, config)


def plot(ways: Sequence[Way], rows: Sequence[Row], file: Path) -> None:
    """LPIPS and PSNR against the steps, a line for each way."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), ("lpips", "psnr"), strict=True):
        for name in dict.fromkeys(way.name for way in ways):
            points = [(w.steps, r.means[metric]) for w, r in zip(ways, rows, strict=True) if w.name == name]
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set(xscale="log", xlabel="steps", ylabel={"lpips": "LPIPS", "psnr": "PSNR in dB"}[metric])
        counts = sorted({way.steps for way in ways})
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(file, dpi=130, metadata={"Software": None})


def add_cases(parser: argparse.ArgumentParser) -> None:
    """The options that say what is measured on."""
    parser.add_argument("--task", choices=TASKS, default="jpeg_restoration")
    parser.add_argument("--clean", type=Path, help="folder of clean images")
    parser.add_argument("--pairs", type=Path, help="real pairs, in place of --clean")
    parser.add_argument("--strength", type=float)
    parser.add_argument("--held-out", type=int)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--crop", type=int)


def cases_of(given: argparse.Namespace) -> Cases:
    """What these options name."""
    return Cases(
        given.task, given.clean, given.pairs, given.strength, given.held_out, given.limit, given.crop
    )


def main() -> None:
    """Measure, print the table, write it and the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_cases(parser)
    parser.add_argument("--model", help="name or folder of a model; by default the task's")
    parser.add_argument("--ways", nargs="+", default=WAYS, metavar="SAMPLER/START_FRACTION/ETA/NOISE_SCALE")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 50])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    cases = cases_of(given)
    ways = ways_of(given.model or given.task, given.ways, given.steps, given.device)
    result = evaluate(Settings(cases, [way.method for way in ways], given.output, METRICS))
    print(f"{given.task}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for line in as_text(result.rows):
        print(line)
    settings = {
        "task": given.task,
        "strength": given.strength,
        "crop": given.crop,
        "torch": torch.__version__,
    }
    (given.output / "table.md").write_text(as_markdown(result.rows, settings), encoding="utf-8")
    plot(ways, result.rows, given.output / "steps.png")


if __name__ == "__main__":
    main()
