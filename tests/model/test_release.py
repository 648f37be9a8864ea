"""The authors' networks give their numbers."""

import json

import pytest
import torch
from release_checkpoint import network_state
from safetensors.torch import load_file

from ucdir.model.release import (
    ReleaseDiffusionModel,
    ReleaseDiffusionModelConfig,
    ReleasePredictor,
    ReleasePredictorConfig,
    WholeNorm,
    padded,
    whole_norm,
)


@pytest.fixture(scope="module")
def state(test_data):
    return network_state(test_data / "release")


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


def test_the_norm_for_gpus_is_group_norm():
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
