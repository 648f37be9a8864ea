"""The authors' network gives their numbers, and their checkpoint becomes a model folder."""

import json
import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from ucdir import cli
from ucdir.errors import ConfigError, OutputError, WeightsError
from ucdir.model.release import (
    ReleaseDiffusionModel,
    ReleaseDiffusionModelConfig,
    ReleasePredictor,
    ReleasePredictorConfig,
    padded,
)
from ucdir.pipeline import Pipeline
from ucdir.workflows.convert import convert, release_pipeline


def value_of(name, shape):
    """The rule that the golden network is filled by."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        values *= (1 / np.prod(shape[1:])) ** 0.5
    elif "norm" in name or name.endswith("final_conv.0.weight"):
        values = 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
    else:
        values = 0.1 * values
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture(scope="module")
def state(test_data):
    shapes = json.loads((test_data / "release" / "parameters_inner16.json").read_text())
    return {name: value_of(name, shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def golden(test_data):
    return load_file(test_data / "release" / "vectors.safetensors")


@pytest.fixture(scope="module")
def networks(state):
    predictor = ReleasePredictor(ReleasePredictorConfig()).eval()
    diffusion_model = ReleaseDiffusionModel(ReleaseDiffusionModelConfig(channels=16)).eval()
    for network, prefix in ((predictor, "predictor."), (diffusion_model, "denoise_fn.")):
        network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    return predictor, diffusion_model


@pytest.mark.parametrize("name", ["square", "odd"])
@torch.no_grad()
def test_both_networks_give_the_authors_numbers(networks, golden, name):
    predictor, diffusion_model = networks
    get = {key.removeprefix(f"{name}."): value for key, value in golden.items()}
    torch.testing.assert_close(predictor(get["degraded"]), get["guidance"], atol=1e-5, rtol=0)
    level = get["noise_level"][:, 0]
    noise = diffusion_model(get["noisy"], get["degraded"], get["guidance"], level, {})
    torch.testing.assert_close(noise, get["epsilon"], atol=1e-4, rtol=0)
    other = diffusion_model(get["noisy"], get["degraded"], get["degraded"], level, {})
    assert (other - get["epsilon"]).abs().max() > 0.1, "control: the guidance matters"


def sampled(pipeline, golden, monkeypatch):
    noises = [golden["sampling.initial_noise"], *golden["sampling.step_noise"]]
    noises.append(torch.zeros_like(noises[0]))  # asked for at the last step, and multiplied by 0
    monkeypatch.setattr(
        "ucdir.pipeline._noise",
        lambda seeds, width, step, top, bottom: noises[step][..., top:bottom, :].clone(),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(golden["sampling.degraded"], output_type="pt").images


def test_the_pipeline_samples_as_the_release(networks, golden, monkeypatch):
    pipeline = release_pipeline(*networks, golden["sampling.betas"], "low_light")
    restored = sampled(pipeline, golden, monkeypatch)
    expected = golden["sampling.restored"].clamp(-1, 1)
    torch.testing.assert_close(restored, expected, atol=1e-4, rtol=0)
    ours = Pipeline(
        *networks, pipeline.scheduler, start=1.0, default_steps=8, eta=1.0, residual_range="image"
    )
    assert (sampled(ours, golden, monkeypatch) - expected).abs().max() > 1e-3, "control: the range matters"


def test_released_size_has_the_checkpoints_names(test_data):
    wanted = json.loads((test_data / "release" / "release_checkpoint_keys.json").read_text())
    with torch.device("meta"):
        networks = {
            "denoise_fn.": ReleaseDiffusionModel(ReleaseDiffusionModelConfig()),
            "predictor.": ReleasePredictor(ReleasePredictorConfig()),
        }
    found = {p + k: list(v.shape) for p, network in networks.items() for k, v in network.state_dict().items()}
    assert found == {k: v for k, v in wanted.items() if k.startswith(tuple(networks))}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 33), (32, 64), (70, 45)])
def test_padding_is_never_none(height, width):
    image = torch.randn(1, 3, height, width)
    found = padded(image)
    assert found.shape[2] == height // 32 * 32 + 32
    assert found.shape[3] == width // 32 * 32 + 32
    assert torch.equal(found[..., :height, :width], image)
    if height > 32 and width > 32:
        size = (0, found.shape[3] - width, 0, found.shape[2] - height)
        assert torch.equal(found, torch.nn.functional.pad(image, size, mode="reflect"))


# ------------------------------------------------------------------------------------------------ checkpoint


@pytest.fixture(scope="module")
def checkpoint(state, golden, tmp_path_factory):
    file = tmp_path_factory.mktemp("release") / "I100_E1_gen_ema.pth"
    torch.save({**state, "betas": golden["sampling.betas"], "posterior_variance": torch.zeros(8)}, file)
    return file


def test_a_checkpoint_becomes_a_model_folder(checkpoint, golden, tmp_path, monkeypatch):
    folder = tmp_path / "released"
    result = CliRunner().invoke(
        cli.app,
        ["convert", str(checkpoint), "-o", str(folder), "--task", "low_light"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    assert "8 steps" in result.output
    pipeline = Pipeline.from_pretrained(folder)
    restored = sampled(pipeline, golden, monkeypatch)
    torch.testing.assert_close(restored, golden["sampling.restored"].clamp(-1, 1), atol=1e-4, rtol=0)
    with pytest.raises(OutputError, match="exists already"):
        convert(checkpoint, folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("denoise_fn.mid.0.attn.qkv.weight"),
            r"does not fit the released network.*attn\.qkv",
        ),
        (lambda s: s.update({"ema.step": torch.zeros(1)}), r"holds 'ema\.step', which the released network"),
        (lambda s: s.pop("denoise_fn.downs.0.weight"), r"has no denoise_fn\.downs\.0\.weight"),
        (lambda s: s.update({"betas": torch.tensor([0.1, 2.0])}), "its betas are no noise schedule"),
        (lambda s: s.update({"predictor.conv1_1.weight": torch.zeros(7, 3, 3, 3)}), "of 8 to 512 channels"),
    ],
)
def test_what_is_no_such_checkpoint_is_refused(state, tmp_path, change, message):
    other = dict(state)
    change(other)
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "other.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="task 'art' is unknown"):
        convert(tmp_path / "other.pth", tmp_path / "out", task="art")


def test_a_folder_of_absurd_size_is_refused_before_it_is_built(checkpoint, tmp_path):
    folder = tmp_path / "released"
    convert(checkpoint, folder)
    config = folder / "diffusion_model" / "config.json"
    config.write_text(config.read_text().replace('"channels": 16', '"channels": 1000000'))
    with pytest.raises(WeightsError, match="'channels'.*less than or equal to 512"):
        Pipeline.from_pretrained(folder)


def test_the_norm_for_gpus_is_group_norm():
    from ucdir.model.release import WholeNorm, whole_norm

    norm = WholeNorm(6)
    x = torch.randn(2, 6, 9, 7) * torch.tensor([1.0, 20.0])[:, None, None, None] + 3
    with torch.no_grad():
        norm.weight.copy_(torch.randn(6))
        norm.bias.copy_(torch.randn(6))
        expected = norm(x)
        assert torch.allclose(whole_norm(x, norm.weight, norm.bias, norm.eps), expected, atol=1e-5)
        half = whole_norm(x.bfloat16(), norm.weight.bfloat16(), norm.bias.bfloat16(), norm.eps)
    assert half.dtype == torch.bfloat16
    assert (half - expected).norm() < 0.01 * expected.norm()
