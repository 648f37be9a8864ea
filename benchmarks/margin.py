"""The paper's margin: a diffusion model against a regression baseline of the same networks, data and length.

    UCDIR_WEIGHTS=weights python benchmarks/margin.py --model MODEL --baseline MODEL --strength 10 -o margin \\
        --clean LIVE1 | --clean PHOTOS --held-out 16 --crop 512

Columns of the diffusion model's rows: each metric, and in brackets its ratio to the baseline's (of PSNR, the
difference). The folder keeps what was measured, so that the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from steps import add_cases, cases_of

from ucdir.evaluation import Settings, evaluate
from ucdir.evaluation.methods import Degraded, Method, Restorer
from ucdir.model.pretrained import model_folder
from ucdir.pipeline import load

METRICS = ("lpips", "frechet_alexnet", "psnr", "niqe")
DIGITS = {"lpips": 4, "frechet_alexnet": 2, "psnr": 2, "niqe": 2}


def methods(model: str, baseline: str, steps: list[int], device: str) -> list[Method]:
    """The degraded image, the baseline, the model's guidance, and the model at each number of steps."""
    pipeline, folder = load(model, device, "fp32"), model_folder(model)
    return [
        Degraded(),
        Restorer("regression baseline", load(baseline, device, "fp32"), model_folder(baseline)),
        Restorer("guidance", pipeline, folder, start_fraction=0),
        *(Restorer(f"{count} step{'s' * (count > 1)}", pipeline, folder, count) for count in steps),
    ]


def cell(metric: str, value: float | None, baseline: float | None) -> str:
    """A value and how it compares with the baseline's."""
    if value is None:
        return ""
    text = f"{value:.{DIGITS[metric]}f}"
    if baseline is None:
        return text
    return f"{text} ({value - baseline:+.2f})" if metric == "psnr" else f"{text} ({value / baseline:.2f})"


def main() -> None:
    """Measure what is missing, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_cases(parser)
    parser.add_argument("--model", required=True, help="name or folder")
    parser.add_argument("--baseline", required=True, help="trained with training.objective regression")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4, 8, 16, 25, 50])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    compared = methods(given.model, given.baseline, given.steps, given.device)
    rows = evaluate(Settings(cases_of(given), compared, given.output, METRICS)).rows
    print(f"| {rows[0].images} images | {' | '.join(METRICS)} |\n|{'---|' * (1 + len(METRICS))}")
    for row in rows:
        others = rows[1].means if row in rows[2:] else {}
        cells = (cell(metric, row.means[metric], others.get(metric)) for metric in METRICS)
        print(f"| {row.method} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
