"""The authors' checkpoint becomes a model folder, which samples as their release does."""

import pytest
import torch
from release_checkpoint import network_state
from safetensors.torch import load_file
from typer.testing import CliRunner

from ucdir import cli
from ucdir.errors import ConfigError, OutputError, WeightsError
from ucdir.model.weights import load_model
from ucdir.pipeline import RestorationPipeline, load
from ucdir.workflows.convert import convert

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def state(test_data):
    return network_state(test_data / "release")


@pytest.fixture(scope="module")
def golden(test_data):
    return load_file(test_data / "release" / "vectors.safetensors")


@pytest.fixture
def sampled(golden, monkeypatch):
    """A function: `sampled(pipeline)` -> what it restores from the golden image with the golden noise."""
    noises = [golden["sampling.initial_noise"], *golden["sampling.step_noise"]]
    monkeypatch.setattr("ucdir.pipeline.NoiseByPlace", lambda *_: lambda step: noises[step].numpy().copy())
    degraded = golden["sampling.degraded"].numpy()
    return lambda pipeline: torch.from_numpy(pipeline.restore_signal(degraded))


@pytest.fixture(scope="module")
def checkpoint(state, golden, tmp_path_factory):
    file = tmp_path_factory.mktemp("release") / "I100_E1_gen_ema.pth"
    torch.save({**state, "betas": golden["sampling.betas"], "posterior_variance": torch.zeros(8)}, file)
    return file


def test_a_checkpoint_becomes_a_model_folder_that_samples_as_the_release(
    checkpoint, golden, sampled, tmp_path
):
    folder = tmp_path / "released"
    result = CliRunner().invoke(
        cli.app,
        ["convert", str(checkpoint), "-o", str(folder), "--task", "low_light"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    assert "8 steps" in result.output
    pipeline = load(folder, "cpu", "fp32")
    expected = golden["sampling.restored"].clamp(-1, 1)
    torch.testing.assert_close(sampled(pipeline), expected, atol=1e-4, rtol=0)
    other = pipeline.config.model_copy(update={"residual_range": "image"})
    difference = (sampled(RestorationPipeline(pipeline.engine, other)) - expected).abs().max()
    assert difference > 1e-3, "control: the range matters"
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
        (lambda s: s.update({"betas": torch.tensor([0.1, 2.0])}), "its betas are not a noise schedule"),
        (lambda s: s.update({"predictor.conv1_1.weight": torch.zeros(7, 3, 3, 3)}), "of 8 to 512 channels"),
        (
            lambda s: s.update({"denoise_fn.downs.0.weight": torch.zeros(1).expand(512, 6, 3, 3)}),
            r"denoise_fn\.downs\.0\.weight is larger than what the file holds of it",
        ),
        (lambda s: s.update({"betas": torch.full((1,), 0.1).expand(10**8)}), "betas is larger than"),
        (
            lambda s: s.update({"betas": torch.full((20_001,), 0.1)}),
            "not a noise schedule of 1 to 20000 steps",
        ),
        (lambda s: s.update({"betas": torch.full((8,), 1e-30)}), "its betas are not a noise schedule"),
        (lambda s: s.update({"betas": torch.full((8,), torch.nan)}), "its betas are not a noise schedule"),
        (
            lambda s: s.update({"predictor.conv10_1.bias": torch.tensor([0, 1, torch.inf])}),
            r"predictor\.conv10_1\.bias holds values that are not finite",
        ),
        (
            lambda s: s.update({"predictor.conv10_1.bias": torch.zeros(3, dtype=torch.int64)}),
            r"predictor\.conv10_1\.bias holds values that are not finite or no weights",
        ),
        (
            lambda s: s.update({"denoise_fn.downs.0.weight": torch.zeros(512, 6, 3, 3)}),
            r"does not fit the released network: denoise_fn\.",
        ),
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


def test_a_checkpoint_that_is_not_there_is_not_called_damaged(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pth: there is no such file; check the name"):
        convert(tmp_path / "none.pth", tmp_path / "out")


@pytest.mark.parametrize("content", [b"\x08" + bytes(7) + b"not json", bytes(8)])
def test_a_damaged_file_of_safetensors_is_refused(tmp_path, content):
    (tmp_path / "other.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as PyTorch weights"):
        convert(tmp_path / "other.safetensors", tmp_path / "out")


def test_a_folder_of_absurd_size_is_refused_before_it_is_built(checkpoint, tmp_path):
    folder = tmp_path / "released"
    convert(checkpoint, folder)
    config = folder / "diffusion_model" / "config.json"
    config.write_text(config.read_text().replace('"channels": 16', '"channels": 1000000'))
    with pytest.raises(WeightsError, match="'channels'.*less than or equal to 512"):
        load_model(folder)
