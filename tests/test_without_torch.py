"""What `pip install ucdir` alone does: without torch. CI runs this file in an environment that lacks it, too."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

WITHOUT = "import sys; sys.modules['torch'] = None\n"
PROGRAM = f"{WITHOUT}from ucdir.cli import main; sys.argv[0] = 'ucdir'; main()"


def run(*arguments, program=PROGRAM):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=120,
        check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    file = tmp_path_factory.mktemp("photo") / "photo.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(file, quality=10)
    return file


def test_info(tmp_path):
    done = run("info")
    assert done.returncode == 0, done.stderr
    assert "engine: onnx (auto), in fp32" in done.stdout
    assert "GPUs need the extra torch: pip install 'ucdir[torch]'" in done.stdout


@pytest.mark.parametrize("task", ["jpeg_restoration", "deblurring", "low_light"])
def test_restoring(photo, tmp_path, task):
    output = tmp_path / "restored.png"
    done = run("restore", photo, "-o", output, "--task", task, "--json")
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "restored"), done.stderr
    apart = np.abs(np.asarray(Image.open(output)).astype(int) - np.asarray(Image.open(photo)))
    assert apart.shape == (48, 64, 3)
    assert 0.5 < apart.mean() < 60


def test_a_folder_in_threads_and_again(photo, tmp_path):
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.jpg").write_bytes(photo.read_bytes())
    command = ("restore", tmp_path / "in", "-o", tmp_path / "out", "--jobs", "2")
    first, second = run(*command), run(*command)
    assert (first.returncode, first.stdout.count(" -> ")) == (0, 3), first.stderr
    assert (second.returncode, second.stdout.count("finished already")) == (0, 3), second.stderr


@pytest.mark.parametrize("task", ["jpeg_restoration", "low_light"])
def test_degrading(photo, tmp_path, task):
    done = run("degrade", photo, "-o", tmp_path / "degraded.png", "--task", task, "--strength", 30)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "degraded.png") as degraded:
        assert degraded.size == (64, 48)


def test_exporting_and_restoring_with_it(photo, tmp_path):
    done = run("export", "jpeg_restoration", "-o", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert run("restore", photo, "-o", tmp_path / "a.png", "--model", tmp_path / "model").returncode == 0
    assert run("restore", photo, "-o", tmp_path / "b.png").returncode == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_checking_pairs(photo, tmp_path):
    for name in ("degraded", "clean"):
        (tmp_path / name).mkdir()
        Image.open(photo).save(tmp_path / name / "a.png")
    done = run("data", "check", tmp_path, "--task", "jpeg_restoration", "--crop", "16")
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1), done.stderr


def test_from_python():
    program = (
        f"{WITHOUT}import numpy as np, ucdir\npipe = ucdir.load('low_light')\n"
        "image = np.zeros((16, 24, 3), np.uint8)\nprint(pipe(image).shape, pipe(image).dtype)"
    )
    done = run(program=program)
    assert (done.returncode, done.stdout) == (0, "(16, 24, 3) uint8\n"), done.stderr


def test_the_pipeline_of_diffusers_says_what_to_install():
    done = run(program=f"{WITHOUT}import ucdir.diffusers")
    last = done.stderr.splitlines()[-1]
    assert last.endswith(
        "ucdir.diffusers needs the package torch, which is not installed; run: pip install 'ucdir[diffusers]'"
    )


@pytest.mark.parametrize(
    ("arguments", "words", "extra"),
    [
        (("restore", "{photo}", "--engine", "torch"), "the engine torch", "torch"),
        (("restore", "{photo}", "--device", "cuda"), "device 'cuda'", "torch"),
        (("restore", "{photo}", "--precision", "bf16"), "precision 'bf16'", "torch"),
        (("degrade", "{photo}", "-o", "{folder}/a.png", "--task", "deblurring"), "blurring", "torch"),
        (("train", "{config}", "-o", "{folder}/run"), "ucdir train", "train"),
        (("evaluate", "--clean", "{folder}", "-o", "{folder}/rows"), "ucdir evaluate", "metrics"),
        (("ablate", "--task", "deblurring", "-o", "{folder}/study"), "ucdir ablate", "train"),
        (("convert", "{photo}", "-o", "{folder}/model"), "ucdir convert", "torch"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)  # fmt: skip
def test_what_needs_torch_says_so_in_one_sentence(photo, root, tmp_path, arguments, words, extra):
    config = root / "configs" / "jpeg_restoration.yaml"
    done = run(*(argument.format(photo=photo, folder=tmp_path, config=config) for argument in arguments))
    assert done.returncode == 2
    assert (
        f"{words} needs the package torch, which is not installed; run: pip install 'ucdir[{extra}]'"
        in done.stderr
    )
    assert done.stderr.startswith("ucdir: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_extras_bring_torch(root):
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    required = " ".join(project["dependencies"])
    assert "torch" not in required
    assert "onnxruntime" in required
    for name in ("train", "metrics", "diffusers", "dev"):
        assert any("torch" in package for package in project["optional-dependencies"][name])
