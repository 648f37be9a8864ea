"""Sampler-aware fine-tuning: f_θ is trained on the states that a sampler of few steps visits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ucdir.config import Config
from ucdir.data.crops import scalars_of
from ucdir.diffusion.loss import PREDICTOR_TRAINING
from ucdir.diffusion.residual import predicted_residual
from ucdir.diffusion.samplers import SAMPLERS, adds_noise, start_sample
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.metrics.lpips import Lpips
from ucdir.training.adversarial import AdversarialTerm

MAX_SHIFT = 8
"""Largest shift in pixels before LPIPS is measured: AlexNet's first convolution has stride 4, human vision has none."""


class SamplerAwareObjective:
    """An `Objective` that fine-tunes a model trained by Eq. 1.

    Eq. 1 trains f_θ at every noise level; a sampler of n steps visits only n of them, at states that its own errors
    and its late start have produced. This objective trains on those states. The sampler takes k of its n steps without
    gradient, where k is the training step modulo n, and the residual r̂ predicted there gives the restored image
    ŷ = u_φ(x) + r̂/s:

        pixels      s² · mean (ŷ - y)²                  s: the residual scale, as in Eq. 1
        perceptual  w · LPIPS(ŷ, y)                     w: `training.perceptual_weight`, on views by `random_view`
        grid        v · s² · mean (repeated(ŷ - y))²    v: `training.grid_weight`
        adversarial and discriminator: see `training.adversarial`, if `training.adversarial_weight` is not 0

    The predictor learns as in Eq. 1 (`diffusion.predictor_training`).
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        sampling = config.sampling
        sampler = SAMPLERS[sampling.sampler]
        self.sampler = partial(sampler, eta=0.0) if adds_noise(sampling.sampler) else sampler
        schedule = NoiseSchedule.of(config.diffusion)
        self.levels = schedule.sampling_levels(sampling.steps, sampling.start_fraction, sampling.spacing)
        self.steps = len(self.levels) - 1
        self.prediction = config.model.diffusion_model.prediction
        self.residual_range = config.pipeline.residual_range
        self.noise_scale = sampling.noise_scale
        self.seed = config.seed
        self.residual_scale = config.diffusion.residual_scale
        self.train_predictor = PREDICTOR_TRAINING[config.diffusion.predictor_training]
        self.predictor_loss = config.diffusion.predictor_loss
        self.perceptual_weight = config.training.perceptual_weight
        self.lpips = Lpips().to(device) if self.perceptual_weight else None
        self.grid_weight = config.training.grid_weight
        self.adversarial: AdversarialTerm | None = None

    def __call__(
        self, predictor: nn.Module, diffusion_model: nn.Module, batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """`pixels`, `perceptual` and `grid`, see above; `predictor` is the predictor's own loss."""
        clean, degraded, scale = batch["clean"], batch["degraded"], self.residual_scale
        step = int(batch["step"][0])
        guidance, own_loss = self.train_predictor(predictor(degraded).float(), clean, self.predictor_loss)
        restored = self.restored(diffusion_model, degraded, guidance, batch["noise"], scalars_of(batch), step)
        losses = {"pixels": scale**2 * F.mse_loss(restored, clean), "predictor": own_loss}
        if self.lpips is not None:
            view = self.view(step)
            distance = self.lpips.batched(view(restored), view(clean)).mean()
            losses["perceptual"] = self.perceptual_weight * distance
        if self.adversarial is not None:
            losses |= self.adversarial(restored, clean, guidance.detach(), predictor, step)
        return losses | self.grid_loss(restored - clean, diffusion_model)

    def restored(
        self,
        diffusion_model: nn.Module,
        degraded: Tensor,
        guidance: Tensor,
        noise: Tensor,
        scalars: Mapping[str, Tensor],
        step: int,
    ) -> Tensor:
        """ŷ of a step of training, with the gradient of the sampler's last step alone: [B,3,H,W]."""

        def denoise(noisy: Tensor, level: float) -> Tensor:
            levels = torch.full((len(noisy),), level, device=noisy.device)
            output = diffusion_model(noisy, degraded, guidance, levels, scalars).float()
            residual: Tensor = predicted_residual(
                noisy, output, guidance, level, self.residual_scale, self.residual_range, self.prediction
            )
            return residual

        k = step % self.steps
        with torch.no_grad():
            noisy = start_sample(noise, self.levels[0], self.noise_scale)
            noisy = self.sampler(denoise, noisy, self.levels[: k + 1], _no_noise)
        return guidance + denoise(noisy, self.levels[k]) / self.residual_scale

    def view(self, step: int) -> Callable[[Tensor], Tensor]:
        """What LPIPS is given in a step of training."""
        return partial(random_view, rng=(self.seed, step, 0, 2), enlarged=step // self.steps % 2 == 1)

    def grid_loss(self, error: Tensor, diffusion_model: nn.Module) -> dict[str, Tensor]:
        """`grid`, if it has a weight."""
        if not self.grid_weight:
            return {}
        period: Any = diffusion_model.multiple_of
        pattern = repeated(error, period)
        return {"grid": self.grid_weight * self.residual_scale**2 * pattern.square().mean()}


def repeated(images: Tensor, period: int) -> Tensor:
    """The part of images that repeats every `period` pixels down and across: [B,3,H,W] -> [B,3,period,period], mean 0.

    A network with pixel unshuffle can paint the same pattern into each of its coarsest pixels, and LPIPS, whose first
    convolution has stride 4, rewards a weak pattern of that kind. In the error of an ordinary restored image the
    repeating part is close to zero.
    """
    rows, columns = (side // period for side in images.shape[-2:])
    cells = torch.unflatten(images[..., : rows * period, : columns * period], -1, (columns, period))
    pattern = torch.unflatten(cells, -3, (rows, period)).mean((-4, -2))
    return pattern - pattern.mean((-2, -1), keepdim=True)


def random_view(images: Tensor, rng: tuple[int, ...], *, enlarged: bool) -> Tensor:
    """What LPIPS is given of images [B,3,H,W]: all but a frame of `MAX_SHIFT` - 1, or half a side enlarged twice.

    AlexNet hardly responds to a pattern with a period of two pixels, so a network could add one without penalty;
    enlarged, it counts. Views of one kind are of one size, so that a GPU's kernels are chosen and compiled once.
    """
    y, x = np.random.default_rng(rng).random(2)
    height, width = images.shape[-2:]
    rows, columns = (height // 2, width // 2) if enlarged else (height - MAX_SHIFT + 1, width - MAX_SHIFT + 1)
    top, left = int(y * (height - rows + 1)), int(x * (width - columns + 1))
    view = images[..., top : top + rows, left : left + columns]
    return F.interpolate(view, scale_factor=2, mode="bilinear", align_corners=False) if enlarged else view


def _no_noise(step: int) -> NoReturn:
    raise AssertionError("with eta 0 no sampler adds noise")
