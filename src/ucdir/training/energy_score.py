"""The energy score: an objective whose optimum is samples of what could have been there, not one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ucdir.data.crops import scalars_of
from ucdir.training.sampler_aware import SamplerAwareObjective

CELL = 8
"""Side in pixels of the cells whose pixels are compared as one vector."""
SMALLEST = 1e-4
"""What a distance is at least, so that its gradient is finite where two images are equal."""
ROOT_WEIGHT = 0.25
"""What the root of LPIPS counts by: of an ordinary restored image it is then about as steep as LPIPS itself."""
ENDS = 0.5
"""Diversities are drawn from -ENDS to 1 + ENDS and clipped: a quarter is 0, a quarter 1, the others lie between."""


class EnergyScoreObjective(SamplerAwareObjective):
    r"""An `Objective` as `sampler_aware`, in which two samples ŷ₁, ŷ₂ of one input, from two noises, meet.

    A distance of one sample to the one truth is smallest for an image that does not depend on the noise. The energy
    score (Gneiting and Raftery 2007) of a distance ρ,

        S = ½ρ(ŷ₁,y) + ½ρ(ŷ₂,y) - ½ρ(ŷ₁,ŷ₂)

    is strictly proper where ρ is the norm of a difference: in the mean it is smallest for samples of the distribution
    of y given x. (The square of a norm sees the mean alone.) With the auxiliary scalar `diversity` α, drawn for each
    crop and given to f_θ, one model has both (as Dosovitskiy and Djolonga 2020 have many losses in one network):

        (1-α) · the losses of `sampler_aware`, of both samples  +  α · S

        pixels      s · S with ρ = mean over cells of 8x8 pixels of √(mean over their pixels of (a - b)²)
        perceptual  w/4 · S with ρ = Σ over layers, mean over places, of √(LPIPS there)
        grid, adversarial and discriminator: as in `sampler_aware`, of both samples, at every α

    It costs twice the passes of f_θ. A batch has the entries of `drawn` beside those of `data.crops.Crops`.
    """

    def __call__(
        self, predictor: nn.Module, diffusion_model: nn.Module, batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """`pixels`, `perceptual` and `grid`, see above; `predictor` is the predictor's own loss."""
        clean, degraded = batch["clean"], batch["degraded"]
        step = int(batch["step"][0])
        guidance, own_loss = self.train_predictor(predictor(degraded).float(), clean, self.predictor_loss)
        diversity = batch["diversity"]
        scalars = {**scalars_of(batch), "diversity": diversity}
        samples = self.restored(
            diffusion_model,
            twice(degraded),
            twice(guidance),
            torch.cat([batch["noise"], batch["second_noise"]]),
            {name: twice(value) for name, value in scalars.items()},
            step,
        )
        one, other = samples.chunk(2)
        squared = (mean_square(one, clean) + mean_square(other, clean)) / 2
        score = energy_score(pixel_distance, one, other, clean)
        scale = self.residual_scale
        losses = {
            "pixels": torch.lerp(scale**2 * squared, scale * score, diversity).mean(),
            "predictor": own_loss,
        }
        if self.lpips is not None:
            view = self.view(step)
            features = [layer.chunk(2) for layer in self.lpips.features(view(samples))]
            of_one, of_other = ([pair[n] for pair in features] for n in (0, 1))
            of_clean = self.lpips.features(view(clean))
            squared = (mean_squares(of_one, of_clean) + mean_squares(of_other, of_clean)) / 2
            score = energy_score(feature_distance, of_one, of_other, of_clean)
            losses["perceptual"] = (
                self.perceptual_weight * torch.lerp(squared, ROOT_WEIGHT * score, diversity).mean()
            )
        if self.adversarial is not None:
            truth, known = twice(clean), twice(guidance).detach()
            losses |= self.adversarial(samples, truth, known, predictor, step)
        return losses | self.grid_loss(samples - twice(clean), diffusion_model)


def drawn(place: tuple[int, int, int], shape: torch.Size) -> dict[str, Tensor]:
    """A second noise, as large as the image, and the `diversity` []: functions of (seed, step, place in the batch)."""
    rng = np.random.default_rng((*place, 1))
    noise = rng.standard_normal(shape, dtype=np.float32)
    diversity = np.clip(rng.uniform(-ENDS, 1 + ENDS), 0, 1)
    return {
        "second_noise": torch.from_numpy(noise),
        "diversity": torch.tensor(diversity, dtype=torch.float32),
    }


def twice(values: Tensor) -> Tensor:
    """The batch, and the same once more: [B,…] -> [2B,…]."""
    return torch.cat([values, values])


def energy_score(
    distance: Callable[..., Tensor],
    one: Tensor | Sequence[Tensor],
    other: Tensor | Sequence[Tensor],
    clean: Tensor | Sequence[Tensor],
) -> Tensor:
    """S of two samples: [B].

    Args:
        distance: ρ.
        one: a sample, as ρ takes it.
        other: one from another noise.
        clean: y.
    """
    return (distance(one, clean) + distance(other, clean) - distance(one, other)) / 2


def mean_square(one: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference: [B,C,H,W] each -> [B]."""
    return (one - other).square().mean(dim=(1, 2, 3))


def mean_squares(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """LPIPS, from its features, [B,C,h,w] each -> [B]."""
    layers = [(a - b).square().sum(dim=1).mean(dim=(1, 2)) for a, b in zip(one, other, strict=True)]
    return torch.stack(layers).sum(dim=0)


def pixel_distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean over cells of the root mean square difference: [B,C,H,W] each -> [B]."""
    squares = F.avg_pool2d((one - other).square().mean(dim=1, keepdim=True), CELL, ceil_mode=True)
    return _root(squares).mean(dim=(1, 2, 3))


def feature_distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean over places of the distance of features, [B,C,h,w] each -> [B]."""
    layers = [_root((a - b).square().sum(dim=1)).mean(dim=(1, 2)) for a, b in zip(one, other, strict=True)]
    return torch.stack(layers).sum(dim=0)


def _root(squares: Tensor) -> Tensor:
    return (squares + SMALLEST**2).sqrt()
