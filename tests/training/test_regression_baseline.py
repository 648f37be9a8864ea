"""The regression baseline: one forward pass without noise predicts the residual."""

import json

import pytest
import torch

from ucdir.engines.torch_engine import TorchEngine
from ucdir.model.framework import build
from ucdir.pipeline import RestorationPipeline, load
from ucdir.tasks import Example, JpegRestoration
from ucdir.training import loop, progress
from ucdir.training.checks import check_settings
from ucdir.training.export import export
from ucdir.training.regression_baseline import RegressionObjective

CPU = torch.device("cpu")


def random_networks(config):
    networks = build(config.model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return networks


def batch():
    clean, degraded = torch.randn((2, 2, 3, 16, 16), generator=torch.Generator().manual_seed(1)).mul(0.3)
    return {"clean": clean, "degraded": degraded, "scalar.jpeg_quality": torch.tensor([10.0, float("nan")])}


@pytest.mark.parametrize("prediction", ["noise", "residual"])
@pytest.mark.parametrize("sigma_data", [0.0, 0.3])
def test_the_pipeline_computes_what_was_trained(tiny, sigma_data, prediction):
    config = tiny(objective="regression", diffusion={"loss": "mse", "predictor_training": "separate"})
    changes = {"sigma_data": sigma_data, "prediction": prediction}
    model = config.model.diffusion_model.model_copy(update=changes)
    config = config.model_copy(update={"model": config.model.model_copy(update={"diffusion_model": model})})
    networks, given = random_networks(config), batch()
    pipeline = RestorationPipeline(TorchEngine(*networks), config.pipeline)
    scalars = {"jpeg_quality": [10.0, float("nan")]}
    degraded = given["degraded"].numpy()
    images = [torch.from_numpy(pipeline.restore_signal(degraded, scalars=scalars, seed=s)) for s in (0, 1)]
    assert torch.equal(*images), "the seed does not change a regression"
    found = RegressionObjective(config, CPU)(*networks, given)["regression"].item()
    assert found == pytest.approx(25 * float((images[0] - given["clean"]).square().mean()), rel=1e-3)


def test_it_learns_with_one_line_of_configuration(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "LOG_EVERY", 20)
    darken = lambda self, clean, rng: Example(clean, clean // 2, {})  # noqa: E731
    monkeypatch.setattr(JpegRestoration, "degrade", darken)
    config = tiny(objective="regression", steps=60, learning_rate=5e-3)
    check_settings(config, 1)
    checkpoint = loop.train(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["regression"] for line in lines if "regression" in line]
    assert losses[-1] < 0.8 * losses[0]
    export(checkpoint, tmp_path / "model")
    loaded = load(tmp_path / "model", "cpu").config
    assert (loaded.steps, loaded.noise_scale, loaded.eta) == (1, 0.0, 0.0)
    assert config.sampling.steps == 2, "the configuration itself is unchanged"
