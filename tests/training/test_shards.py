"""A checkpoint in small files: training resumes from them as from the checkpoint, nearly."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from ucdir.errors import OutputError, WeightsError
from ucdir.training import shards
from ucdir.training.loop import train
from ucdir.training.shards import HEADER, join_checkpoint, split_checkpoint
from ucdir.training.state import read_metadata


@pytest.fixture(scope="module")
def checkpoint(tiny, tmp_path_factory):
    torch.set_num_threads(1)
    return train(tiny(optimizer="muon", steps=4), tmp_path_factory.mktemp("run"))


@pytest.fixture
def files(checkpoint, tmp_path):
    return split_checkpoint(checkpoint, tmp_path / "files", HEADER + 20_000)


def test_small_files_that_hold_all(checkpoint, files, tmp_path):
    assert len(files) > 3
    assert all(file.stat().st_size <= HEADER + 20_000 for file in files)
    assert sum(file.stat().st_size for file in files) < 0.75 * checkpoint.stat().st_size
    join_checkpoint(tmp_path / "files", tmp_path / "joined" / "checkpoint.safetensors")
    before, after = load_file(checkpoint), load_file(tmp_path / "joined" / "checkpoint.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        if name.startswith("weights."):
            assert tensor.equal(after[name])
        torch.testing.assert_close(after[name], tensor, rtol=1e-2, atol=1e-4)
        assert after[name].dtype == tensor.dtype
    assert read_metadata(tmp_path / "joined" / "checkpoint.safetensors") == read_metadata(checkpoint)


def test_training_resumes(tiny, checkpoint, files, tmp_path):
    join_checkpoint(tmp_path / "files", tmp_path / "run" / "checkpoint.safetensors")
    resumed = load_file(train(tiny(optimizer="muon"), tmp_path / "run"))
    whole = load_file(train(tiny(optimizer="muon"), tmp_path / "whole"))
    start = load_file(checkpoint)
    weights = [name for name in whole if name.startswith("weights.")]

    def distance(a, b):
        return sum((a[n] - b[n]).square().sum() for n in weights).sqrt()

    assert distance(resumed, whole) < 0.1 * distance(start, whole)


def test_what_is_missing_or_damaged_is_named(files, tmp_path):
    target = tmp_path / "joined.safetensors"
    with pytest.raises(WeightsError, match="holds no whole state"):
        join_checkpoint(tmp_path, target)
    files[1].write_bytes(files[1].read_bytes()[:-7])
    with pytest.raises(WeightsError, match=files[1].name):
        join_checkpoint(tmp_path / "files", target)
    files[1].unlink()
    with pytest.raises(WeightsError, match=f"{len(files) - 1} of {len(files)} files"):
        join_checkpoint(tmp_path / "files", target)
    assert not target.exists()


def test_refusals(checkpoint, files, tmp_path):
    with pytest.raises(OutputError, match="exists already"):
        split_checkpoint(checkpoint, tmp_path / "files")
    with pytest.raises(OutputError, match="exists already"):
        join_checkpoint(tmp_path / "files", checkpoint)
    with pytest.raises(WeightsError, match="alone is larger"):
        split_checkpoint(checkpoint, tmp_path / "other", HEADER + 10)
    save_file({"unet.stem.weight": torch.zeros(2)}, model := tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="not a training's checkpoint"):
        split_checkpoint(model, tmp_path / "other")
    with pytest.raises(WeightsError, match="not a training's state"):
        split_checkpoint(tmp_path / "nothing", tmp_path / "other")


def test_a_disk_that_is_full_leaves_nothing(files, tmp_path, monkeypatch):
    def full(tensors, path, metadata=None):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "save_file", full)
    with pytest.raises(OutputError, match="cannot be written"):
        join_checkpoint(tmp_path / "files", tmp_path / "run" / "checkpoint.safetensors")
    assert not [*(tmp_path / "run").iterdir()]
