"""The energy score: samples that differ as what could have been there does, and a dial down to one image."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import default_collate

from ucdir.errors import ConfigError
from ucdir.metrics.lpips import Lpips
from ucdir.pipeline import load
from ucdir.training import loop
from ucdir.training.checks import check_settings
from ucdir.training.energy_score import (
    EnergyScoreObjective,
    drawn,
    energy_score,
    feature_distance,
    mean_squares,
    pixel_distance,
)
from ucdir.training.export import export
from ucdir.training.model import new_model
from ucdir.training.objectives import random_batch
from ucdir.training.sampler_aware import SamplerAwareObjective

CPU = torch.device("cpu")
PREDICTOR = {"channels": 4, "multipliers": [1, 2], "blocks": [1, 1], "unshuffle": 2}
DIFFUSION_MODEL = {
    **PREDICTOR,
    "channels": 8,
    "kernel_bases": 2,
    "scalar_channels": 8,
    "prediction": "residual",
}
MODEL = {
    "predictor": PREDICTOR,
    "diffusion_model": {**DIFFUSION_MODEL, "scalars": ["jpeg_quality", "diversity"]},
}
SETTINGS = {"objective": "energy_score", "perceptual_weight": 0, "model": MODEL}


class Flat(nn.Module):
    """Stands in for f_θ: a flat residual for each image, a function of the noise's mean and of the diversity."""

    multiple_of = 4

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1)
        )

    def forward(self, noisy, degraded, guidance, noise_level, scalars):
        seen = torch.stack([noisy.mean((1, 2, 3)) * 14, scalars["diversity"]], 1)  # of variance 1, about
        return self.layers(seen)[:, :, None, None].expand_as(noisy)


class Zero(nn.Module):
    """Stands in for u_φ."""

    def forward(self, degraded):
        return torch.zeros_like(degraded)


def batch_of(step, side=8, count=32):
    """Clean images of two kinds, 7 in 10 darker and 3 lighter, that look the same once degraded."""
    generator = torch.Generator().manual_seed(step)
    light = torch.rand(count, generator=generator) < 0.3
    clean = torch.where(light, 0.5, -0.5)[:, None, None, None].expand(count, 3, side, side).contiguous()
    return {
        "clean": clean, "degraded": torch.zeros_like(clean),
        "noise": torch.randn(clean.shape, generator=generator),
        "step": torch.full((count,), step), "place": torch.arange(count),
        **default_collate([drawn((0, step, place), clean.shape[1:]) for place in range(count)]),
    }  # fmt: skip


def test_samples_spread_over_two_modes_with_diversity_and_agree_without(tiny):
    torch.manual_seed(0)
    config = tiny(**SETTINGS, sampling={"steps": 1}, diffusion={"residual_scale": 1.0})
    objective, model = EnergyScoreObjective(config, CPU), Flat()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(300):
        loss = objective(Zero(), model, batch_of(step))["pixels"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    noise = torch.randn(1000, 3, 8, 8)
    spread, light = {}, {}
    for diversity in (0.0, 1.0):
        scalars = {"diversity": torch.full((1000,), diversity)}
        with torch.no_grad():
            samples = objective.restored(model, noise * 0, noise * 0, noise, scalars, 0).mean((1, 2, 3))
        spread[diversity], light[diversity] = float(samples.std()), float((samples > 0).float().mean())
    assert spread[0.0] < 0.1, "control: one image, the mean of both kinds"
    assert 0.35 < spread[1.0] < 0.57, "that of the truth is 0.46"
    assert 0.2 < light[1.0] < 0.4, "in 3 of 10"


def test_the_score_is_that_of_the_literature():
    generator = torch.Generator().manual_seed(1)
    one, other, clean = torch.randn((3, 2, 3, 16, 24), generator=generator)

    def rho(a, b):
        cells = (a - b).square().mean(1).unfold(1, 8, 8).unfold(2, 8, 8).mean((-2, -1))
        return cells.sqrt().mean((1, 2))

    expected = (rho(one, clean) + rho(other, clean)) / 2 - rho(one, other) / 2
    torch.testing.assert_close(energy_score(pixel_distance, one, other, clean), expected)
    assert float(pixel_distance(one, one).max()) < 2e-4


def test_equal_samples_have_a_finite_gradient():
    image = torch.zeros(1, 3, 16, 16, requires_grad=True)
    pixel_distance(image, image.detach()).sum().backward()
    assert torch.isfinite(image.grad).all()


def test_the_features_are_those_of_lpips(metric_weights, monkeypatch):
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    lpips, generator = Lpips(), torch.Generator().manual_seed(2)
    one, other = torch.rand((2, 2, 3, 48, 40), generator=generator) * 2 - 1
    pairs = list(zip(lpips.features(one), lpips.features(other), strict=True))
    squared = mean_squares(*zip(*pairs, strict=True))
    torch.testing.assert_close(squared, lpips.batched(one, other))
    roots = sum((a - b).square().sum(1).sqrt().mean((1, 2)) for a, b in pairs)
    found = feature_distance([a for a, _ in pairs], [b for _, b in pairs])
    torch.testing.assert_close(found, roots, rtol=1e-3, atol=1e-3)


def test_noise_and_diversity_are_functions_of_seed_step_and_place():
    batch = batch_of(3, count=400)
    noise, diversity = batch["second_noise"], batch["diversity"]
    again = drawn((0, 3, 90), noise.shape[1:])
    assert torch.equal(again["second_noise"], noise[90])
    assert torch.equal(again["diversity"], diversity[90])
    for other in ((1, 3, 90), (0, 4, 90), (0, 3, 91)):
        assert not torch.equal(drawn(other, noise.shape[1:])["second_noise"], noise[90])
    assert abs(float((noise * batch["noise"]).mean())) < 0.01, "independent of the first"
    ends = [float((diversity == end).float().mean()) for end in (0, 1)]
    assert all(0.15 < share < 0.35 for share in ends)
    assert (diversity >= 0).all()
    assert (diversity <= 1).all()


def test_it_resumes_bit_for_bit_and_the_model_takes_the_dial(tiny, tmp_path, monkeypatch):
    first = {"predictor": PREDICTOR, "diffusion_model": DIFFUSION_MODEL}
    export(loop.train(tiny(steps=2, model=first), tmp_path / "first"), tmp_path / "initial", torch.float32)
    settings = {**SETTINGS, "initial": str(tmp_path / "initial"), "grid_weight": 1.0, "learning_rate": 1e-2}
    settings |= {"ema_decay": 0.0}
    whole = load_file(loop.train(tiny(**settings, steps=4), tmp_path / "whole"))
    loop.train(tiny(**settings, steps=2), tmp_path / "broken")
    broken = load_file(loop.train(tiny(**settings, steps=4), tmp_path / "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)

    export(tmp_path / "whole" / "checkpoint.safetensors", tmp_path / "model", torch.float32)
    pipeline = load(tmp_path / "model", "cpu", "fp32")
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    signal = [pipeline(image / 255, scalars=given) for given in ({}, {"diversity": 0.25}, {"diversity": 1})]
    np.testing.assert_array_equal(signal[0], signal[1])
    assert not np.array_equal(signal[0], signal[2])
    with pytest.raises(ConfigError, match="diversity 2 is out of range; it goes from 0 to 1"):
        pipeline(image, scalars={"diversity": 2})
    plain = load(tmp_path / "initial", "cpu", "fp32")
    with pytest.raises(ConfigError, match="this model knows nothing of diversity; it takes jpeg_quality"):
        plain(image, scalars={"diversity": 1})


def test_without_diversity_the_losses_are_those_of_sampler_aware(tiny, monkeypatch, metric_weights):
    """A model that does not see the noise has the same two samples, so what is left is the loss of one image."""
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    model, batch = Flat(), batch_of(0, side=48, count=2)
    with torch.no_grad():
        model.layers[0].weight[:, 0] = 0
    given = {"sampling": {"steps": 1}, "diffusion": {"residual_scale": 3.0}, "perceptual_weight": 2.0}
    plain = {"predictor": PREDICTOR, "diffusion_model": DIFFUSION_MODEL}
    reference = SamplerAwareObjective(tiny(objective="sampler_aware", model=plain, **given), CPU)

    def at(diversity):
        told = {"diversity": torch.full((2,), diversity)}
        losses = EnergyScoreObjective(tiny(**{**SETTINGS, **given}), CPU)(Zero(), model, batch | told)
        same = reference(Zero(), lambda *a: model(*a[:4], told), batch)
        return losses, same

    losses, same = at(0.0)
    for name in ("pixels", "perceptual"):
        torch.testing.assert_close(losses[name], same[name])
    losses, same = at(1.0)
    assert losses["pixels"].item() == pytest.approx((same["pixels"].item()) ** 0.5, rel=0.1), "a root"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "energy_score"}, "needs diversity for training.objective energy_score"),
        ({"objective": "sampler_aware", "model": MODEL}, "for no other"),
        ({**SETTINGS, "objective": "energy_score"}, "energy_score fine-tunes a trained model"),
        ({**SETTINGS, "sampling": {"eta": 1.0}}, "energy_score needs a deterministic sampler"),
    ],
)
def test_what_does_not_fit_is_refused(tiny, changes, words):
    with pytest.raises(ConfigError, match=words):
        check_settings(tiny(**changes), 1)


def test_a_batch_to_time_steps_with_is_whole(tiny):
    """That of every other objective lacks the second noise and the diversity."""
    config = tiny(**SETTINGS)
    batch = random_batch(config, CPU)
    losses = new_model(config, CPU)(batch)
    assert all(torch.isfinite(loss) for loss in losses.values())
    other = random_batch(tiny(objective="sampler_aware"), CPU)
    assert batch.keys() - other.keys() == {"second_noise", "diversity"}
