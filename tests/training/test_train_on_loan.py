"""What is packed is all that training needs, and what it leaves makes a model here."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import yaml

from ucdir.config import load_config
from ucdir.pipeline import load
from ucdir.training.source import open_source
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


def test_pairs_and_frames_are_packed_beside_photos(script, tiny, photos, tmp_path, monkeypatch):
    for folder in ("pairs/blur/deep", "pairs/sharp/deep", "film"):
        (tmp_path / folder).mkdir(parents=True)
    for number, file in enumerate(sorted(photos.iterdir())[:5]):
        for copied in ("pairs/blur/deep/scene_%d.png", "pairs/sharp/deep/scene_%d.png", "film/a_%d.png"):
            (tmp_path / (copied % number)).write_bytes(file.read_bytes())
    (tmp_path / "pairs/blur/own.png").write_bytes(file.read_bytes())
    (tmp_path / "pairs/sharp/own.bmp").write_bytes(file.read_bytes())
    data = {
        "pairs": str(tmp_path / "pairs"), "frames": str(tmp_path / "film"),
        "hold_out_names": ["deep/scene_[01]"], "pairs_share": 0.3,
    }  # fmt: skip
    values = tiny(data=data).model_dump(mode="json") | {"task": "deblurring"}
    values["model"]["diffusion_model"]["scalars"] = ["blur_type", "blur_length"]
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(values))
    script.pack(tmp_path / "my.yaml", tmp_path / "loan", 0.001, {})
    assert not list((tmp_path / "loan" / "photos").iterdir()), "what is beside them counts, too"
    script.pack(tmp_path / "my.yaml", tmp_path / "more", 40, {})
    monkeypatch.chdir(tmp_path / "more")
    config = load_config(Path("experiment.yaml"))
    source, words, held_out = open_source(config, config.make_task(), Path("work"))
    assert (words, len(held_out)) == ("4 pairs and 12 photos and 1 runs of frames", 2)
    assert source.crop(np.random.default_rng(0), 16).clean.shape == (16, 16, 3)


def test_settings(script):
    options = ["training.batch_size=256", "training.compile=true", "data.crop=64"]
    assert script.nested(options) == {"training": {"batch_size": 256, "compile": True}, "data": {"crop": 64}}
