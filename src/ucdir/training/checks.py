"""Checks before training starts; every problem is named in one message."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Collection

from ucdir.config import Config
from ucdir.diffusion.loss import LOSSES, PREDICTOR_LOSSES, PREDICTOR_TRAINING, WEIGHTINGS
from ucdir.diffusion.path import PATHS
from ucdir.diffusion.samplers import SAMPLERS, adds_noise
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.errors import ConfigError
from ucdir.metrics.lpips import MIN_SIDE
from ucdir.model.framework import model_problems
from ucdir.tasks import TASKS
from ucdir.tasks.scalars import DIALS
from ucdir.training.adversarial import FEATURES
from ucdir.training.objectives import OBJECTIVES
from ucdir.training.optimizers import OPTIMIZERS
from ucdir.training.sampler_aware import MAX_SHIFT

COMPILERS = ("g++", "clang++", "c++", "cl", "gcc")
"""Programs that torch.compile may use."""

LEAST_SIGNAL = 1e-6
"""√γ that a residual can still be told from its noise at, in float32; the paper's schedule ends at 7e-3."""

SAMPLED = ("sampler_aware", "energy_score")
"""Objectives that take the sampler's steps, and its settings with them."""


def check_settings(config: Config, processes: int) -> None:
    """Refuse unknown names, and settings that do not fit each other.

    Raises:
        ConfigError: naming every problem.
    """
    names: list[tuple[str, str, Collection[str]]] = [
        ("diffusion.loss", config.diffusion.loss, LOSSES),
        ("diffusion.weighting", config.diffusion.weighting, WEIGHTINGS),
        ("diffusion.path", config.diffusion.path, PATHS),
        ("diffusion.predictor_training", config.diffusion.predictor_training, PREDICTOR_TRAINING),
        ("diffusion.predictor_loss", config.diffusion.predictor_loss, PREDICTOR_LOSSES),
        ("sampling.sampler", config.sampling.sampler, SAMPLERS),
        ("training.objective", config.training.objective, OBJECTIVES),
        ("training.optimizer", config.training.optimizer, OPTIMIZERS),
    ]
    problems = model_problems(config.model) + [
        f"{key} {name!r} is unknown; choose one of {', '.join(known)}"
        for key, name, known in names
        if name not in known
    ]
    of_task, of_model = TASKS[config.task].scalars, config.model.diffusion_model.scalars
    released = config.model.architecture == "release"  # which takes none
    if set(of_task) != set(of_model) - set(DIALS) and not released:
        problems.append(
            f"model.diffusion_model.scalars {list(of_model)} are not those of task {config.task}, {list(of_task)}"
        )
    if ("diversity" in of_model) != (config.training.objective == "energy_score"):
        problems.append(
            "model.diffusion_model.scalars needs diversity for training.objective energy_score, and for no other "
            f"(found {list(of_model)} and {config.training.objective})"
        )
    networks = (config.model.predictor, config.model.diffusion_model)
    grid = math.lcm(*(part.unshuffle * 2 ** (len(part.multipliers) - 1) for part in networks))
    if config.data.crop % grid:
        problems.append(
            f"data.crop {config.data.crop} is not a multiple of the model's coarsest pixel, {grid}"
        )
    if config.data.frames is not None and config.task != "deblurring":
        problems.append(f"data.frames are for deblurring, not for {config.task}: leave them out")
    problems += _diffusion_problems(config)
    sampling = config.pipeline
    below = NoiseSchedule.of(config.diffusion).steps_below(sampling.start_fraction)
    if sampling.steps > below:
        problems.append(
            f"sampling.steps {sampling.steps} is more than the {below} steps below sampling.start_fraction"
        )
    if config.training.objective == "predictor" and config.training.freeze_predictor:
        problems.append(
            "training.objective predictor trains nothing with training.freeze_predictor: set it to false"
        )
    if config.training.objective in SAMPLED:
        problems += _sampler_aware_problems(config)
    if config.training.adversarial_weight:
        problems += _adversarial_problems(config)
    if config.training.compile and not any(map(shutil.which, (os.environ.get("CXX") or "g++", *COMPILERS))):
        problems.append("training.compile needs a C++ compiler and none is installed: set it to false")
    steps, decay = config.training.steps, config.training.decay_steps
    if decay > steps:
        problems.append(
            f"training.decay_steps {decay} is more than training.steps {steps}: lower it, or 0 for a constant rate"
        )
    batch = config.training.batch_size
    if batch % processes:
        problems.append(f"training.batch_size {batch} is not a multiple of the {processes} processes")
    if problems:
        raise ConfigError("; ".join(problems) + ".")


def _diffusion_problems(config: Config) -> list[str]:
    model, sampling, problems = config.model.diffusion_model, config.sampling, []
    start = NoiseSchedule.of(config.diffusion).sampling_levels(1, sampling.start_fraction)[0]
    if start < LEAST_SIGNAL:
        problems.append(
            f"sampling begins where nothing is left of the residual (√γ {start:.1g}): lower sampling.start_fraction, "
            "diffusion.beta_end or diffusion.timesteps"
        )
    if config.diffusion.weighting == "edm" and model.sigma_data == 0:
        problems.append(
            "diffusion.weighting edm divides by model.diffusion_model.sigma_data: choose one above 0"
        )
    if config.diffusion.path != "straight":
        return problems
    if model.prediction != "residual":
        problems.append(
            f"diffusion.path straight needs model.diffusion_model.prediction residual (found {model.prediction})"
        )
    if sampling.eta and sampling.sampler in SAMPLERS and adds_noise(sampling.sampler):
        problems.append(
            "diffusion.path straight is sampled without adding noise: choose sampling.sampler euler, or "
            f"sampling.eta 0 (found {sampling.sampler} and {sampling.eta:g})"
        )
    if sampling.noise_scale != 1:
        problems.append(
            f"diffusion.path straight begins with all of the noise: choose sampling.noise_scale 1 (found "
            f"{sampling.noise_scale:g})"
        )
    return problems


def _adversarial_problems(config: Config) -> list[str]:
    training, problems = config.training, []
    if training.adversarial_features not in FEATURES:
        problems.append(
            f"training.adversarial_features {training.adversarial_features!r} is unknown; choose one of "
            f"{', '.join(FEATURES)}"
        )
    if training.objective not in SAMPLED:
        problems.append(
            f"training.adversarial_weight is for the objectives sampler_aware and energy_score (found "
            f"{training.objective}): set it to 0"
        )
    if training.adversarial_features == "predictor" and config.model.architecture == "release":
        problems.append("training.adversarial_features predictor is not of the release: choose alexnet")
    if training.adversarial_features == "alexnet" and config.data.crop < MIN_SIDE:
        problems.append(f"data.crop {config.data.crop} is too small for AlexNet, which needs {MIN_SIDE}")
    if not training.freeze_predictor:
        problems.append(
            "training.adversarial_weight needs a predictor that stays as it is: set training.freeze_predictor to true"
        )
    return problems


def _sampler_aware_problems(config: Config) -> list[str]:
    training, sampling, problems = config.training, config.sampling, []
    if training.initial is None:
        problems.append(
            f"training.objective {training.objective} fine-tunes a trained model: name it in training.initial"
        )
    if sampling.eta and sampling.sampler in SAMPLERS and adds_noise(sampling.sampler):
        problems.append(
            f"training.objective {training.objective} needs a deterministic sampler: choose sampling.sampler ddim and "
            f"sampling.eta 0 (found {sampling.sampler} and {sampling.eta:g})"
        )
    smallest = MIN_SIDE + MAX_SHIFT
    if training.perceptual_weight and config.data.crop < smallest:
        problems.append(f"data.crop {config.data.crop} is too small for LPIPS, which needs {smallest}")
    return problems
