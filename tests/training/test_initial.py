"""Training on from a saved model."""

import pytest
import torch
from safetensors.torch import load_file

from ucdir.errors import WeightsError
from ucdir.training import loop
from ucdir.training.export import export


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    """A model trained for 3 steps, in float32."""
    folder = tmp_path_factory.mktemp("saved")
    export(loop.train(tiny(steps=3), folder / "run"), folder / "model", torch.float32)
    return folder / "model"


def test_training_starts_from_its_weights(tiny, saved, tmp_path):
    # one step of learning rate nearly 0 leaves the weights where they began
    still = {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    began = load_file(loop.train(tiny(**still, initial=str(saved)), tmp_path / "on"))
    fresh = load_file(loop.train(tiny(**still), tmp_path / "fresh"))
    for network in ("predictor", "diffusion_model"):
        for name, tensor in load_file(saved / network / "diffusion_pytorch_model.safetensors").items():
            for part in ("weights", "average"):
                assert torch.allclose(began[f"{part}.{network}.{name}"], tensor, atol=1e-7), name
    head = "weights.predictor.unet.head.weight"
    assert not torch.allclose(fresh[head], began[head], atol=1e-7), "control: fresh weights differ"


def test_resuming_takes_the_checkpoint_and_not_the_initial_weights(tiny, saved, tmp_path):
    broken = loop.train(tiny(steps=2, initial=str(saved)), tmp_path / "broken")
    loop.train(tiny(steps=4, initial=str(saved)), tmp_path / "broken")
    whole = loop.train(tiny(steps=4, initial=str(saved)), tmp_path / "whole")
    a, b = load_file(broken), load_file(whole)
    assert all(torch.equal(a[name], b[name]) for name in b)


def test_a_model_of_another_size_is_refused(tiny, saved, tmp_path):
    wider = {"predictor": {"channels": 8, "multipliers": [1, 2], "blocks": [1, 1], "unshuffle": 2},
             "diffusion_model": tiny().model.diffusion_model.model_dump()}  # fmt: skip
    with pytest.raises(WeightsError, match="predictor is of another size"):
        loop.train(tiny(model=wider, initial=str(saved)), tmp_path / "run")
    with pytest.raises(WeightsError, match="no such folder"):
        loop.train(tiny(initial=str(tmp_path / "nowhere")), tmp_path / "run")
