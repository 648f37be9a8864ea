"""The core as a `DiffusionPipeline`: with the conventions of diffusers, and any of its schedulers as the sampler.

pipe = RestorationPipeline.from_pretrained("jpeg_restoration").to("cuda")
pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)
restored = pipe(image, num_inference_steps=8, generator=torch.Generator().manual_seed(0)).images[0]
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from pydantic import ValidationError

from ucdir.extras import missing, optional_module

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise missing("torch", "diffusers", "ucdir.diffusers") from error

import ucdir.pipeline as core
from ucdir.config.pipeline import PipelineConfig
from ucdir.diffusion.noise import NoiseByPlace
from ucdir.diffusion.samplers import start_sample
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.engines import Denoiser
from ucdir.engines.denoiser import check_finite
from ucdir.engines.torch_engine import TorchEngine
from ucdir.errors import ConfigError, WeightsError, reason
from ucdir.images.pixels import from_signal, to_signal
from ucdir.limits import MAX_SAMPLING_STEPS
from ucdir.model import folder as files
from ucdir.model.pretrained import model_folder
from ucdir.model.weights import load_networks, save_model
from ucdir.patches import TileRunner
from ucdir.section import problems
from ucdir.tasks.scalars import check_scalars

diffusers: Any = optional_module("diffusers", "diffusers", "ucdir.diffusers")

SCHEDULE: Final = {"sampler", "timesteps", "beta_start", "beta_end", "betas"}
"""Fields of `PipelineConfig` that a scheduler has in their place."""
OUTPUT_TYPES: Final = ("pil", "np", "pt")
_DIFFUSERS_SCHEDULE: Final = {"num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02}
"""Of a scheduler whose file does not say it."""

Scheduler = Any  # a `diffusers.SchedulerMixin`
OnStepEnd = Callable[["RestorationPipeline", int, int, dict[str, Tensor]], dict[str, Tensor]]
Generators = torch.Generator | Sequence[torch.Generator]


class RestorationPipeline(diffusers.DiffusionPipeline):  # type: ignore[misc]
    """Restores images of any size: initial predictor u_φ, diffusion model f_θ, and a scheduler of diffusers.

    Attributes:
        precision: what convolutions and matrix products of networks in float32 are calculated in, float32 or bfloat16.
        cuda_graphs: whether a GPU repeats forward passes as CUDA graphs where there are enough of them.
    """

    model_cpu_offload_seq = "predictor->diffusion_model"
    precision: torch.dtype = torch.float32
    cuda_graphs: bool = True

    def __init__(
        self,
        predictor: Any,  # an InitialPredictor or ReleasePredictor
        diffusion_model: Any,  # a DiffusionModel or ReleaseDiffusionModel
        scheduler: Scheduler,  # over all T steps
        task: str = "jpeg_restoration",  # this and the following: see `PipelineConfig`
        steps: int = 50,
        start_fraction: float = 1.0,
        eta: float = 1.0,
        noise_scale: float = 1.0,
        residual_scale: float = 1.0,
        residual_range: str = "image",
        spacing: str = "time",  # of the core's samplers; a scheduler has its own
    ) -> None:
        super().__init__()
        settings: dict[str, Any] = {
            "task": task, "steps": steps, "start_fraction": start_fraction, "eta": eta, "noise_scale": noise_scale,
            "residual_scale": residual_scale, "residual_range": residual_range, "spacing": spacing,
        }  # fmt: skip
        try:
            PipelineConfig(**settings)
        except ValidationError as error:
            raise ConfigError(f"{problems(error)}.") from None
        for network in (predictor, diffusion_model):
            network.eval().to(memory_format=torch.channels_last)
        self.register_modules(predictor=predictor, diffusion_model=diffusion_model, scheduler=scheduler)
        self.register_to_config(**settings)

    def __call__(
        self,
        image: Any,
        num_inference_steps: int | None = None,
        generator: Generators | None = None,
        *,
        seed: int | Sequence[int] = 0,
        scalars: Mapping[str, float | Sequence[float]] | None = None,
        strength: float | None = None,
        eta: float | None = None,
        fidelity: float = 0.0,
        amount: float | None = None,
        patch_size: int | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: OnStepEnd | None = None,
    ) -> Any:
        """Restore one image or several of the same size; see `ucdir.RestorationPipeline` for what is not named here.

        Args:
            image: one or more images of one size, see `ucdir.images.pixels.to_signal`; tensors are in [0,1].
            num_inference_steps: steps of the scheduler; by default what the model was made for.
            generator: a source of the seed, or one for each image, in place of `seed`.
            seed: one for all images, or one for each.
            scalars: what is known of the degradation, such as `{"jpeg_quality": 10}`: a number, or one for each image.
            strength: fraction of T that sampling starts from, the core's `start_fraction`.
            eta: share of the ancestral noise, for schedulers that have it; 0 is deterministic after the first noise.
            fidelity: share of the residual that is left out; 1 is the initial prediction, without the sampled detail.
            amount: how much of the restoration is applied; by default what the task says.
            patch_size: longest side of a patch in pixels; by default large images are split as memory allows.
            output_type: "pil", or float32 in [0,1] on the CPU: "np", an array [B,H,W,3], or "pt", a tensor [B,3,H,W].
            return_dict: whether to return an `ImagePipelineOutput` or a tuple.
            callback_on_step_end: called as (pipeline, step, timestep, {"sample": …}) after each step; what it returns
                under "sample" replaces the sample. It must leave the networks' weights as they are.

        Raises:
            ConfigError: an argument is out of range, or the scheduler is of another kind of diffusion.
            DeviceError: the device's memory does not hold a patch.
            ResultError: the networks gave numbers that are not finite.
        """
        config = self.config
        steps = config.steps if num_inference_steps is None else num_inference_steps
        strength = config.start_fraction if strength is None else strength
        eta = config.eta if eta is None else eta
        _check(output_type, steps, strength=strength, eta=eta, fidelity=fidelity)
        core.check_amount(amount)
        degraded = to_signal(image)
        batch, _, height, width = degraded.shape
        noise = NoiseByPlace(_seeds(generator, seed, batch), height, width)
        scheduler = late_start(self.scheduler, strength, steps) if strength else None
        engine = TorchEngine(
            self.predictor, self.diffusion_model, self._execution_device, self.precision, cuda_graphs=self.cuda_graphs
        )  # fmt: skip
        given = check_scalars(scalars or {}, engine.scalars, batch)
        tiles = TileRunner(engine, patch_size)

        with engine.session(steps):
            restored = tiles(engine.predict, degraded)  # Sec. 3.1: the initial guidance
            if scheduler is not None and fidelity < 1:
                denoise = Denoiser(
                    engine, tiles, degraded, restored, given, config.residual_scale, config.residual_range
                )
                # Eq. 1 backwards
                residual = self._sample(scheduler, denoise, noise, eta, callback_on_step_end)
                restored += residual.numpy() / np.float32(config.residual_scale / (1 - fidelity))
        self.maybe_free_model_hooks()
        check_finite(restored)
        restored = core.apply(restored, degraded, config.task, given, amount)
        like = {"pil": np.empty((1, 1, 1, 3), np.uint8), "np": np.empty((1, 1, 1, 3), np.float32)}
        images = from_signal(restored, like.get(output_type, torch.empty(1, 3, 1, 1)))
        images = [Image.fromarray(pixels) for pixels in images] if output_type == "pil" else images
        return diffusers.ImagePipelineOutput(images) if return_dict else (images,)

    def _sample(
        self,
        scheduler: Scheduler,
        denoise: Denoiser,
        noise: NoiseByPlace,
        eta: float,
        callback: OnStepEnd | None,
    ) -> Tensor:
        """The residual times its scale [B,3,H,W], by a scheduler that knows its steps."""
        levels = noise_levels(scheduler)
        sample = torch.from_numpy(start_sample(noise(0), levels[0], self.config.noise_scale))
        if float(scheduler.init_noise_sigma) != 1:  # samples of Euler and its kin are divided by √γ
            sample = sample / levels[0]
        for i, timestep in enumerate(self.progress_bar(list(scheduler.timesteps))):
            noisy = scheduler.scale_model_input(sample, timestep)
            residual = torch.from_numpy(denoise(noisy.numpy(), levels[i]))
            predicted_noise = (noisy - levels[i] * residual) / (1 - levels[i] ** 2) ** 0.5
            options = step_options(scheduler, noise, i + 1, eta)
            sample = scheduler.step(predicted_noise, timestep, sample, **options, return_dict=False)[0]
            if callback is not None:
                sample = callback(self, i, int(timestep), {"sample": sample}).get("sample", sample)
        return sample

    @classmethod
    def from_core(cls, pipeline: core.RestorationPipeline) -> RestorationPipeline:
        """The adapter of a pipeline of `ucdir.load`, around the same networks."""
        engine = pipeline.engine
        if not isinstance(engine, TorchEngine):
            raise ConfigError(
                f"{type(engine).__name__} has no networks of PyTorch; load the model for PyTorch."
            )
        kind, settings = files.scheduler_settings(pipeline.config)
        adapter = cls(
            engine.predictor, engine.diffusion_model, getattr(diffusers, kind)(**settings),
            **pipeline.config.model_dump(exclude=SCHEDULE),
        )  # fmt: skip
        adapter.precision, adapter.cuda_graphs = engine.precision, engine.cuda_graphs
        return adapter

    @classmethod
    def from_pretrained(
        cls, model: str | Path, dtype: torch.dtype | None = None, *, torch_dtype: torch.dtype | None = None
    ) -> RestorationPipeline:
        """Load a model of the package by its name, or one's own by its folder; nothing from the network.

        Args:
            model: a name of `ucdir.list_models()`, or a folder.
            dtype: of the networks; float32 by default.
            torch_dtype: the same, as earlier versions of diffusers spell it.

        Raises:
            WeightsError: there is no such model, or it is damaged.
        """
        folder = model_folder(model)
        release, kind, settings = files.read_settings(folder)
        scheduler = _load_scheduler(kind, folder / files.SCHEDULER_FILE)
        config = files.validated(PipelineConfig, settings, folder / files.INDEX_FILE)
        networks = load_networks(folder, release, dtype or torch_dtype)
        return cls(*networks, scheduler, **config.model_dump(exclude=SCHEDULE))

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write a model folder, which `from_pretrained` reads, and `ucdir.load` if the scheduler is one of ours.

        Raises:
            OutputError: it cannot be written.
        """
        config = PipelineConfig(**{k: self.config[k] for k in PipelineConfig.model_fields.keys() - SCHEDULE})
        scheduler = type(self.scheduler).__name__, json.loads(self.scheduler.to_json_string())
        save_model(Path(save_directory), self.predictor, self.diffusion_model, config, scheduler)


# -------------------------------------------------------------------------------------------------- schedulers


def schedule_of(scheduler: Scheduler) -> NoiseSchedule:
    """The noise schedule that a scheduler was made with.

    Raises:
        ConfigError: it is of another kind of diffusion than the networks.
    """
    config = scheduler.config
    has_betas = hasattr(scheduler, "alphas_cumprod") and {"beta_start", "trained_betas"} <= config.keys()
    if not has_betas or config.get("prediction_type", "epsilon") != "epsilon":
        raise ConfigError(
            f"scheduler: {type(scheduler).__name__} is not one of a noise schedule β and a predicted ε, as the model "
            "was trained for; choose another, made with from_config(pipe.scheduler.config)."
        )
    linear = config["beta_schedule"] == "linear" and config["trained_betas"] is None
    betas = None if linear else tuple(scheduler.betas.tolist())
    return NoiseSchedule(len(scheduler.betas), config["beta_start"], config["beta_end"], betas)


def late_start(scheduler: Scheduler, strength: float, steps: int) -> Scheduler:
    """A copy of a scheduler that is cut to its first `strength`·T steps and samples in so many of them.

    Raises:
        ConfigError: it has fewer steps, or is of another kind of diffusion than the networks.
    """
    cut = schedule_of(scheduler).late_start(strength)
    if steps > cut.timesteps:
        raise ConfigError(
            f"num_inference_steps {steps} is more than the {cut.timesteps} below strength {strength}."
        )
    copy = type(scheduler).from_config(
        scheduler.config, num_train_timesteps=cut.timesteps, beta_start=cut.beta_start, beta_end=cut.beta_end,
        trained_betas=cut.betas,
    )  # fmt: skip
    copy.set_timesteps(steps)
    return copy


def noise_levels(scheduler: Scheduler) -> list[float]:
    """√γ at each of a scheduler's steps, after `set_timesteps`."""
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None:  # σ² = (1-γ)/γ, exact also where a solver's steps lie between the trained ones
        return [(1 + float(sigma) ** 2) ** -0.5 for sigma in sigmas[: len(scheduler.timesteps)]]
    levels = schedule_of(scheduler).levels()  # the scheduler's own are in float32
    return [float(levels[int(t) + 1]) for t in scheduler.timesteps]


def step_options(scheduler: Scheduler, noise: NoiseByPlace, step: int, eta: float) -> dict[str, Any]:
    """What a scheduler's step takes of: eta, noise by place, or else generators keyed by (seed, step)."""
    known = inspect.signature(scheduler.step).parameters
    options: dict[str, Any] = {"eta": eta} if "eta" in known else {}
    if "variance_noise" in known:
        sde = str(scheduler.config.get("algorithm_type")).startswith("sde")
        if eta > 0 if "eta" in known else sde:
            options["variance_noise"] = torch.from_numpy(noise(step))
    elif "generator" in known:
        states = [np.random.SeedSequence((seed, step)).generate_state(1, np.uint64) for seed in noise.seeds]
        options["generator"] = [torch.Generator().manual_seed(int(state[0])) for state in states]
    return options


def _load_scheduler(kind: str, file: Path) -> Scheduler:
    class_: Any = getattr(diffusers, kind, None)
    settings = files.read_json(file)
    is_scheduler = inspect.isclass(class_) and issubclass(class_, diffusers.SchedulerMixin)
    if not is_scheduler:
        raise WeightsError(f"{file}: {kind!r:.80} is not a scheduler of the installed diffusers.")
    schedule = {key: settings[key] for key in files.SchedulerConfig.model_fields if key in settings}
    if schedule:  # sizes are checked before memory is taken
        files.validated(files.SchedulerConfig, {**_DIFFUSERS_SCHEDULE, **schedule}, file)
    try:
        scheduler = class_.from_config(settings)
        _try_out(scheduler)
    except (ValueError, TypeError, RuntimeError, LookupError, AttributeError, ArithmeticError) as error:
        raise WeightsError(
            f"{file}: {kind} cannot be made of it ({reason(error)}); {files.COPY_AGAIN}"
        ) from error
    return scheduler


def _try_out(scheduler: Scheduler) -> None:
    """Sample with a scheduler: many settings that it does not check when it is made end in an error then."""
    try:
        schedule = schedule_of(scheduler)
    except ConfigError:
        return  # of another kind, which is said when it is used
    copy, sample = late_start(scheduler, 1.0, min(2, schedule.timesteps)), torch.zeros(1, 3, 2, 2)
    for timestep in copy.timesteps:
        noisy = copy.scale_model_input(sample, timestep)
        sample = copy.step(torch.zeros_like(noisy), timestep, sample, return_dict=False)[0]


# -------------------------------------------------------------------------------------------------- arguments


def _check(output_type: str, steps: int, **fractions: float) -> None:
    if output_type not in OUTPUT_TYPES:
        raise ConfigError(f"output_type {output_type!r} is unknown; choose one of {', '.join(OUTPUT_TYPES)}.")
    if not core.is_whole(steps) or not 1 <= steps <= MAX_SAMPLING_STEPS:
        raise ConfigError(
            f"num_inference_steps {steps!r} is not a whole number from 1 to {MAX_SAMPLING_STEPS}."
        )
    for name, value in fractions.items():
        if not core.is_share(value):
            raise ConfigError(f"{name} {value!r} is not a number from 0 to 1.")


def _seeds(generator: Generators | None, seed: int | Sequence[int], batch: int) -> list[int]:
    """The seed of each image, as given or drawn from its generator."""
    if generator is None:
        return core.seeds_of(seed, batch)
    generators = [generator] * batch if isinstance(generator, torch.Generator) else list(generator)
    if len(generators) != batch:
        raise ConfigError(
            f"generator: found {len(generators)} generators for {batch} images; give one, or one for each."
        )
    return [int(torch.randint(2**63 - 1, (), generator=g, device=g.device)) for g in generators]
