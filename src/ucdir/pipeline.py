"""Restores an image: initial prediction, residual sampled by diffusion, sum (Fig. 1 left).

Nothing is read or written here, and nothing but the engine runs a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ucdir.config.pipeline import PipelineConfig
from ucdir.diffusion.noise import NoiseByPlace
from ucdir.diffusion.samplers import SAMPLERS, adds_noise, start_sample
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.engines import Denoiser, Engine, load_engine
from ucdir.engines.denoiser import check_finite
from ucdir.engines.engine import Planes
from ucdir.errors import ConfigError, WeightsError
from ucdir.images.pixels import from_signal, to_signal
from ucdir.limits import MAX_SAMPLING_STEPS
from ucdir.memory import bytes_of
from ucdir.model.pretrained import model_folder
from ucdir.patches import TileRunner
from ucdir.tasks import TASKS
from ucdir.tasks.scalars import check_scalars

OnStep = Callable[[int, int], None]


class RestorationPipeline:
    """Restores images of any size: initial predictor u_φ and diffusion model f_θ, run by an engine.

    Attributes:
        engine: runs the networks.
        config: what the model was made for: task, sampler, steps.
        max_memory: main memory in bytes that this process may take, see `__call__`.
    """

    def __init__(self, engine: Engine, config: PipelineConfig, max_memory: int | None = None) -> None:
        self.engine = engine
        self.config = config
        self.max_memory = max_memory
        self.schedule = NoiseSchedule.of(config)

    def __call__(
        self,
        image: Any,
        *,
        steps: int | None = None,
        seed: int | Sequence[int] = 0,
        scalars: Mapping[str, float | Sequence[float]] | None = None,
        start_fraction: float | None = None,
        eta: float | None = None,
        fidelity: float = 0.0,
        amount: float | None = None,
        patch_size: int | None = None,
        max_memory: int | str | None = None,
        on_step: OnStep | None = None,
    ) -> Any:
        """Restore one image, or several of the same size.

        Args:
            image: a PIL image; an array [H,W,3] or [B,H,W,3], uint8 or floating point in [0,1]; a tensor [3,H,W] or
                [B,3,H,W] in [0,1].
            steps: of the sampler; by default what the model was made for.
            seed: the same seed gives the same image, whatever the patch size, the batch, or the machine's threads;
                one for all images, or one for each.
            scalars: what is known of the degradation, such as `{"jpeg_quality": 10}`: a number, or one for each image.
            start_fraction: fraction of T that sampling starts from; 0 gives the initial prediction alone.
            eta: share of the ancestral noise, for samplers that add noise; 0 is deterministic after the first noise.
            fidelity: share of the residual that is left out; 1 is the initial prediction, without the sampled detail.
            amount: how much of the restoration is applied: 0 gives the image as it is, 1 all; by default what the task
                says, which is all but for JPEG files of high quality (`JpegRestoration.amount`).
            patch_size: longest side of a patch in pixels; by default large images are split as memory allows.
            max_memory: main memory that this process may take, in bytes or as "2GB"; by default that of the pipeline,
                or what is free. It decides how large patches are, and how many images are restored at once.
            on_step: called as (steps done, steps in all) after each step.

        Returns:
            the restored images, of the same kind as `image`.

        Raises:
            ConfigError: an argument is out of range.
            DeviceError: the memory does not hold the image, or the device's memory not even a patch.
            ResultError: the networks gave numbers that are not finite.
        """
        restored = self.restore_signal(
            to_signal(image), steps=steps, seed=seed, scalars=scalars, start_fraction=start_fraction, eta=eta,
            fidelity=fidelity, amount=amount, patch_size=patch_size, max_memory=max_memory, on_step=on_step,
        )  # fmt: skip
        return from_signal(restored, image)

    def restore_signal(
        self,
        degraded: Planes,
        *,
        steps: int | None = None,
        seed: int | Sequence[int] = 0,
        scalars: Mapping[str, float | Sequence[float]] | None = None,
        start_fraction: float | None = None,
        eta: float | None = None,
        fidelity: float = 0.0,
        amount: float | None = None,
        patch_size: int | None = None,
        max_memory: int | str | None = None,
        on_step: OnStep | None = None,
        on_patch: OnStep | None = None,
    ) -> Planes:
        """The same for images as networks see them: float32 [B,3,H,W] in [-1,1], in memory or mapped from a file.

        `on_patch` is called as (patches done, patches in all) after each patch of the prediction and of each step.
        """
        config = self.config
        steps = config.steps if steps is None else steps
        start_fraction = config.start_fraction if start_fraction is None else start_fraction
        sampler, options = self._sampler(eta)
        _check(steps, start_fraction, fidelity, amount)
        batch, _, height, width = degraded.shape
        seeds = seeds_of(seed, batch)
        given = check_scalars(scalars or {}, self.engine.scalars, batch)
        levels = (
            self.schedule.sampling_levels(steps, start_fraction, config.spacing) if start_fraction else []
        )
        tiles = TileRunner(self.engine, patch_size, on_patch)
        limit = self.max_memory if max_memory is None else bytes_of(max_memory)
        whole = whole_images(config.sampler, len(levels) - 1)
        with tiles.fitted(degraded.shape, whole, limit) as count, self.engine.session(steps):
            if count == batch:
                restored = tiles(self.engine.predict, degraded)  # Sec. 3.1: the initial guidance
                if levels and fidelity < 1:
                    denoise = Denoiser(
                        self.engine,
                        tiles,
                        degraded,
                        restored,
                        given,
                        config.residual_scale,
                        config.residual_range,
                    )
                    noise = NoiseByPlace(seeds, height, width)
                    residual = sampler(  # Eq. 1 backwards
                        denoise, start_sample(noise(0), levels[0], config.noise_scale), levels, noise,
                        on_step=on_step, **options,
                    )  # fmt: skip
                    residual /= config.residual_scale / (1 - fidelity)
                    restored += residual
                check_finite(restored)
                return apply(restored, degraded, config.task, given, amount)

        result = np.empty(degraded.shape, np.float32)
        for first in range(0, batch, count):
            part = slice(first, first + count)
            own = {name: values[part].tolist() for name, values in given.items()}
            result[part] = self.restore_signal(
                degraded[part], steps=steps, seed=seeds[part], scalars=own, start_fraction=start_fraction,
                eta=eta, fidelity=fidelity, amount=amount, patch_size=patch_size, max_memory=max_memory,
                on_patch=on_patch,
            )  # fmt: skip
            if on_step is not None:
                on_step(min(first + count, batch) * steps, batch * steps)
        return result

    def _sampler(self, eta: float | None) -> tuple[Callable[..., Planes], dict[str, float]]:
        """The sampler, and its share of the ancestral noise where it adds any."""
        name = self.config.sampler
        if eta is not None and not is_share(eta):
            raise ConfigError(f"eta {eta!r} is not a share of the noise; choose 0 to 1.")
        if adds_noise(name):
            return SAMPLERS[name], {"eta": self.config.eta if eta is None else eta}
        if eta:
            raise ConfigError(f"eta {eta}: the sampler {name!r} adds no noise; leave eta out.")
        return SAMPLERS[name], {}


def whole_images(sampler: str, steps: int) -> float:
    """Number of arrays like the degraded images, [B,3,H,W], that are held beside them at the peak: measured."""
    if steps <= 1 and adds_noise(sampler):  # the guidance, x, and the output of f_θ
        return 3.5
    return 8.5 if sampler in ("heun", "dpm_solver++") else 7.5


def load(
    model: str | Path = "jpeg_restoration",
    device: str = "auto",
    precision: str = "auto",
    max_memory: int | str | None = None,
    engine: str = "auto",
) -> RestorationPipeline:
    """Load a model of the package by its name, or one's own by its folder.

    Args:
        model: a name of `ucdir.list_models()`, or the folder of a model.
        device: auto, cpu, cuda, cuda:1 …, or mps.
        precision: auto, fp32 or bf16; see `engines.devices.choose_precision`.
        max_memory: main memory that this process may take, in bytes or as "2GB"; by default what is free.
        engine: auto, torch or onnx; see `engines.choose_engine`.

    Raises:
        WeightsError: there is no such model, or it is damaged, or not for this engine.
        DeviceError: the device is not there.
        ConfigError: there is no such precision or engine, or `max_memory` is no size.
        ExtraError: torch is needed, and is not installed.
    """
    limit = None if max_memory is None else bytes_of(max_memory)
    folder = model_folder(model)
    runner, config = load_engine(folder, device, precision, engine)
    if config.task not in TASKS:
        raise WeightsError(
            f"{folder}: its task {config.task!r:.80} is unknown; copy the model's folder again."
        )
    return RestorationPipeline(runner, config, limit)


def is_whole(number: object) -> bool:
    """Whether it is an integer of Python or NumPy, but not a bool."""
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def is_number(number: object) -> bool:
    """Whether it is a real number of Python or NumPy, NaN and infinity included."""
    return isinstance(number, (int, float, np.integer, np.floating))


def is_share(number: object) -> bool:
    """Whether it is a number from 0 to 1."""
    return isinstance(number, (int, float, np.integer, np.floating)) and bool(0 <= number <= 1)


def _check(steps: int, start_fraction: float, fidelity: float, amount: float | None) -> None:
    if not is_whole(steps) or not 1 <= steps <= MAX_SAMPLING_STEPS:
        raise ConfigError(f"steps {steps!r} is not a whole number from 1 to {MAX_SAMPLING_STEPS}.")
    if not is_share(start_fraction):
        raise ConfigError(f"start_fraction {start_fraction!r} is not a fraction of T; choose 0 to 1.")
    if not is_share(fidelity):
        raise ConfigError(f"fidelity {fidelity!r} is not a number from 0 to 1.")
    check_amount(amount)


def check_amount(amount: object) -> None:
    """Refuse an amount that is neither None nor a share.

    Raises:
        ConfigError: it is not.
    """
    if amount is not None and not is_share(amount):
        raise ConfigError(f"amount {amount!r:.80} is not a number from 0 to 1.")


def apply(
    restored: Planes, degraded: Planes, task: str, scalars: Mapping[str, np.ndarray], amount: float | None
) -> Planes:
    """Limit the restored images to [-1,1] and, in place, go as much of the way to them as `amount` says.

    Args:
        restored: [B,3,H,W], changed.
        degraded: [B,3,H,W] in [-1,1].
        task: a name in `TASKS`; its own amount is taken where `amount` is None.
        scalars: that are known, by name, [B] each.
        amount: 0..1 or None.
    """
    np.clip(restored, -1, 1, out=restored)
    shares = TASKS[task].amount(scalars) if amount is None else np.full(len(restored), amount, np.float32)
    for i, share in enumerate(() if shares is None else shares):
        if share < 1:
            restored[i] -= degraded[i]
            restored[i] *= share
            restored[i] += degraded[i]
    return restored


def seeds_of(seed: int | Sequence[int], batch: int) -> list[int]:
    """The seed of each image. One seed gives every image of a batch the noise that it has alone."""
    seeds: list[Any] = (
        [seed] * batch if isinstance(seed, str) or not isinstance(seed, Sequence) else list(seed)
    )
    for one in seeds:
        if not is_whole(one) or not 0 <= one < 2**63:
            raise ConfigError(f"seed {one!r} is not a whole number from 0 to 2^63 - 1.")
    if len(seeds) != batch:
        raise ConfigError(f"seed: found {len(seeds)} seeds for {batch} images; give one, or one for each.")
    return [int(one) for one in seeds]
