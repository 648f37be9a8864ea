"""Train and measure the rows of Table 4 with equal data, steps and seeds, row by row; resumes where it stopped."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from ucdir.ablations.rows import PAPER_GMACS, ROWS, ablated
from ucdir.config import Config
from ucdir.data.photos import find_photos
from ucdir.engines.devices import choose_device
from ucdir.errors import ConfigError, OutputError
from ucdir.evaluation import Settings, evaluate
from ucdir.evaluation.cases import Cases
from ucdir.evaluation.methods import Restorer
from ucdir.evaluation.store import folder_name
from ucdir.evaluation.table import bootstrap
from ucdir.images.atomic import atomic_write
from ucdir.model.cost import denoiser_cost
from ucdir.pipeline import load
from ucdir.tasks import task_of_strength
from ucdir.training.checks import check_settings
from ucdir.training.export import export
from ucdir.training.loop import train
from ucdir.training.model import new_model
from ucdir.training.objectives import random_batch
from ucdir.training.source import held_out_photos

logger = logging.getLogger(__name__)

TIMED_STEPS = 4
"""Steps of each row that are timed to estimate how long training takes, after one step of warm-up."""
METRICS = ("lpips", "psnr", "ssim")


@dataclass(frozen=True)
class RowResult:
    """A row of the table: means over the images, and the cost of one forward pass of f_θ at 256x256."""

    row: str
    lpips: float
    psnr: float
    ssim: float
    gmacs: float
    parameters: int
    steps: int
    images: int
    lpips_of: Mapping[str, float | None] = field(default_factory=dict)
    """By the image's name."""


def ablate(
    config: Config,
    output: Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    rows: Sequence[str] = tuple(ROWS),
    strength: float | None = None,
    images: int = 8,
    crop: int = 256,
) -> list[RowResult]:
    """Train every row and measure it on the photographs that training set aside.

    Args:
        config: the experiment; its model is changed row by row, and its number of steps is set here.
        output: folder; the same call resumes where it stopped.
        steps: optimizer steps of each row, or
        minutes: of training in all, from which the steps are estimated once, the same for all rows.
        rows: names in `ROWS`.
        strength: of the degradation to measure on; sampled for each image by default.
        images: how many of the photographs set aside are measured.
        crop: side in pixels of the centre of each that is measured.

    Raises:
        ConfigError: a row is unknown, not one of steps and minutes is given, or the folder holds another study.
        Everything that `train` and `evaluate` raise.
    """
    if (steps is None) == (minutes is None):
        raise ConfigError("ablation: give either steps or minutes.")
    if minutes is not None and not 0 < minutes < math.inf:  # nor NaN
        raise ConfigError(f"ablation: {minutes:g} minutes of training are no time; give a number above 0.")
    if config.data.photos is None or not (config.data.hold_out or config.data.hold_out_names):
        raise ConfigError("ablation: data.photos and a data.hold_out of at least 1 are needed to measure on.")
    if config.data.has_pairs:
        raise ConfigError("ablation: rows are measured on photographs; leave the pairs out of the data.")
    task_of_strength(config.task, strength)  # raises now if it is out of range
    if config.model.architecture == "release":
        raise ConfigError(
            "ablation: model.architecture release has no settings that rows could change; choose paper."
        )
    for row in rows:  # before hours are spent on the first of them
        check_settings(ablated(config, row), processes=1)
    measured = {"strength": strength, "images": images, "crop": crop}
    steps = _agreed_steps(config, output, steps, minutes, rows, measured)
    results = []
    for row in rows:
        folder = output / folder_name(row)
        found = _finished(folder, steps)
        if found is None:
            logger.info("row %s: %d steps", row, steps)
            found = _run(config, row, folder, output / "cache", steps, strength, images, crop)
            atomic_write([json.dumps(asdict(found), indent=1).encode()], folder / "result.json", force=True)
        results.append(found)
        atomic_write([as_markdown(results).encode()], output / "table.md", force=True)
    return results


def _run(
    config: Config,
    row: str,
    folder: Path,
    cache: Path,
    steps: int,
    strength: float | None,
    images: int,
    crop: int,
) -> RowResult:
    settings = config.training.model_copy(
        update={
            "steps": steps,
            "decay_steps": steps // 3,
            "warmup_steps": min(config.training.warmup_steps, steps // 10),
            "checkpoint_every": min(max(50, steps // 5), 250),
            "sample_every": steps,
        }
    )
    data = config.data.model_copy(update={"cache": cache})
    experiment = ablated(config, row).model_copy(update={"training": settings, "data": data})
    checkpoint = train(experiment, folder / "training")
    model = folder / "model"
    if not model.exists():
        export(checkpoint, model, torch.float32)
    names = held_out_photos(experiment, folder / "training")
    cases = Cases(config.task, config.data.photos, None, strength, None, images, crop, names)
    method = Restorer(row, load(model, "cpu", "fp32"), model)
    result = evaluate(Settings(cases, [method], folder / "evaluation", METRICS))
    (measured,), (values,) = result.rows, result.images.values()
    cost, parameters = denoiser_cost(experiment.model)
    means = (measured.means[name] for name in METRICS)
    lpips, psnr, ssim = (float("nan") if mean is None else mean for mean in means)
    lpips_of = {name: found["lpips"] for name, found in values.items()}
    return RowResult(row, lpips, psnr, ssim, cost / 1e9, parameters, steps, measured.images, lpips_of)


def _finished(folder: Path, steps: int) -> RowResult | None:
    try:
        found = RowResult(**json.loads((folder / "result.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.steps == steps and found.lpips_of else None


def _agreed_steps(
    config: Config,
    output: Path,
    steps: int | None,
    minutes: float | None,
    rows: Sequence[str],
    measured: Mapping[str, float | None],
) -> int:
    """The steps of every row: as given, or estimated the first time and stored, so that all rows are trained alike."""
    file = output / "study.json"
    photographs = [path.name for path in find_photos(Path(config.data.photos or ""))]
    stamp = {**config.model_dump(mode="json"), "measured": dict(measured)}
    try:
        output.mkdir(parents=True, exist_ok=True)
        study = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    except (OSError, ValueError) as error:
        raise OutputError(f"{file}: cannot be used ({error}); name another folder.") from None
    if study is not None:
        if study["config"] != stamp or steps not in (None, study["steps"]):
            raise ConfigError(
                f"{file}: was made by another configuration, measured otherwise, or for {study['steps']} steps; name "
                "another folder."
            )
        if study.get("photographs", photographs) != photographs:
            raise ConfigError(
                f"{file}: was begun with {len(study['photographs'])} other photographs than the {len(photographs)} of "
                "now, and rows are trained and measured alike; put those back, or name another folder."
            )
        return int(study["steps"])
    if steps is None:
        assert minutes is not None  # noqa: S101 (one of both is given)
        seconds = sum(seconds_a_step(ablated(config, row)) for row in rows)
        steps = max(1, int(60 * minutes / seconds))
        logger.info("%d rows take %.2f s for a step of each: %d steps", len(rows), seconds, steps)
    begun = {"config": stamp, "steps": steps, "photographs": photographs}
    atomic_write([json.dumps(begun, indent=1).encode()], file, force=True)
    return steps


def seconds_a_step(config: Config) -> float:
    """Time of a forward and backward pass of the experiment's objective on random images, on the training device."""
    device = choose_device("auto")
    model = new_model(config, device)
    batch = random_batch(config, device)
    began = 0.0
    for step in range(TIMED_STEPS + 1):
        if step == 1:
            began = time.perf_counter()
        losses: dict[str, torch.Tensor] = model({**batch, "step": torch.full_like(batch["step"], step)})
        loss = torch.stack([*losses.values()]).sum()
        torch.autograd.backward(loss)
        loss.item()  # waits for the device
    return (time.perf_counter() - began) / TIMED_STEPS


def as_markdown(results: Sequence[RowResult]) -> str:
    """The table, with the paper's values beside ours."""
    ours = next((one for one in results if one.row == "Ours"), None)
    lines = [
        "| row | LPIPS ↓ | LPIPS to Ours | PSNR ↑ | SSIM ↑ | GMACs | GMACs to Ours | parameters | paper: LPIPS (SID) "
        "| paper: GMACs to Ours |",
        "|---" * 10 + "|",
    ]
    for one in results:
        paper = ROWS[one.row]
        paper_lpips = "" if paper.paper_lpips is None else f"{paper.paper_lpips:.3f}"
        paper_ratio = "" if paper.paper_gmacs is None else f"{paper.paper_gmacs / PAPER_GMACS:.3f}"
        ratio = "" if ours is None else f"{one.gmacs / ours.gmacs:.3f}"
        difference = "" if ours is None or one is ours else paired(one, ours)
        lines.append(
            f"| {one.row} | {one.lpips:.4f} | {difference} | {one.psnr:.2f} | {one.ssim:.4f} | {one.gmacs:.2f} | "
            f"{ratio} | {one.parameters:,} | {paper_lpips} | {paper_ratio} |"
        )
    if results:
        lines += [
            "",
            f"{results[0].steps} steps each; {results[0].images} images. LPIPS to Ours: the mean difference on the "
            "same images and, in brackets, its 95 % confidence interval, which does not cover the seed of training.",
        ]
    return "\n".join(lines) + "\n"


def paired(one: RowResult, ours: RowResult) -> str:
    """LPIPS of a row minus that of Ours, image by image: mean and 95 % interval; empty if no image has both.

    One image has no interval.
    """
    pairs = [(value, ours.lpips_of.get(name)) for name, value in one.lpips_of.items()]
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    if not differences:
        return ""
    mean = f"{sum(differences) / len(differences):+.4f}"
    if len(differences) == 1:
        return mean
    low, high = bootstrap(differences)
    return f"{mean} ({low:+.4f} to {high:+.4f})"
