"""Export to ONNX: what is in the folder, what is refused; and the example that runs it without ucdir."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ucdir.errors import OutputError, WeightsError
from ucdir.workflows.export import export


def program(*command):
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=120, check=False
    )


def ucdir(*arguments):
    return program("-m", "ucdir.cli", *arguments)


def test_what_a_caller_must_know_is_in_the_folder(tmp_path):
    from ucdir.model.pretrained import model_folder

    result = ucdir("export", "low_light", "--format", "onnx", "-o", tmp_path / "model/")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("low_light -> ")
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == [
        "README.md", "diffusion_model.onnx", "predictor.onnx", "ucdir.json",
    ]  # fmt: skip
    values = json.loads((tmp_path / "model" / "ucdir.json").read_text())
    index = json.loads((model_folder("low_light") / "model_index.json").read_text())
    assert (values["format"], values["precision"], values["prediction"]) == (1, "fp32", "noise")
    assert (values["receptive_field"], values["multiple_of"]) == (91, 8)
    assert (
        values["pipeline"].items() >= {key: index[key] for key in ("task", "residual_scale", "steps")}.items()
    )
    assert values["scalars"]["exposure_ratio"] == {"unit": "times", "range": [1, 1000], "default": None}
    assert len(values["noise_levels"]) == 2
    page = (tmp_path / "model" / "README.md").read_text()
    assert "| `gain` | digital numbers per electron | 0.01 to 1000 | NaN |" in page
    assert "{" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["low_light", "--format", "tflite"], "--format tflite is unknown; choose onnx."),
        (["low_light", "--precision", "int8"], "precision 'int8' is none of ONNX; choose one of fp32, fp16."),
        (["no_such_model"], "no model has this name and there is no such folder"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(tmp_path, arguments, message):
    result = ucdir("export", *arguments, "-o", tmp_path / "model")
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced(model_folder, tmp_path):
    (tmp_path / "file").write_text("kept")
    for place in (tmp_path / "file", tmp_path):
        with pytest.raises(OutputError, match="exists already; name a new folder"):
            export(model_folder, place)
    assert (tmp_path / "file").read_text() == "kept"
    export(model_folder, tmp_path / "model")  # the control
    with pytest.raises(WeightsError, match="is in ONNX form already"):
        export(tmp_path / "model", tmp_path / "again")
    with pytest.raises(OutputError, match="cannot be written"):
        export(model_folder, tmp_path / "file" / "model")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "model"]


def test_the_authors_networks_are_refused(model_folder, tmp_path):
    from ucdir.model.folder import INDEX_FILE, RELEASE

    index = json.loads((model_folder / INDEX_FILE).read_text())
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / INDEX_FILE).write_text(json.dumps({**index, **RELEASE}))
    (tmp_path / "released" / "scheduler").symlink_to(model_folder / "scheduler")
    with pytest.raises(WeightsError, match="holds the authors' networks, which have no ONNX form here"):
        export(tmp_path / "released", tmp_path / "model")


def test_weights_that_do_not_fit_are_refused(model_folder, tmp_path):
    import shutil

    folder = shutil.copytree(model_folder, tmp_path / "damaged")
    file = folder / "predictor" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "channels": 12}))
    with pytest.raises(
        WeightsError, match=r"predictor: unet.stem.weight has the shape .*; copy the model's folder"
    ):
        export(folder, tmp_path / "model")


@pytest.mark.parametrize(
    ("model", "levels"),
    [("jpeg_restoration_small", 1.5), ("jpeg_restoration", 4)],
)
def test_the_example_restores_a_photo_without_ucdir(root, tmp_path, model, levels):
    with Image.open(root / "examples" / "chelsea.jpg") as image:
        image.crop((100, 60, 203, 131)).save(tmp_path / "photo.jpg", quality=10)
    assert ucdir("export", model, "-o", tmp_path / "model").returncode == 0
    example = root / "examples" / "restore_with_onnxruntime.py"
    lines = example.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 70
    assert not any("ucdir" in line or "torch" in line for line in lines if "import" in line.split(" ")[:1])
    photo = tmp_path / "photo.jpg"
    ours, theirs = tmp_path / "ours.png", tmp_path / "theirs.png"
    result = program(example, tmp_path / "model", photo, theirs, "jpeg_quality=10")
    assert result.returncode == 0, result.stderr
    assert ucdir("restore", photo, "-o", ours, "--engine", "onnx", "--model", model).returncode == 0
    before, a, b = (
        np.asarray(Image.open(file).convert("RGB")).astype(float) for file in (photo, ours, theirs)
    )
    assert np.abs(a - b).mean() < levels, "only the noise differs"
    assert np.abs(a - before).mean() > 3, "control"
    if model == "jpeg_restoration":
        for diversity, same in ((0.25, True), (0.75, False)):
            told = tmp_path / f"{diversity}.png"
            program(example, tmp_path / "model", photo, told, "jpeg_quality=10", f"diversity={diversity}")
            assert (told.read_bytes() == theirs.read_bytes()) is same, "what is not given has its default"
    result = program(example, tmp_path / "model", photo, theirs, "gain=1")
    assert "the model does not take gain; it takes jpeg_quality" in result.stderr
