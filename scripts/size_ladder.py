"""The size ladder: networks of several widths and depths, each trained for the same time, then measured.

    UCDIR_WEIGHTS=weights python scripts/size_ladder.py CONFIG --minutes 30 --clean LIVE1 --strength 10 -o ladder

Each rung is the experiment CONFIG with other networks, trained from fresh weights in a folder of its own (`ucdir train
--minutes`, the learning rate falling over the second half), so that a rung that is finished is not trained again. The
time is that of a clock: leave the machine alone meanwhile. Seconds of a megapixel are the least of several rounds in
which the rungs take turns, forward passes of both networks in float32, on one thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ucdir.config import load_config, parse_config
from ucdir.config.presets import over
from ucdir.evaluation import Settings, evaluate
from ucdir.evaluation.cases import Cases
from ucdir.evaluation.methods import Restorer
from ucdir.model.cost import macs, parameters
from ucdir.model.framework import build
from ucdir.pipeline import RestorationPipeline, load

METRICS = ("lpips", "psnr")
AT_4 = {"unshuffle": 4, "multipliers": [1, 2, 4], "blocks": [2, 2, 2]}
DEEP_AT_4 = {"unshuffle": 4, "multipliers": [1, 2], "blocks": [4, 4]}
RUNGS: dict[str, dict[str, Any]] = {
    "24, 32": {"predictor": {"channels": 24}, "diffusion_model": {"channels": 32}},
    "32, 48": {"predictor": {"channels": 32}, "diffusion_model": {"channels": 48}},
    "48, 64": {"predictor": {"channels": 48}, "diffusion_model": {"channels": 64}},
    "64, 96": {"predictor": {"channels": 64}, "diffusion_model": {"channels": 96}},
    "64, 64 on 4x4": {
        "predictor": {"channels": 64, **AT_4},
        "diffusion_model": {"channels": 64, **AT_4},
    },
    "64, 96 on 4x4": {
        "predictor": {"channels": 64, **DEEP_AT_4},
        "diffusion_model": {"channels": 96, **DEEP_AT_4},
    },
}
"""Channels of predictor and diffusion model; on 2x2 pixels folded into channels unless it says otherwise."""
SIDE = 512


def trained(config: Path, name: str, minutes: float, output: Path) -> Path:
    """The folder of a rung's model, trained if it is not there."""
    folder = output / name.replace(", ", "_").replace(" ", "_")
    model = folder / "model"
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        settings = over(load_config(config).model_dump(mode="json"), {"model": RUNGS[name]})
        parse_config(settings, name)
        experiment = folder / "experiment.yaml"
        experiment.write_text(json.dumps(settings))  # JSON is YAML, without aliases
        run: list[str | Path] = [
            "train",
            experiment,
            "-o",
            folder / "run",
            "--minutes",
            str(minutes),
            "--export",
            model,
        ]
        subprocess.run([sys.executable, "-m", "ucdir.cli", *run], check=True)
    return model


def seconds(pipelines: dict[str, RestorationPipeline], rounds: int) -> dict[str, float]:
    """Of a megapixel, one step."""
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    least = dict.fromkeys(pipelines, float("inf"))
    for _ in range(rounds):
        for name, pipeline in pipelines.items():
            began = time.perf_counter()
            pipeline(image, steps=1)
            least[name] = min(least[name], time.perf_counter() - began)
    return {name: spent * 1e6 / SIDE**2 for name, spent in least.items()}


def main() -> None:
    """Train what is missing, measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--minutes", type=float, required=True, help="of each rung")
    parser.add_argument("--rungs", nargs="+", choices=RUNGS, default=list(RUNGS), metavar="RUNG")
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--strength", type=float)
    parser.add_argument("--crop", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    folders = {name: trained(given.config, name, given.minutes, given.output) for name in given.rungs}
    task = load_config(given.config).task
    pipelines = {name: load(folder, "cpu", "fp32") for name, folder in folders.items()}
    cases = Cases(task, given.clean, strength=given.strength, crop=given.crop)
    methods = [Restorer(name, pipelines[name], folder) for name, folder in folders.items()]
    rows = evaluate(Settings(cases, methods, given.output / "evaluation", METRICS)).rows
    taken = seconds(pipelines, given.rounds)
    print(f"{task}, {given.minutes:g} minutes a rung, {rows[0].images} images, torch {torch.__version__}")
    print("| channels | parameters, million | GMACs, 256x256 | steps | LPIPS ↓ | PSNR ↑ | s a megapixel |")
    print("|---|---|---|---|---|---|---|")
    for name, row in zip(folders, rows, strict=True):
        run = folders[name].parent
        with torch.device("meta"):
            networks = build(load_config(run / "experiment.yaml").model)
        size, cost = sum(map(parameters, networks)), sum(macs(network, 256) for network in networks)
        log = run / "run" / "log.jsonl"
        steps = json.loads(log.read_text().splitlines()[-1])["step"] if log.exists() else "few"
        numbers = f"{row.means['lpips']:.4f} | {row.means['psnr']:.2f} | {taken[name]:.2f}"
        print(f"| {name} | {size / 1e6:.1f} | {cost / 1e9:.1f} | {steps} | {numbers} |")


if __name__ == "__main__":
    main()
