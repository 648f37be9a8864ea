"""Training objectives: Eq. 1, and sampler-aware fine-tuning."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ucdir.diffusion.loss import residual_loss
from ucdir.engines.torch_engine import TorchEngine
from ucdir.errors import ConfigError, WeightsError
from ucdir.model.framework import build
from ucdir.pipeline import RestorationPipeline
from ucdir.training import loop, progress, sampler_aware
from ucdir.training.checks import check_settings
from ucdir.training.energy_score import drawn
from ucdir.training.export import export
from ucdir.training.model import new_model
from ucdir.training.objectives import OBJECTIVES, NoiseObjective
from ucdir.training.sampler_aware import SamplerAwareObjective, random_view, repeated

CPU = torch.device("cpu")


def batch_of(config, step=0, side=16, count=2):
    generator = torch.Generator().manual_seed(step)
    clean, degraded, noise = torch.randn((3, count, 3, side, side), generator=generator).mul(0.3)
    return {
        "clean": clean,
        "degraded": degraded,
        "noise": noise / 0.3,
        "noise_level": torch.rand(count, generator=generator),
        "step": torch.full((count,), step),
        "scalar.jpeg_quality": torch.tensor([10.0] * count),
    }


def random_networks(config, seed=0):
    networks = build(config.model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return networks


def restored_by_pipeline(config, networks, batch, monkeypatch):
    """What the pipeline makes of the batch, starting from the batch's noise."""
    monkeypatch.setattr("ucdir.pipeline.NoiseByPlace", lambda *_: lambda step: batch["noise"].numpy().copy())
    pipeline = RestorationPipeline(TorchEngine(*networks), config.pipeline)
    return torch.from_numpy(
        pipeline.restore_signal(batch["degraded"].numpy(), scalars={"jpeg_quality": 10.0})
    )


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    export(loop.train(tiny(steps=3), folder / "run"), folder / "model", torch.float32)
    return str(folder / "model")


def test_noise_is_eq_1(tiny):
    config = tiny(diffusion={"loss": "mse", "predictor_training": "separate"})
    networks, batch = random_networks(config), batch_of(config)
    found = NoiseObjective(config, CPU)(*networks, batch)
    expected = residual_loss(
        *networks, batch["clean"], batch["degraded"], batch["noise"], batch["noise_level"],
        {"jpeg_quality": batch["scalar.jpeg_quality"]},
        residual_scale=5.0, loss="mse", predictor_training="separate",
    )  # fmt: skip
    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in expected.items()}


@pytest.mark.parametrize("prediction", ["noise", "residual"])
@pytest.mark.parametrize("sampler", ["ddim", "euler", "heun", "dpm_solver++"])
def test_the_last_step_gives_the_pipelines_image(tiny, sampler, prediction, monkeypatch):
    spacing = "time" if prediction == "noise" else "sigma"
    config = tiny(
        sampling={"sampler": sampler, "steps": 3, "start_fraction": 0.4, "spacing": spacing},
        objective="sampler_aware",
        perceptual_weight=0,
    )
    model = config.model.diffusion_model.model_copy(update={"prediction": prediction})
    config = config.model_copy(update={"model": config.model.model_copy(update={"diffusion_model": model})})
    networks = random_networks(config)
    batch = batch_of(config, step=5)  # 5 % 3: the last of three
    restored = restored_by_pipeline(config, networks, batch, monkeypatch)
    found = SamplerAwareObjective(config, CPU)(*networks, batch)["pixels"].item()
    assert found == pytest.approx(25 * float((restored - batch["clean"]).square().mean()), rel=1e-3)
    other = SamplerAwareObjective(config, CPU)(*networks, {**batch, "step": torch.tensor([4, 4])})
    assert other["pixels"].item() != pytest.approx(found, rel=1e-3), "control"


@pytest.mark.parametrize("training", ["joint", "separate"])
def test_the_predictor_of_sampler_aware_learns_as_in_eq_1(tiny, training):
    config = tiny(objective="sampler_aware", perceptual_weight=0, diffusion={"predictor_training": training})
    predictor, diffusion_model = random_networks(config)
    losses = SamplerAwareObjective(config, CPU)(predictor, diffusion_model, batch_of(config))
    losses["pixels"].backward(retain_graph=True)
    assert all(p.grad is not None for p in diffusion_model.unet.parameters())
    assert all((p.grad is not None) == (training == "joint") for p in predictor.parameters())
    assert (losses["predictor"].item() > 0) == (training == "separate")


@pytest.mark.parametrize("frozen", [True, False])
def test_sampler_aware_learns_with_and_without_the_predictor(tiny, saved, tmp_path, monkeypatch, frozen):
    monkeypatch.setattr(progress, "LOG_EVERY", 20)
    config = tiny(
        objective="sampler_aware", perceptual_weight=0, initial=saved, steps=60, learning_rate=5e-3,
        decay_steps=20, ema_decay=0.5, freeze_predictor=frozen,
    )  # fmt: skip
    check_settings(config, 1)
    ended = load_file(loop.train(config, tmp_path / "run"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["pixels"] for line in lines if "pixels" in line]
    assert losses[-1] < 0.97 * losses[0]
    began = load_file(f"{saved}/predictor/diffusion_pytorch_model.safetensors")
    same = [torch.equal(ended[f"weights.predictor.{name}"], value) for name, value in began.items()]
    assert all(same) if frozen else not any(same)
    assert any(ended[f"exp_avg.predictor.{name}"].any() for name in began) != frozen


def test_the_predictor_alone_is_trained_and_the_diffusion_model_stays(tiny, saved, tmp_path):
    config = tiny(objective="predictor", initial=saved, learning_rate=1e-2)
    networks, batch = random_networks(config), batch_of(config)
    losses = OBJECTIVES["predictor"](config, CPU)(*networks, batch)
    assert losses.keys() == {"predictor"}
    torch.testing.assert_close(
        losses["predictor"], (networks[0](batch["degraded"]) - batch["clean"]).abs().mean()
    )
    ended = load_file(loop.train(config, tmp_path / "run"))
    for network, same in (("predictor", False), ("diffusion_model", True)):
        began = load_file(f"{saved}/{network}/diffusion_pytorch_model.safetensors")
        assert all(torch.equal(ended[f"average.{network}.{n}"], v) == same for n, v in began.items()), network
    with pytest.raises(ConfigError, match="trains nothing"):
        check_settings(tiny(objective="predictor", freeze_predictor=True), 1)


def test_sampler_aware_resumes_bit_for_bit(tiny, saved, tmp_path):
    settings = {"objective": "sampler_aware", "perceptual_weight": 0, "initial": saved}
    whole = load_file(loop.train(tiny(**settings, steps=5), tmp_path / "whole"))
    loop.train(tiny(**settings, steps=2), tmp_path / "broken")
    broken = load_file(loop.train(tiny(**settings, steps=5), tmp_path / "broken"))
    assert all(np.array_equal(whole[name].numpy(), broken[name].numpy()) for name in whole)
    with pytest.raises(ConfigError, match=r"sampling\.start_fraction was 0\.4 and is now 0\.5"):
        loop.train(tiny(**settings, steps=7, sampling={"start_fraction": 0.5}), tmp_path / "broken")


def test_the_perceptual_distance_is_lpips(tiny, metric_weights, monkeypatch):
    from ucdir.metrics.lpips import Lpips

    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    config = tiny(objective="sampler_aware", perceptual_weight=0.5, data={"crop": 48})
    networks = random_networks(config)
    batch = batch_of(config, step=5, side=48)
    with torch.no_grad():
        found = SamplerAwareObjective(config, CPU)(*networks, batch)
    monkeypatch.setattr(sampler_aware, "MAX_SHIFT", 1)
    with torch.no_grad():
        unshifted = SamplerAwareObjective(config, CPU)(*networks, batch)
        restored = restored_by_pipeline(config, networks, batch, monkeypatch)
        expected = 0.5 * float(Lpips()(restored, batch["clean"]).mean())
    assert float(unshifted["perceptual"]) == pytest.approx(expected, rel=1e-2)
    assert float(found["perceptual"]) != float(unshifted["perceptual"])


def test_the_repeating_part_is_found_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    pattern = torch.randn(2, 3, 8, 8, generator=generator)
    tiled = pattern.repeat(1, 1, 7, 9)
    found = repeated(0.5 + tiled[..., :-3, :-5], 8)
    torch.testing.assert_close(found, pattern - pattern.mean((2, 3), keepdim=True))
    noise = torch.randn(2, 3, 64, 64, generator=generator)
    assert repeated(noise, 8).square().mean() < noise.square().mean() / 30
    assert repeated(pattern.repeat(1, 1, 8, 8), 7).square().mean() < 0.05, "control: of another period"


def test_the_grid_loss_is_what_repeats_at_the_networks_stride(tiny):
    plain = tiny(objective="sampler_aware", perceptual_weight=0, data={"crop": 48})
    config = tiny(objective="sampler_aware", perceptual_weight=0, grid_weight=3.0, data={"crop": 48})
    networks = random_networks(config)
    batch = batch_of(config, step=2, side=48)
    assert "grid" not in SamplerAwareObjective(plain, CPU)(*networks, batch)
    objective = SamplerAwareObjective(config, CPU)
    loss = objective(*networks, batch)["grid"]
    loss.backward()
    assert all(p.grad is not None for p in networks[1].unet.parameters())
    stride = networks[1].multiple_of
    found = {}
    for period in (stride, stride + 1):  # a line in each of so many columns
        striped = batch["clean"] + 2.0 * (torch.arange(48) % period == 1)
        found[period] = float(objective(*networks, {**batch, "clean": striped})["grid"].detach())
    assert found[stride] > 2 * found[stride + 1] > 0, "control: of another period it averages out"


def test_missing_weights_of_lpips_are_reported(tiny, monkeypatch):
    monkeypatch.delenv("UCDIR_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match="UCDIR_WEIGHTS"):
        SamplerAwareObjective(tiny(objective="sampler_aware"), CPU)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "gan"}, "'gan' is unknown; choose one of noise, predictor, sampler_aware"),
        ({"objective": "sampler_aware"}, "name it in training.initial"),
        (
            {"objective": "sampler_aware", "sampling": {"eta": 1.0}},
            r"choose sampling\.sampler ddim and sampling\.eta 0 \(found ddim and 1\)",
        ),
        ({"objective": "sampler_aware"}, "data.crop 16 is too small for LPIPS, which needs 39"),
        (
            {"objective": "sampler_aware", "sampling": {"steps": 50, "start_fraction": 0.01}},
            "50 is more than the 20 steps below",
        ),
        ({"sampling": {"steps": 50, "start_fraction": 0.01}}, "50 is more than the 20 steps below"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_training_starts(tiny, changes, words):
    with pytest.raises(ConfigError, match=words):
        check_settings(tiny(**changes), 1)


def test_lpips_is_given_views_of_both_sizes():
    images = torch.arange(48.0).expand(1, 3, 48, 48)
    views = [random_view(images, (0, step), enlarged=False) for step in range(60)]
    assert {view.shape for view in views} == {(1, 3, 41, 41)}
    assert {float(view.min()) for view in views} == set(range(8))
    starts = set()
    for step in range(40):
        large = random_view(images, (0, step), enlarged=True)
        assert large.shape == images.shape
        assert torch.equal(large, random_view(images, (0, step), enlarged=True))
        assert float(large[0, 0, 0].diff().max()) == pytest.approx(0.5)
        starts.add(float(large.min()))
    assert len(starts) > 10


def test_no_two_draw_the_same_numbers(tiny, monkeypatch):
    """Crops, views and the discriminator's views: each from a stream of its own, as the crops of a step are."""
    keys = []
    drawn_from = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda key: keys.append(key) or drawn_from(key))
    config = tiny(
        objective="sampler_aware", perceptual_weight=0, adversarial_weight=0.1, freeze_predictor=True, seed=7
    )
    model = new_model(config, CPU)
    batch = batch_of(config)
    model({**batch, "step": torch.full_like(batch["step"], 3)})
    model.objective.view(3)(torch.zeros(1, 3, 64, 64))
    drawn((7, 3, 0), torch.Size([3, 4, 4]))
    crops = [(7, 3, place) for place in range(8)]
    assert len(set(keys)) == 3
    first = [tuple(drawn_from(key).random(4)) for key in (*set(keys), *crops)]
    assert len(set(first)) == len(first)
    assert (drawn_from((7, 3)).random(4) == drawn_from((7, 3, 0)).random(4)).all(), "what there is to avoid"
