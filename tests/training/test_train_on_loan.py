"""What is packed is all that training needs, and what it leaves makes a model here."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ucdir.config import load_config
from ucdir.metrics.lpips import Lpips
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


def test_pack_train_resume(script, tiny, tmp_path, monkeypatch):
    config = tiny(optimizer="muon", steps=100_000, decay_steps=0)
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    script.pack([tmp_path / "my.yaml"], tmp_path / "loan", 40, {"training": {"batch_size": 2}}, 0)
    packed = yaml.safe_load((tmp_path / "loan" / "my.yaml").read_text())
    assert packed["data"]["photos"] == "photos"
    assert packed["training"]["batch_size"] == 2
    assert any((tmp_path / "loan" / "photos").iterdir())
    script.train_there([tmp_path / "loan"], tmp_path / "results", 0.05, ["training.checkpoint_every=7"])
    brought = {str(file.relative_to(tmp_path / "results")) for file in (tmp_path / "results").rglob("*.*")}
    assert brought <= {"my.yaml", "my.jsonl", "my.txt", "state/state-01-of-01.safetensors"}
    script.resume(tmp_path / "results", tmp_path / "longer")
    assert read_metadata(tmp_path / "longer" / "my" / "checkpoint.safetensors").step > 0
    assert load(str(tmp_path / "longer" / "my" / "model"), "cpu").config.task == "jpeg_restoration"


def test_two_trainings_side_by_side_of_photos_in_two_folders(script, tiny, photos, tmp_path):
    large = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1000, 1300, 3), np.uint8))
    clean = tmp_path / "clean"
    shutil.copytree(photos, clean)
    large.save(clean / "large.png")
    (clean / "deep").mkdir()
    shutil.copy(clean / "photo_00.png", clean / "deep")
    data = {"photos": str(clean), "most_shrunk": 2.25}
    for name in ("one", "other"):
        config = tiny(data=data, steps=100_000, decay_steps=0, objective="predictor", seed=len(name))
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    configs = [tmp_path / "one.yaml", tmp_path / "other.yaml"]
    script.pack(configs, tmp_path / "loan", 0.01, {}, 40)
    assert yaml.safe_load((tmp_path / "loan" / "one.yaml").read_text())["data"]["most_shrunk"] == 1.5
    folders = [tmp_path / name / "photos" for name in ("loan", "loan-more")]
    packed = [{str(f.relative_to(folder)) for f in folder.rglob("*.*")} for folder in folders]
    assert packed[1]
    assert not packed[0] & packed[1]
    assert {name.removesuffix(".avif") for name in packed[0] | packed[1]} == {
        str(f.relative_to(clean)) for f in clean.rglob("*.*")
    }, "also where two of them have one name"
    with Image.open(folders[1] / "large.png.avif") as image:
        assert image.width in (round(1300 / 1.5), round(1300 / 1.5**0.5))
    script.train_there(
        [tmp_path / "loan", tmp_path / "loan-more"],
        tmp_path / "results",
        0.05,
        ["sampling.start_fraction=0.25"],
    )
    script.resume(tmp_path / "results", tmp_path / "models")
    for name in ("one", "other"):
        assert load(str(tmp_path / "models" / name / "model"), "cpu").config.start_fraction == 0.25, (
            "as trained"
        )


def test_of_two_trainings_one_fails_and_the_other_is_kept(script, tiny, tmp_path):
    for name, changes in (("bad", {"initial": str(tmp_path / "nowhere")}), ("good", {})):
        config = tiny(steps=100_000, decay_steps=0, objective="predictor", **changes)
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    script.pack([tmp_path / "good.yaml"], tmp_path / "packed", 40, {}, 0)
    shutil.copy(tmp_path / "bad.yaml", tmp_path / "packed")
    with pytest.raises(SystemExit, match="bad ended with exit status 1"):
        script.train_there([tmp_path / "packed"], tmp_path / "results", 0.05, [])
    assert (tmp_path / "results" / "good.predictor.safetensors").exists()


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
    script.pack([tmp_path / "my.yaml"], tmp_path / "loan", 0.001, {}, 0)
    assert not list((tmp_path / "loan" / "photos").iterdir()), "what is beside them counts, too"
    script.pack([tmp_path / "my.yaml"], tmp_path / "more", 40, {}, 0)
    monkeypatch.chdir(tmp_path / "more")
    config = load_config(Path("my.yaml"))
    source, words, held_out = open_source(config, config.make_task(), Path("work"))
    assert (words, len(held_out)) == ("4 pairs and 12 photos and 1 runs of frames", 2)
    assert source.crop(np.random.default_rng(0), 16).clean.shape == (16, 16, 3)


def test_lpips_is_packed_once(script, tiny, tmp_path, monkeypatch, metric_weights):
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    for name in ("one", "other"):
        values = tiny(objective="sampler_aware", perceptual_weight=1.0).model_dump(mode="json")
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    script.pack([tmp_path / "one.yaml", tmp_path / "other.yaml"], tmp_path / "loan", 40, {}, 0)
    monkeypatch.setenv("UCDIR_WEIGHTS", str(tmp_path / "loan" / "metric_weights"))
    assert Lpips()
    with pytest.raises(SystemExit, match="of one name"):
        script.pack([tmp_path / "one.yaml"] * 2, tmp_path / "again", 40, {}, 0)


def test_pairs_of_a_list_are_packed_wherever_they_are(script, tiny, photos, tmp_path):
    """Copies go into the pack, never beside the originals."""
    blurred, sharp = tmp_path / "mine" / "blurred.png", tmp_path / "mine" / "sharp.png"
    blurred.parent.mkdir()
    for file, photo in zip((blurred, sharp), sorted(photos.iterdir()), strict=False):
        shutil.copy(photo, file)
    (tmp_path / "lists").mkdir()
    for number, name in enumerate((blurred, "../mine/blurred.png")):
        (tmp_path / "lists" / "pairs.txt").write_text(f"{name}\t{sharp}\n")
        config = tiny(data={"pairs": str(tmp_path / "lists" / "pairs.txt"), "hold_out": 0})
        places = script.pack_pairs_and_frames(config.data, tmp_path / f"loan{number}")
        found = {}
        for kind in ("degraded", "clean"):
            (file,) = (tmp_path / places[kind]).rglob("*.png")
            found[kind] = file.read_bytes()
        assert found == {"degraded": blurred.read_bytes(), "clean": sharp.read_bytes()}
        assert sorted(blurred.parent.iterdir()) == [blurred, sharp]
        assert not list((tmp_path / "lists").glob("*.png"))


def test_settings(script):
    options = ["training.batch_size=256", "training.compile=true", "data.crop=64"]
    assert script.nested(options) == {"training": {"batch_size": 256, "compile": True}, "data": {"crop": 64}}
