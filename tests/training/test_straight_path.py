"""The straight path: where two images explain one input, samples are both, and the regression is neither."""

import numpy as np
import pytest
import torch

from ucdir.data.crops import Crops
from ucdir.engines.torch_engine import TorchEngine
from ucdir.errors import ConfigError
from ucdir.pipeline import RestorationPipeline
from ucdir.tasks import Example
from ucdir.training.checks import check_settings
from ucdir.training.loop import learning_rate
from ucdir.training.model import new_model

SIDE, BATCH = 4, 32
HIGH, SHARE = 0.08, 0.75
"""A clean image is 0.08 everywhere in three cases of four, otherwise -0.08; degraded, it is 0 in both."""
NETWORK = {"channels": 8, "multipliers": [1, 2], "blocks": [1, 1], "unshuffle": 1}
DIFFUSION_MODEL = {**NETWORK, "kernel_bases": 2, "scalar_channels": 16, "sigma_data": 0.4}


class TwoImages:
    """A source of crops."""

    def crop(self, rng, side):
        value = HIGH if rng.random() < SHARE else -HIGH
        clean = np.full((side, side, 3), round((1 + value) * 127.5), np.uint8)
        return Example(clean, np.full_like(clean, 128), {})


def config_of(tiny, diffusion=None, sampling=None, prediction="residual", sigma_data=0.4, **training):
    return tiny(
        diffusion={"path": "straight", "loss": "mse", "predictor_training": "separate", **(diffusion or {})},
        sampling={
            "sampler": "euler", "steps": 8, "start_fraction": 0.3, "spacing": "sigma", **(sampling or {}),
        },
        model={
            "predictor": NETWORK,
            "diffusion_model": {**DIFFUSION_MODEL, "prediction": prediction, "sigma_data": sigma_data},
        },
        batch_size=BATCH, learning_rate=4e-3, warmup_steps=10, freeze_predictor=True, **training,
    )  # fmt: skip


def trained(config):
    """A pipeline of networks trained on `TwoImages`; the predictor gives what it is given."""
    check_settings(config, 1)
    torch.manual_seed(0)
    model = new_model(config, torch.device("cpu"))
    optimizer = torch.optim.AdamW(model.diffusion_model.parameters())
    crops = Crops(TwoImages(), SIDE, (), config.diffusion, 0, BATCH, config.sampling.start_fraction)
    for step in range(config.training.steps):
        optimizer.param_groups[0]["lr"] = learning_rate(step, config.training)
        items = [crops[step * BATCH + place] for place in range(BATCH)]
        losses = model({name: torch.stack([item[name] for item in items]) for name in items[0]})
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return RestorationPipeline(TorchEngine(model.predictor, model.diffusion_model), config.pipeline)


def means(pipeline, count=128, **options):
    """The mean of each of so many restorations of the same degraded image."""
    degraded = np.full((count, 3, SIDE, SIDE), 128 / 127.5 - 1, np.float32)
    return pipeline.restore_signal(degraded, seed=list(range(count)), **options).mean((1, 2, 3))


def test_samples_are_of_both_kinds_and_the_regression_is_their_mean(tiny):
    flow = trained(config_of(tiny, steps=200, decay_steps=100))
    found = means(flow)
    assert np.mean(found > 0) == pytest.approx(SHARE, abs=0.1)
    assert np.abs(found).mean() == pytest.approx(HIGH, abs=0.01)
    assert np.mean(np.abs(found) < HIGH / 2) < 0.05, "hardly any lies between"
    finer = means(flow, steps=32)
    assert np.abs(finer).mean() == pytest.approx(HIGH, abs=0.01)
    assert np.mean(np.sign(finer) == np.sign(found)) > 0.9, "more steps give the same picture"
    mean = (2 * SHARE - 1) * HIGH
    assert means(flow, steps=1).mean() == pytest.approx(mean, abs=0.015), "at the start it is the mean"
    regression = trained(config_of(tiny, objective="regression", steps=60, decay_steps=30))
    np.testing.assert_allclose(means(regression), mean, atol=0.015)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prediction": "noise"}, r"straight needs model\.diffusion_model\.prediction residual \(found noise\)"),
        ({"sampling": {"sampler": "ddim", "eta": 1.0}}, r"choose sampling\.sampler euler, .* \(found ddim and 1\)"),
        ({"sampling": {"noise_scale": 0.5}}, r"choose sampling\.noise_scale 1 \(found 0\.5\)"),
        ({"diffusion": {"weighting": "edm"}, "sigma_data": 0.0}, "edm divides by .*sigma_data: choose one above 0"),
        ({"prediction": "velocity"}, "'velocity' is unknown; choose one of noise, residual"),
        ({"diffusion": {"path": "curved"}}, "'curved' is unknown; choose one of diffusion, straight"),
        ({"diffusion": {"weighting": "snr"}}, "'snr' is unknown; choose one of noise, edm"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_training_starts(tiny, changes, words):
    check_settings(config_of(tiny), 1)
    with pytest.raises(ConfigError, match=words):
        check_settings(config_of(tiny, **changes), 1)
