"""The few steps of a sampler, trained as they are used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ucdir.config import Config
from ucdir.data.crops import scalars_of
from ucdir.diffusion import samplers
from ucdir.diffusion.loss import PREDICTOR_TRAINING, predicted_residual
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.metrics.lpips import Lpips

SHIFT = 8
"""Most pixels that the perceptual distance is shifted by: AlexNet looks at every fourth pixel, the eye at all."""


class SamplerAwareObjective:
    """An objective (`training.objectives`) that goes on from a model trained by Eq. 1.

    Eq. 1 teaches f_θ the noise at every level; a sampler of n steps visits only n, and at states that its own
    errors and its late start have made. Here those very states are trained on. With n steps from the level of
    `sampling.start_fraction`, the residual 0 plus noise is carried through k of them (k goes round by the step of the
    training, no gradient), and the residual r̂ that f_θ predicts there makes the restored image ŷ = u_φ(x) + r̂:

        pixels      s² · mean (ŷ - y)²                  s: the residual scale, as in Eq. 1
        perceptual  w · LPIPS(ŷ, y)                     w: `training.perceptual_weight`, as `look` shows them
        grid        v · s² · mean (repeated(ŷ - y))²    v: `training.grid_weight`

    The predictor learns as in Eq. 1 (`diffusion.predictor_training`).
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        schedule = NoiseSchedule.of(config.diffusion)
        full = samplers.make_scheduler(config.sampling.sampler, schedule)
        self.scheduler = samplers.late_start(full, config.sampling.start_fraction)
        self.steps = config.sampling.steps
        self.noise = config.sampling.noise_scale
        self.seed = config.seed
        self.scale = config.diffusion.residual_scale
        self.learn = PREDICTOR_TRAINING[config.diffusion.predictor_training]
        self.weight = config.training.perceptual_weight
        self.lpips = Lpips().to(device) if self.weight else None
        self.grid_weight = config.training.grid_weight

    def __call__(
        self, predictor: nn.Module, diffusion_model: nn.Module, batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """`pixels`, `perceptual` and `grid`, see above; `predictor` is the predictor's own loss."""
        clean, degraded = batch["clean"], batch["degraded"]
        step = int(batch["step"][0])
        guidance, predictor_loss = self.learn(predictor(degraded).float(), clean)

        def predict(noisy: Tensor, level: float) -> tuple[Tensor, Tensor]:
            root_gamma = torch.full((len(noisy),), level, device=noisy.device)
            noise = diffusion_model(noisy, degraded, guidance, root_gamma, scalars_of(batch)).float()
            return predicted_residual(noisy, noise, guidance, level, self.scale)

        self.scheduler.set_timesteps(self.steps)
        levels = samplers.noise_levels(self.scheduler)
        noisy = samplers.start_sample(self.scheduler, batch["noise"] * self.noise)
        last = step % self.steps
        with torch.no_grad():
            for level, timestep in zip(levels[:last], self.scheduler.timesteps[:last], strict=True):
                _, noise = predict(noisy, level)
                noisy = samplers.step(
                    self.scheduler, noise, timestep, noisy, eta=0.0, draw=_no_noise, generator=None
                )
        residual, _ = predict(noisy, levels[last])
        restored = guidance + residual / self.scale
        losses = {"pixels": self.scale**2 * F.mse_loss(restored, clean), "predictor": predictor_loss}
        if self.lpips is not None:
            looked_at = partial(look, rng=(self.seed, step), enlarged=step // self.steps % 2 == 1)
            losses["perceptual"] = self.weight * self.lpips.batched(*map(looked_at, (restored, clean))).mean()
        if self.grid_weight:
            coarsest: Any = diffusion_model.multiple_of
            pattern = repeated(restored - clean, coarsest)
            losses["grid"] = self.grid_weight * self.scale**2 * pattern.square().mean()
        return losses


def repeated(images: Tensor, period: int) -> Tensor:
    """What repeats every `period` pixels down and across: [B,3,H,W] -> [B,3,period,period], of mean 0.

    A network that folds pixels into channels can draw what is the same in each of its coarsest pixels, and LPIPS,
    which looks at every fourth pixel, rewards a weak pattern of that kind. In an error of the picture's own it is next
    to nothing.
    """
    rows, columns = (side // period for side in images.shape[-2:])
    cells = torch.unflatten(images[..., : rows * period, : columns * period], -1, (columns, period))
    pattern = torch.unflatten(cells, -3, (rows, period)).mean((-4, -2))
    return pattern - pattern.mean((-2, -1), keepdim=True)


def look(images: Tensor, rng: tuple[int, int], *, enlarged: bool) -> Tensor:
    """What the perceptual distance is shown of images [B,3,H,W]: all but a shift, or a half, enlarged twice.

    AlexNet hardly sees a pattern of two pixels, and a network learns to draw one if that earns anything; enlarged, it
    is seen.
    """
    y, x = np.random.default_rng(rng).random(2)
    height, width = images.shape[-2:]
    if not enlarged:
        return images[..., int(y * SHIFT) :, int(x * SHIFT) :]
    top, left = int(y * (height - height // 2 + 1)), int(x * (width - width // 2 + 1))
    half = images[..., top : top + height // 2, left : left + width // 2]
    return F.interpolate(half, scale_factor=2, mode="bilinear", align_corners=False)


def _no_noise(top: int, bottom: int) -> Tensor:
    raise AssertionError("a deterministic sampler adds no noise")
