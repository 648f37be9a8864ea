"""Fine-tuning a saved model."""

import pytest
import torch
from safetensors.torch import load_file

from ucdir.errors import WeightsError
from ucdir.model import pretrained
from ucdir.model.weights import load_model
from ucdir.training import loop
from ucdir.training.export import export
from ucdir.training.initial import start_from
from ucdir.training.model import TrainingModel


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


def test_only_the_named_networks_are_taken_over(tiny, saved, tmp_path):
    still = {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0, "initial": str(saved)}
    began = load_file(loop.train(tiny(**still, initial_networks=["predictor"]), tmp_path / "on"))
    for network, taken in (("predictor", True), ("diffusion_model", False)):
        weights = load_file(saved / network / "diffusion_pytorch_model.safetensors")
        name = next(name for name in weights if name.endswith("conv1.weight"))
        assert torch.allclose(began[f"weights.{network}.{name}"], weights[name], atol=1e-7) is taken


def test_a_model_of_the_package_is_taken_by_its_name(tiny, monkeypatch, saved, tmp_path):
    monkeypatch.setattr(pretrained, "WEIGHTS", saved.parent)
    still = {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    by_name = load_file(loop.train(tiny(**still, initial="model"), tmp_path / "name"))
    by_folder = load_file(loop.train(tiny(**still, initial=str(saved)), tmp_path / "folder"))
    assert all(torch.equal(by_name[name], by_folder[name]) for name in by_folder)


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


def test_another_tasks_weights_are_taken_over_but_for_its_scalars(tiny, saved, tmp_path):
    model = tiny().model.model_dump(mode="json")
    model["diffusion_model"]["scalars"] = ["blur_type", "blur_length"]
    config = tiny(model=model, initial=str(saved), steps=1)
    config = config.model_copy(update={"task": "deblurring"})
    fresh, begun = TrainingModel(config), TrainingModel(config)
    begun.load_state_dict(fresh.state_dict())
    start_from(saved, ("predictor", "diffusion_model"), begun, residual_scale=config.diffusion.residual_scale)
    taken, own = begun.state_dict(), fresh.state_dict()
    predictor, diffusion_model, _ = load_model(saved)
    old = {"predictor": predictor, "diffusion_model": diffusion_model}
    for name, value in taken.items():
        if "blur_" in name:
            assert torch.equal(value, own[name]), "stays fresh"
        else:
            part, key = name.split(".", 1)
            assert torch.equal(value, old[part].state_dict()[key]), "is taken over"
    assert sum("blur_" in name for name in taken) == 6
    assert not any("jpeg" in name for name in taken)


def test_a_model_of_another_kind_is_refused(tiny, saved, tmp_path):
    model = tiny().model.model_dump(mode="json")
    model["diffusion_model"] |= {"sigma_data": 0.3, "activation": "relu"}
    message = r"was trained with activation 'swish' \(here 'relu'\), sigma_data 0.0 \(here 0.3\)"
    with pytest.raises(WeightsError, match=message):
        loop.train(tiny(model=model, initial=str(saved)), tmp_path / "run")
    with pytest.raises(
        WeightsError, match=r"its diffusion_model was trained with residual_scale 5.0 \(here 7.0\)"
    ):
        loop.train(tiny(diffusion={"residual_scale": 7.0}, initial=str(saved)), tmp_path / "run")
    # the predictor alone does not care
    loop.train(
        tiny(model=model, initial=str(saved), initial_networks=["predictor"], steps=1), tmp_path / "run"
    )
