"""Training of initial predictor and diffusion model (Eq. 1, Sec. 4.2), on one device or many.

To resume, run the same command again: training continues from the last checkpoint and ends with the same weights as
if it had never stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ucdir.config import Config, TrainingConfig
from ucdir.data.crops import Batches, Crops
from ucdir.engines.devices import has_bf16
from ucdir.errors import ConfigError, UcdirError
from ucdir.training.averaging import WeightAverage
from ucdir.training.checks import check_settings
from ucdir.training.initial import start_from
from ucdir.training.model import TrainingModel, new_model
from ucdir.training.objectives import DRAWN
from ucdir.training.optimizers import OPTIMIZERS
from ucdir.training.processes import (
    check_same,
    new_accelerator,
    one_by_machine,
    others_may_be_lost,
    process_count,
)
from ucdir.training.progress import Progress
from ucdir.training.samples import held_out_samples, save_samples
from ucdir.training.source import open_source
from ucdir.training.state import (
    FILE_NAME,
    FREE,
    check_same_experiment,
    flat,
    load_state,
    read_metadata,
    save_state,
)
from ucdir.training.stop import Deadline, FiniteCheck, Interruption, init_worker

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

PLACE = {"step", "place"}
"""Entries of a batch that stay on the host: to read them from a GPU would be to wait for it."""


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Learning rate of step number `step` (from 0): warm-up, plateau, linear decay over `decay_steps`."""
    warm = min(1.0, (step + 1) / (config.warmup_steps + 1))
    remaining = config.steps - step
    decay = min(1.0, remaining / (config.decay_steps + 1)) if config.decay_steps else 1.0
    return config.learning_rate * warm * decay


def train(config: Config, output: Path, minutes: float | None = None) -> Path:
    """Train until `training.steps`, resuming from the checkpoint in `output` if there is one.

    Args:
        config: the experiment.
        output: folder for checkpoint, log, sample images and the decoded photos.
        minutes: at most so long, see `Deadline`; None for all steps.

    Returns:
        the path of the last checkpoint.

    Raises:
        ConfigError: settings do not fit each other, or the checkpoint is of another configuration.
        DataError, WeightsError, OutputError: see their messages.
        DeviceError: other processes of this training cannot be reached, or were lost.
        UcdirError: the loss became infinite or NaN, or accelerate is not installed.
        KeyboardInterrupt: after Ctrl-C; the finished steps are in the checkpoint, as after SIGTERM and SIGHUP.
    """
    settings = config.training
    deadline = Deadline(minutes, process_count())
    _check(config, checkpoint := output / FILE_NAME)
    accelerator = new_accelerator(settings.mixed_precision)
    is_main = accelerator.is_main_process
    task = config.make_task()
    with one_by_machine(accelerator):
        source, count, held_out = open_source(config, task, output)

    torch.manual_seed(config.seed)
    bare = new_model(config, accelerator.device)
    average = WeightAverage(bare, settings.ema_decay)
    optimizer = OPTIMIZERS[settings.optimizer](
        bare.named_parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    first_step = _resume(config, checkpoint, count, bare, average, optimizer)
    check_same(accelerator, _of_all(config, count, checkpoint, first_step))
    model = accelerator.prepare_model(bare)

    crops = Crops(
        source, config.data.crop, task.scalars, config.diffusion, config.seed, settings.batch_size,
        config.sampling.start_fraction, DRAWN.get(settings.objective),
    )  # fmt: skip
    loader = _loader(crops, config, first_step, accelerator)
    samples = held_out_samples(config, source, held_out) if is_main else []
    if is_main:
        _announce(accelerator, bare, count, len(held_out), first_step, settings)

    progress = Progress(
        settings.steps, first_step, output / "log.jsonl", enabled=is_main, mean=accelerator.reduce
    )
    finite = FiniteCheck()
    with others_may_be_lost(accelerator), progress, Interruption(listen=is_main) as interruption:
        for done, host_batch in enumerate(_batches(loader), start=first_step + 1):
            batch = {
                name: value if name in PLACE else value.to(accelerator.device, non_blocking=True)
                for name, value in host_batch.items()
            }
            rate = learning_rate(done - 1, settings) * deadline.factor
            optimizer.param_groups[0]["lr"] = rate

            # Eq. 1, or another objective
            with accelerator.autocast():
                losses = model(batch)
            loss = torch.stack([*losses.values()]).sum()
            accelerator.backward(loss)
            norms = {
                name: accelerator.clip_grad_norm_(part, settings.clip_norm)
                for name, part in bare.clipped_together().items()
            }
            optimizer.step()
            optimizer.zero_grad()
            average.update(bare, done)

            finite.add(done, loss + sum(norms.values()))
            progress.update(done, {**losses, **norms}, settings.batch_size, rate)
            last = done == settings.steps or interruption.requested or deadline.passed
            if is_main and samples and (done % settings.sample_every == 0 or done == settings.steps):
                finite.settle()
                progress.write(done, save_samples(config, output / "samples", average.weights, samples, done))
            if is_main and (done % settings.checkpoint_every == 0 or last):
                finite.settle()
                save_state(output, bare, average, optimizer, step=done, config=config, data=count)
            if interruption.requested:
                logger.warning("stopped after step %d, which is saved; run the same command to resume", done)
                interruption.end()
            if last:
                break
    accelerator.wait_for_everyone()
    return checkpoint


def _of_all(config: Config, count: str, checkpoint: Path, first_step: int) -> dict[str, object]:
    """What all processes must have found; paths of photos may be others on each machine."""
    settings = flat(config.model_dump(mode="json"))
    same = {key: value for key, value in settings.items() if key not in FREE or not key.startswith("data.")}
    return {**same, "training data": count, str(checkpoint): f"step {first_step}"}


def _announce(
    accelerator: Accelerator,
    model: nn.Module,
    chosen: str,
    held_out: int,
    first: int,
    settings: TrainingConfig,
) -> None:
    logger.info(
        "training on %d x %s: %s parameters, %s (%d more held out), steps %d to %d",
        accelerator.num_processes, accelerator.device, f"{sum(p.numel() for p in model.parameters()):,}",
        chosen, held_out, first, settings.steps,
    )  # fmt: skip
    if settings.warmup_steps > settings.steps:
        logger.warning(
            "training.warmup_steps %d is more than training.steps %d: the learning rate never becomes what is set",
            settings.warmup_steps, settings.steps,
        )  # fmt: skip
    if accelerator.mixed_precision == "bf16" and not has_bf16(accelerator.device):
        logger.warning(
            "%s has no arithmetic in bf16 and imitates it, many times slower: set training.mixed_precision to no",
            accelerator.device,
        )


def _check(config: Config, checkpoint: Path) -> None:
    """Refuse settings before photos are decoded, which may remove those of another experiment."""
    check_settings(config, process_count())
    if checkpoint.exists():
        found = read_metadata(checkpoint)
        check_same_experiment(checkpoint, found.config, config)
        if found.step > config.training.steps:
            raise ConfigError(
                f"training.steps {config.training.steps} is less than the {found.step} that {checkpoint} has done: "
                "raise it, or use another output folder."
            )


def _resume(
    config: Config,
    checkpoint: Path,
    count: str,
    model: TrainingModel,
    average: WeightAverage,
    optimizer: torch.optim.AdamW,
) -> int:
    """Load the checkpoint if there is one, else the initial weights; returns the number of steps done."""
    if not checkpoint.exists():
        settings = config.training
        if settings.initial is not None:
            start_from(
                settings.initial, settings.initial_networks, model,
                residual_scale=config.diffusion.residual_scale,
            )  # fmt: skip
            average.load(dict(model.named_parameters()))
        return 0
    before = read_metadata(checkpoint).data
    if before not in {"", count}:
        logger.warning(
            "there are %s now, and were %s before: what is held out now may have been trained on",
            count,
            before,
        )
    return load_state(checkpoint, model, average, optimizer)


def _loader(
    crops: Crops, config: Config, first_step: int, accelerator: Accelerator
) -> DataLoader[dict[str, Tensor]]:
    """This process's share of the batches of the remaining steps."""
    settings = config.training
    share = Batches(
        first_step, settings.steps, settings.batch_size, accelerator.process_index, accelerator.num_processes
    )
    return DataLoader(
        crops,
        batch_sampler=share,
        num_workers=settings.workers,
        pin_memory=accelerator.device.type == "cuda",
        worker_init_fn=init_worker,
    )


def _batches(loader: Iterable[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """Those of a loader, whose workers' errors say what they say here: PyTorch puts a traceback before it.

    Raises:
        UcdirError: a photograph cannot be read any more.
    """
    try:
        yield from loader
    except UcdirError as error:
        *_, text = str(error).rpartition(f"{type(error).__name__}: ")
        raise type(error)(text.strip()) from None
