"""The preset `release`: the authors' networks trained, exported and loaded again."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ucdir.config import PRESETS, parse_config
from ucdir.errors import ConfigError
from ucdir.model.cost import macs, parameters
from ucdir.model.framework import build
from ucdir.model.release import ReleaseDiffusionModel, ReleasePredictor
from ucdir.pipeline import load
from ucdir.training import loop
from ucdir.training.checks import check_settings
from ucdir.training.export import export
from ucdir.training.objectives import OBJECTIVES


@pytest.fixture
def config(photos):
    def make(steps, **model):
        values = {
            "preset": "release", "task": "jpeg_restoration",
            "model": {"predictor": {"channels": 8}, "diffusion_model": {"channels": 8}, **model},
            "data": {"photos": str(photos), "crop": 32, "hold_out": 1},
            "sampling": {"steps": 2},
            "training": {"steps": steps, "batch_size": 2, "workers": 0, "learning_rate": 1e-3},
        }  # fmt: skip
        return parse_config(values, "the test's configuration")

    return make


def test_the_networks_are_the_released_ones_at_their_size():
    with torch.device("meta"):
        predictor, diffusion_model = build(PRESETS["release"].model)
    assert isinstance(predictor, ReleasePredictor)
    assert isinstance(diffusion_model, ReleaseDiffusionModel)
    assert [parameters(network) for network in (predictor, diffusion_model)] == [7_760_163, 97_354_699]
    assert macs(diffusion_model, 128) == pytest.approx(71.7e9, rel=0.03), "what the paper prints for its crop"
    assert PRESETS["release"].training == PRESETS["paper"].training


def test_it_is_trained_and_restores(config, tmp_path):
    check_settings(config(2), 1)
    checkpoint = loop.train(config(2), tmp_path / "run")
    moved = [
        bool(moment.any()) for name, moment in load_file(checkpoint).items() if name.startswith("exp_avg.")
    ]
    assert sum(moved) > 0.9 * len(moved), "it learns in nearly all of its weights"
    export(checkpoint, tmp_path / "model", torch.float32)
    pipeline = load(tmp_path / "model", "cpu", "fp32")
    assert isinstance(pipeline.engine.diffusion_model, ReleaseDiffusionModel)
    assert pipeline.config.residual_range == "unit"
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    assert pipeline(image, steps=2).shape == image.shape


@pytest.mark.parametrize("name", ["regression", "sampler_aware"])
@pytest.mark.parametrize(("preset", "limit"), [("release", 1.0), ("small", 0.1)])
def test_residuals_are_limited_in_training_as_in_sampling(name, preset, limit):
    values = {
        "preset": preset, "task": "jpeg_restoration", "data": {"photos": "."},
        "sampling": {"steps": 1, "sampler": "ddim", "eta": 0.0},
        "training": {"objective": name, "perceptual_weight": 0.0}, "diffusion": {"loss": "mse"},
    }  # fmt: skip
    settings = parse_config(values, "the test's configuration")
    objective = OBJECTIVES[name](settings, torch.device("cpu"))
    image = torch.full((1, 3, 8, 8), 0.9)
    batch = {"clean": image, "degraded": image, "noise": torch.zeros_like(image), "step": torch.tensor([0])}
    losses = objective(lambda degraded: degraded, lambda noisy, *_: torch.full_like(noisy, -1e4), batch)
    expected = (limit * settings.diffusion.residual_scale) ** 2
    assert losses["pixels" if name == "sampler_aware" else name].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"predictor": {"channels": 12}}, "model.predictor.channels 12 is not a multiple of 8 from 8 to 512"),
        ({"diffusion_model": {"scalars": ["jpeg_quality"]}}, "the release takes none"),
        ({"diffusion_model": {"prediction": "residual"}}, "the release predicts noise"),
        ({"architecture": "other"}, "'other' is unknown; choose one of paper, release"),
    ],
)
def test_what_it_does_not_have_is_refused(config, model, words):
    with pytest.raises(ConfigError, match=words):
        check_settings(config(2, **model), 1)
