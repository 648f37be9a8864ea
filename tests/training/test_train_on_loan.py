"""What is packed is all that training needs, and what it leaves makes a model here."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from ucdir.pipeline import load
from ucdir.training.state import read_metadata

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_on_loan.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_on_loan", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pack_train_resume(script, tiny, tmp_path, monkeypatch, capsys):
    config = tiny(optimizer="muon", steps=100_000, decay_steps=0)
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    script.pack(tmp_path / "my.yaml", tmp_path / "loan", 40, {"training": {"batch_size": 2}})
    packed = yaml.safe_load((tmp_path / "loan" / "experiment.yaml").read_text())
    assert packed["data"]["photos"] == "photos"
    assert packed["training"]["batch_size"] == 2
    assert any((tmp_path / "loan" / "photos").iterdir())
    monkeypatch.chdir(tmp_path)
    script.train_there(tmp_path / "loan", tmp_path / "results", 0.05, {})
    monkeypatch.chdir(tmp_path)
    assert {file.suffix for file in (tmp_path / "results").iterdir()} <= {".safetensors", ".jsonl"}
    script.resume(tmp_path / "results", tmp_path / "longer")
    assert read_metadata(tmp_path / "longer" / "checkpoint.safetensors").step > 0
    assert load(str(tmp_path / "longer" / "model"), "cpu").config.task == "jpeg_restoration"


def test_settings(script):
    options = ["training.batch_size=256", "training.compile=true", "data.crop=64"]
    assert script.nested(options) == {"training": {"batch_size": 256, "compile": True}, "data": {"crop": 64}}
