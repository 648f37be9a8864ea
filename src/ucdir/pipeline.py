"""The way of one image: initial prediction, residual drawn by diffusion, sum (Fig. 1 left)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, SchedulerMixin
from torch import Tensor

from ucdir.config import Config
from ucdir.config.pipeline import PipelineConfig
from ucdir.diffusion import samplers
from ucdir.diffusion.loss import RESIDUAL_RANGES, predicted_residual
from ucdir.diffusion.noise import generator_by_step, noise_by_place
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.engines.cuda_graphs import CudaGraphRunner, should_capture
from ucdir.errors import ConfigError, WeightsError
from ucdir.inputs import OUTPUT_TYPES, from_tensor, is_whole, sample_seeds, to_tensor
from ucdir.limits import MAX_SAMPLING_STEPS
from ucdir.model.akgm.dispatch import cached_casts
from ucdir.model.diffusion_model import DiffusionModel
from ucdir.model.predictor import InitialPredictor
from ucdir.model.release import ReleaseDiffusionModel, ReleasePredictor
from ucdir.model.weights import load_model, save_model
from ucdir.patches import PatchSize, apply_in_patches, smallest_patch
from ucdir.tasks import TASKS

WHOLE_PIXELS = 1_400_000
"""Images of up to so many pixels are not split, unless a patch size is given."""
PATCH_SIZE = 896
"""Side in pixels of the patches of larger images; smaller for a batch, whose images are evaluated together."""


class Pipeline(DiffusionPipeline):  # type: ignore[misc]
    """Restores images of any size: initial predictor u_φ, diffusion model f_θ, and a scheduler of diffusers.

    Save it with `save_pretrained(folder)` and load it with `Pipeline.from_pretrained(folder)`.
    """

    model_cpu_offload_seq = "predictor->diffusion_model"
    precision: torch.dtype = torch.float32
    """What convolutions and matrix products of networks in float32 are calculated in: float32 or bfloat16."""
    cuda_graphs: bool = True
    """Whether a GPU repeats steps as CUDA graphs where there are enough of them (`model.cuda_graphs`)."""

    def __init__(
        self,
        predictor: InitialPredictor | ReleasePredictor,
        diffusion_model: DiffusionModel | ReleaseDiffusionModel,
        scheduler: SchedulerMixin,  # over all T steps
        residual_scale: float = 1.0,  # the residual was multiplied by it before it was diffused
        start: float = 1.0,  # fraction of T that sampling starts from
        default_steps: int = 50,  # evaluations of the diffusion model
        eta: float = 1.0,  # share of the ancestral noise (DDIM)
        noise: float = 1.0,  # share of the noise that sampling starts from
        residual_range: str = "image",  # a name in diffusion.loss.RESIDUAL_RANGES
        task: str = "jpeg_restoration",  # a name in tasks.TASKS
    ) -> None:
        super().__init__()
        _check(default_steps, start, eta)
        if not 0 < residual_scale < float("inf"):
            raise ConfigError(f"residual_scale {residual_scale} is not a positive number.")
        if residual_range not in RESIDUAL_RANGES:
            raise ConfigError(
                f"residual_range {residual_range!r} is unknown; choose one of {', '.join(RESIDUAL_RANGES)}."
            )
        for network in (predictor, diffusion_model):
            network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_modules(predictor=predictor, diffusion_model=diffusion_model, scheduler=scheduler)
        self.register_to_config(
            residual_scale=residual_scale,
            start=start,
            default_steps=default_steps,
            eta=eta,
            noise=noise,
            residual_range=residual_range,
            task=task,
        )

    @torch.no_grad()
    def __call__(
        self,
        image: Any,
        num_inference_steps: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        *,
        seed: int = 0,
        scalars: Mapping[str, float | Sequence[float]] | None = None,
        start: float | None = None,
        eta: float | None = None,
        fidelity: float = 0.0,
        patch_size: int | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[Pipeline, int, int, dict[str, Tensor]], dict[str, Tensor]]
        | None = None,
    ) -> ImagePipelineOutput | tuple[Any]:
        """Restore one image or several of the same size.

        Args:
            image: a PIL image, an array [H,W,3] or [B,H,W,3] in [0,1] or uint8, a tensor [3,H,W] or [B,3,H,W] in
                [-1,1], or a list of one kind.
            num_inference_steps: evaluations of the diffusion model; by default what the model was made for.
            generator: a source of the seed (or one for each image), in place of `seed`.
            seed: the same seed gives the same picture, whatever the patch size, the batch, or the machine's threads.
            scalars: what is known of the damage, such as `{"jpeg_quality": 10}`: a number, or one for each image.
            start: fraction of T that sampling starts from; 0 gives the initial prediction alone.
            eta: share of the ancestral noise, for schedulers that have it; 0 is deterministic after the first noise.
            fidelity: share of the residual that is left out; 1 is the initial prediction, without the drawn detail.
            patch_size: longest side of a patch in pixels; by default large images are split as memory allows.
            output_type: "pil", "np" ([B,H,W,3] in [0,1]) or "pt" ([B,3,H,W] in [-1,1], not rounded).
            return_dict: whether to return an `ImagePipelineOutput` or a tuple.
            callback_on_step_end: called as (pipeline, step, timestep, {"sample": …}) after each step; what it returns
                under "sample" replaces the sample. It must leave the networks' weights as they are.

        Returns:
            the restored images.

        Raises:
            ConfigError: an argument is out of range.
            DeviceError: the device's memory does not hold a patch.
        """
        if output_type not in OUTPUT_TYPES:  # told now rather than after the work
            raise ConfigError(
                f"output_type {output_type!r} is unknown; choose one of {', '.join(OUTPUT_TYPES)}."
            )
        degraded = to_tensor(image)
        steps = self.config.default_steps if num_inference_steps is None else num_inference_steps
        start = self.config.start if start is None else start
        eta = self.config.eta if eta is None else eta
        _check(steps, start, eta)
        if not 0 <= fidelity <= 1:
            raise ConfigError(f"fidelity {fidelity} is not a number from 0 to 1.")
        seeds = sample_seeds(generator, seed, len(degraded))
        known = self._known_scalars(scalars or {}, len(degraded))

        patches = PatchSize(patch_size)

        with cached_casts(self._execution_device.type):
            # Sec. 3.1: the initial guidance
            guidance = self._in_patches(self.predictor, patches, self.predictor, degraded)

            # Eq. 1 backwards: the residual of the guidance, from noise
            if start > 0 and fidelity < 1:
                residual = self._residual(
                    degraded, guidance, known, seeds, steps, start, eta, patches, callback_on_step_end
                )
                guidance += residual.mul_(1 - fidelity)
        images = from_tensor(guidance.clamp_(-1, 1), output_type)
        return ImagePipelineOutput(images) if return_dict else (images,)

    def _residual(
        self,
        degraded: Tensor,
        guidance: Tensor,
        scalars: Mapping[str, Tensor],
        seeds: Sequence[int],
        steps: int,
        start: float,
        eta: float,
        patch_size: PatchSize,
        callback: Callable[..., dict[str, Tensor]] | None,
    ) -> Tensor:
        """Draw y - u_φ(x): [B,3,H,W] on the CPU."""
        scheduler = samplers.late_start(self.scheduler, start)
        most = int(scheduler.config.num_train_timesteps)
        if steps > most:
            raise ConfigError(
                f"num_inference_steps {steps} is more than the {most} steps below start {start}."
            )
        scheduler.set_timesteps(steps)
        levels = samplers.noise_levels(scheduler)
        network: Any = self.diffusion_model
        if self.cuda_graphs and should_capture(network, self._execution_device, steps):
            network = CudaGraphRunner(network)
        draw = partial(_noise, seeds, degraded.shape[-1])
        sample = samplers.start_sample(scheduler, draw(0, 0, degraded.shape[-2]).mul_(self.config.noise))
        for i, timestep in enumerate(self.progress_bar(list(scheduler.timesteps))):
            evaluate = partial(self._predicted_noise, network, level=levels[i], scalars=scalars)
            scaled = scheduler.scale_model_input(sample, timestep)
            # Sec. 3.3: every step is split into patches
            noise = self._in_patches(self.diffusion_model, patch_size, evaluate, scaled, degraded, guidance)
            sample = samplers.step(
                scheduler, noise, timestep, sample, eta=eta, draw=partial(draw, i + 1),
                generator=[generator_by_step(seed, i + 1) for seed in seeds],
            )  # fmt: skip
            del scaled, noise  # whole images: no longer there when the next ones are made
            if callback is not None:
                # a copy, as the next step overwrites it, and what a callback was shown stays
                sample = callback(self, i, int(timestep), {"sample": sample}).get("sample", sample).clone()
        return sample.div_(self.config.residual_scale)

    def _predicted_noise(
        self,
        network: Callable[..., Tensor],
        noisy: Tensor,
        degraded: Tensor,
        guidance: Tensor,
        *,
        level: float,
        scalars: Mapping[str, Tensor],
    ) -> Tensor:
        """f_θ on one patch, its noise corrected so that the restored image stays within [-1,1]."""
        root_gamma = torch.full((len(noisy),), level, device=noisy.device)
        noise = network(noisy, degraded, guidance, root_gamma, scalars).float()
        scale = float(self.config.residual_scale)
        _, corrected = predicted_residual(
            noisy.float(), noise, guidance.float(), level, scale, str(self.config.residual_range)
        )
        return corrected

    def _in_patches(
        self, network: Any, patch_size: PatchSize, function: Callable[..., Tensor], *images: Tensor
    ) -> Tensor:
        """Evaluate a network on images that stay on the CPU, patch by patch on its own device: float32 [B,3,H,W]."""
        device, dtype = self._execution_device, network.dtype
        reduced = self.precision != torch.float32

        def evaluate(*patches: Tensor) -> Tensor:
            with torch.autocast(device.type, self.precision if reduced else None, enabled=reduced):
                return function(*(p.to(device, dtype) for p in patches)).float().cpu()

        def split(size: int) -> Tensor:
            return apply_in_patches(
                evaluate, images, patch_size=size,
                receptive_field=network.receptive_field, multiple_of=network.multiple_of,
            )  # fmt: skip

        smallest = smallest_patch(network.receptive_field, network.multiple_of)
        return patch_size.run(split, _automatic_patch_size(images[0].shape, network), smallest, device)

    def understood(self, scalars: Mapping[str, float]) -> dict[str, float]:
        """Those of the scalars that this model knows; naming others in a call is an error."""
        return {name: value for name, value in scalars.items() if name in self.diffusion_model.scalar_names}

    def _known_scalars(self, scalars: Mapping[str, Any], batch: int) -> dict[str, Tensor]:
        names = self.diffusion_model.scalar_names
        unknown = sorted(set(scalars) - set(names))
        if unknown:
            raise ConfigError(
                f"scalars: this model knows nothing of {', '.join(unknown)}; it takes {', '.join(names) or 'none'}."
            )
        known = {}
        for name, value in scalars.items():
            try:
                numbers = torch.as_tensor(value, dtype=torch.float32, device=self._execution_device).reshape(
                    -1
                )
            except (TypeError, ValueError, RuntimeError) as error:
                raise ConfigError(f"scalars: {name} {value!r:.80} is no number.") from error
            if len(numbers) not in (1, batch):
                raise ConfigError(
                    f"scalars: {name} has {len(numbers)} values for {batch} images; give one or {batch}."
                )
            known[name] = numbers.expand(batch)
        return known

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype | None = None) -> Pipeline:
        """Load a folder that `save_pretrained` wrote: safetensors only, nothing from the network.

        Args:
            folder: as `save_pretrained` laid it out.
            dtype: of the networks; float32 by default.

        Raises:
            WeightsError: the folder is not a pipeline of ucdir, or is damaged.
        """
        predictor, diffusion_model, config = load_model(folder, dtype)
        if config.task not in TASKS:
            raise WeightsError(
                f"{folder}: its task {config.task!r:.80} is unknown; copy the model's folder again."
            )
        schedule = NoiseSchedule(config.timesteps, config.beta_start, config.beta_end)
        scheduler = samplers.make_scheduler(config.sampler, schedule)
        if config.betas is not None:
            scheduler = type(scheduler).from_config(scheduler.config, trained_betas=list(config.betas))
        return cls(
            predictor, diffusion_model, scheduler, residual_scale=config.residual_scale, start=config.start_fraction,
            default_steps=config.steps, eta=config.eta, noise=config.noise_scale, task=config.task,
            residual_range=config.residual_range,
        )  # fmt: skip

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that `from_pretrained` loads; it appears whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        ours, trained = self.config, self.scheduler.config
        solver = type(self.scheduler).__name__ != "DDIMScheduler"
        config = PipelineConfig(
            task=ours.task, sampler="dpm_solver++" if solver else "ddim", steps=ours.default_steps,
            start_fraction=ours.start, eta=ours.eta, noise_scale=ours.noise, residual_scale=ours.residual_scale,
            residual_range=ours.residual_range, timesteps=trained.num_train_timesteps, beta_start=trained.beta_start,
            beta_end=trained.beta_end, betas=trained.trained_betas,
        )  # fmt: skip
        save_model(Path(folder), self.predictor, self.diffusion_model, config)


def build_pipeline(config: Config, predictor: InitialPredictor, diffusion_model: DiffusionModel) -> Pipeline:
    """The pipeline that a configuration describes, around networks that exist."""
    drawn = config.drawn
    scheduler = samplers.make_scheduler(drawn.sampler, NoiseSchedule.of(config.diffusion))
    return Pipeline(
        predictor, diffusion_model, scheduler, residual_scale=config.diffusion.residual_scale,
        start=drawn.start_fraction, default_steps=drawn.steps, eta=drawn.eta, noise=drawn.noise_scale, task=config.task,
    )  # fmt: skip


def _check(steps: int, start: float, eta: float) -> None:
    if not is_whole(steps) or not 1 <= steps <= MAX_SAMPLING_STEPS:
        raise ConfigError(
            f"num_inference_steps {steps!r} is not a whole number from 1 to {MAX_SAMPLING_STEPS}."
        )
    if not 0 <= start <= 1:
        raise ConfigError(f"start {start} is not a fraction of T; choose 0 to 1.")
    if not 0 <= eta <= 1:
        raise ConfigError(f"eta {eta} is not a share of the noise; choose 0 to 1.")


def _automatic_patch_size(shape: torch.Size, network: Any) -> int:
    """Such that no evaluation is of more than about `WHOLE_PIXELS`, a batch [B,C,H,W] taken together."""
    batch, _, height, width = shape
    if batch * height * width <= WHOLE_PIXELS:
        return max(height, width) + int(network.multiple_of)
    return max(int(PATCH_SIZE / batch**0.5), smallest_patch(network.receptive_field, network.multiple_of))


def _noise(seeds: Sequence[int], width: int, step: int, top: int, bottom: int) -> Tensor:
    """Noise by place for rows of a batch, each image by its own seed."""
    drawn = [noise_by_place(seed, step, bottom - top, width, top=top) for seed in seeds]
    return drawn[0] if len(drawn) == 1 else torch.cat(drawn)
