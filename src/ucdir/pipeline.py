"""Restores an image: initial prediction, residual sampled by diffusion, sum (Fig. 1 left).

Nothing is read or written here, and nothing but the engine runs a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ucdir.config.pipeline import PipelineConfig
from ucdir.diffusion.noise import NoiseByPlace, noise_by_place
from ucdir.diffusion.samplers import SAMPLERS, adds_noise, start_sample
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.engines import Denoiser, Engine, load_engine
from ucdir.engines.denoiser import Tiles, check_finite
from ucdir.engines.engine import Planes
from ucdir.errors import ConfigError, WeightsError
from ucdir.images.pixels import from_signal, to_signal
from ucdir.limits import MAX_SAMPLING_STEPS
from ucdir.memory import bytes_of, check_address_space
from ucdir.model.pretrained import model_folder
from ucdir.patches import LazyPlanes, LazyRunner, LazySource, TileRunner
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
        self.folder: Path | None = None  # that it was loaded from
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
        steps = self.config.steps if steps is None else steps
        sampling = self._sampling(steps, start_fraction, eta, fidelity, amount)
        batch, _, height, width = degraded.shape
        seeds = seeds_of(seed, batch)
        given = check_scalars(scalars or {}, self.engine.scalars, batch)
        tiles = TileRunner(self.engine, patch_size, on_patch)
        limit = self.max_memory if max_memory is None else bytes_of(max_memory)
        whole = whole_images(self.config.sampler, len(sampling.levels) - 1)
        with tiles.fitted(degraded.shape, whole, limit) as count, self.engine.session(steps):
            if count == batch:
                noise = NoiseByPlace(seeds, height, width)
                restored: Planes = sampling(tiles, degraded, noise, given, on_step)
                return restored

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

    def restore_parts(
        self,
        degraded: Callable[[slice, slice], Planes],
        height: int,
        width: int,
        write: Callable[[slice, slice, list[Planes]], None],
        *,
        folder: Path,
        steps: int | None = None,
        seeds: Sequence[int] = (0,),
        scalars: Mapping[str, float] | None = None,
        start_fraction: float | None = None,
        eta: float | None = None,
        fidelity: float = 0.0,
        amount: float | None = None,
        patch_size: int | None = None,
        max_memory: int | str | None = None,
        first_row: int = 0,
        on_patch: OnStep | None = None,
    ) -> None:
        """The same of one image that need not fit the memory: it is read and written part by part, top to bottom.

        The samples are those of `restore_signal`, of the same patches. What is kept between passes lies in files.

        Args:
            degraded: gives a part [1,3,h,w] in [-1,1] by its rows and columns.
            height: of the image, in pixels.
            width: of the image, in pixels.
            write: called with rows, columns and that part of each sample; row by row of patches, left to right.
            folder: where files are made, which end with the process: 12 bytes for each pixel of some rows of patches.
            steps: as in `__call__`, and so are the arguments that follow.
            seeds: one for each sample.
            scalars: what is known of the degradation.
            start_fraction: fraction of T that sampling starts from.
            eta: share of the ancestral noise.
            fidelity: share of the residual that is left out.
            amount: how much of the restoration is applied.
            patch_size: longest side of a patch.
            max_memory: main memory that this process may take.
            first_row: where to begin, for what was interrupted: the first row of a call of `write`.
            on_patch: called as (patches done, patches in all).

        Raises:
            ConfigError: an argument is out of range, or there are too many passes.
            DeviceError: the memory does not hold a patch.
            OSError: there is no space in the folder.
        """
        steps = self.config.steps if steps is None else steps
        sampling = self._sampling(steps, start_fraction, eta, fidelity, amount)
        given = check_scalars(scalars or {}, self.engine.scalars, 1)
        tiles = TileRunner(self.engine, patch_size)
        limit = self.max_memory if max_memory is None else bytes_of(max_memory)
        shape = (1, 3, height, width)
        with tiles.fitted(shape, 0, limit), self.engine.session(steps):
            image = LazySource(shape, degraded)
            runner = LazyRunner(tiles, shape, 1 + sampling.passes, folder, first_row)
            passes = 1 + sampling.passes * len(seeds)
            check_address_space(
                passes * runner.kept_bytes + tiles.needed(1, runner.size, runner.size, runner.size),
                f"an image of {width}x{height} pixels",
            )
            guidance = runner(self.engine.predict, image)
            samples = [
                sampling(runner, image, LazyNoise(seed, shape), given, guidance=guidance)
                for seed in seeds_of(list(seeds), len(seeds))
            ]
            rows = [kept for _, kept in runner.down if first_row <= kept.start < height]
            count = len(rows) * len(runner.across) * passes
            if on_patch is not None:
                runner.on_patch = lambda done: on_patch(min(done, count), count)
            for down in rows:
                for _, across in runner.across:
                    part = (
                        slice(down.start, min(down.stop, height)),
                        slice(across.start, min(across.stop, width)),
                    )
                    if part[1].start < width:
                        write(*part, [sample[..., *part] for sample in samples])

    def patch_size(self, height: int, width: int, max_memory: int | str | None = None) -> int:
        """Longest side of the patches that `restore_parts` takes by itself.

        Raises:
            DeviceError: the memory does not hold a patch.
        """
        tiles = TileRunner(self.engine)
        limit = self.max_memory if max_memory is None else bytes_of(max_memory)
        with tiles.fitted((1, 3, height, width), 0, limit):
            return tiles.size(1, *tiles.full(height, width))

    def _sampling(
        self,
        steps: int,
        start_fraction: float | None,
        eta: float | None,
        fidelity: float,
        amount: float | None,
    ) -> _Sampling:
        config, name = self.config, self.config.sampler
        start = config.start_fraction if start_fraction is None else start_fraction
        options: dict[str, float] = {}
        if eta is not None and not is_share(eta):
            raise ConfigError(f"eta {eta!r} is not a share of the noise; choose 0 to 1.")
        if adds_noise(name):
            options = {"eta": config.eta if eta is None else eta}
        elif eta:
            raise ConfigError(f"eta {eta}: the sampler {name!r} adds no noise; leave eta out.")
        _check(steps, start, fidelity, amount)
        levels = self.schedule.sampling_levels(steps, start, config.spacing) if start else []
        return _Sampling(self.engine, config, levels, options, fidelity, amount)


@dataclass(frozen=True)
class _Sampling:
    """The way from degraded images to restored ones, of arrays or of `LazyPlanes`."""

    engine: Engine
    config: PipelineConfig
    levels: Sequence[float]
    options: Mapping[str, float]  # of the sampler
    fidelity: float
    amount: float | None

    @property
    def samples_residual(self) -> bool:
        """Whether f_θ runs at all."""
        return bool(self.levels) and self.fidelity < 1

    @property
    def passes(self) -> int:
        """How many passes of f_θ there are."""
        steps = len(self.levels) - 1
        return 0 if not self.samples_residual else 2 * steps - 1 if self.config.sampler == "heun" else steps

    def __call__(
        self,
        tiles: Tiles,
        degraded: Any,
        noise: Callable[[int], Any],
        given: Mapping[str, np.ndarray],
        on_step: OnStep | None = None,
        guidance: Any = None,
    ) -> Any:
        """Restored images like `degraded`, [B,3,H,W] in [-1,1]; the guidance is overwritten if it is an array."""
        config = self.config
        if guidance is None:
            guidance = tiles(self.engine.predict, degraded)  # Sec. 3.1: the initial guidance
        restored = guidance
        if self.samples_residual:
            denoise = Denoiser(
                self.engine, tiles, degraded, guidance, given, config.residual_scale, config.residual_range
            )
            residual = SAMPLERS[config.sampler](  # Eq. 1 backwards
                denoise, start_sample(noise(0), self.levels[0], config.noise_scale), self.levels, noise,
                on_step=on_step, **self.options,
            )  # fmt: skip
            residual /= config.residual_scale / (1 - self.fidelity)
            restored += residual

        def applied(restored: Planes, degraded: Planes) -> Planes:
            check_finite(restored)
            return apply(restored.copy(), degraded, config.task, given, self.amount)

        return tiles.combined(applied, restored, degraded)


class LazyNoise:
    """`NoiseByPlace` as `LazyPlanes`, of one seed."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.seed, self.shape = seed, shape

    def __call__(self, step: int) -> LazyPlanes:
        """ε of one step, see `noise_by_place`."""

        def part(rows: slice, columns: slice) -> Planes:
            size = rows.stop - rows.start, columns.stop - columns.start
            return noise_by_place(self.seed, step, *size, top=rows.start, left=columns.start)

        return LazySource(self.shape, part)


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
    pipeline = RestorationPipeline(runner, config, limit)
    pipeline.folder = folder
    return pipeline


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
