"""A checkpoint becomes a model folder: the averaged weights, and results equal to the sample images of training."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ucdir.engines.torch_engine import TorchEngine
from ucdir.errors import OutputError, WeightsError
from ucdir.pipeline import RestorationPipeline, load
from ucdir.training import loop
from ucdir.training.averaging import networks_with
from ucdir.training.export import export
from ucdir.training.model import TrainingModel
from ucdir.training.state import read_metadata, read_tensors


@pytest.fixture(scope="module")
def checkpoint(tiny, tmp_path_factory):
    return loop.train(tiny(steps=3, data={"hold_out": 0}), tmp_path_factory.mktemp("run"))


def averages(checkpoint):
    model = TrainingModel(read_metadata(checkpoint).config)
    tensors = read_tensors(checkpoint, model, parts=("average",))
    return {name.removeprefix("average."): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_folder_holds_the_averaged_weights(checkpoint, tmp_path, dtype):
    folder = tmp_path / "models" / "tiny"
    export(checkpoint, folder, dtype)
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"], "nothing unfinished is left"
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} == {".json", ".safetensors"}
    stored = {
        f"{network}.{name}": tensor
        for network in ("predictor", "diffusion_model")
        for name, tensor in load_file(folder / network / "diffusion_pytorch_model.safetensors").items()
    }
    expected = averages(checkpoint)
    assert stored.keys() == expected.keys()
    for name, tensor in stored.items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, expected[name].to(dtype)), name


def test_the_folder_restores_as_the_training_did(checkpoint, tmp_path):
    export(checkpoint, tmp_path / "tiny", torch.float32)
    loaded = load(tmp_path / "tiny", "cpu", "fp32")
    config = read_metadata(checkpoint).config
    assert loaded.config == config.pipeline
    networks = networks_with(averages(checkpoint), config.model)
    built = RestorationPipeline(TorchEngine(*networks), config.pipeline)
    image = np.random.default_rng(0).random((24, 40, 3), dtype=np.float32)
    images = [pipeline(image, seed=3, scalars={"jpeg_quality": 10.0}) for pipeline in (loaded, built)]
    np.testing.assert_allclose(images[0], images[1], atol=1e-6)


def test_an_empty_folder_is_taken(checkpoint, tmp_path):
    export(checkpoint, tmp_path)
    assert (tmp_path / "model_index.json").exists()


def test_what_is_there_is_never_overwritten(checkpoint, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "precious.txt"):
        with pytest.raises(OutputError, match="exists already; name a new folder"):
            export(checkpoint, place)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_a_write_error_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def full(state, file, metadata):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ucdir.model.weights.save_file", full)
    with pytest.raises(OutputError, match="No space left on device"):
        export(checkpoint, tmp_path / "tiny")
    assert not any(tmp_path.iterdir())


def test_weights_too_large_for_half_precision(checkpoint, tmp_path, monkeypatch):
    from ucdir.training import export as module

    def large(path, model, parts):
        return {name: tensor * 1e9 for name, tensor in read_tensors(path, model, parts).items()}

    monkeypatch.setattr(module, "read_tensors", large)
    with pytest.raises(WeightsError, match=r"too large for torch\.float16; export another dtype"):
        export(checkpoint, tmp_path / "tiny")
    assert not any(tmp_path.iterdir())


def test_not_a_checkpoint(test_data, tmp_path):
    with pytest.raises(WeightsError):
        export(test_data / "hostile" / "checkpoints" / "pickle_system_zip.pt", tmp_path / "tiny")
    assert not any(tmp_path.iterdir())
