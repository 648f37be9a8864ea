"""The command line: what it prints, where it writes, and how it fails."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from ucdir import cli
from ucdir.degradations import JpegCompression
from ucdir.images import Photo, read, write

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error::UserWarning"}


@pytest.fixture
def ucdir(model_folder, monkeypatch, capfd):
    """A function: arguments of `ucdir` -> (exit status, stdout, stderr); restores with a small random model."""

    def call(*arguments, model=True):
        words = [str(a) for a in arguments]
        if words[0] == "restore" and model and "--model" not in words:
            words += ["--model", str(model_folder)]
        monkeypatch.setattr(sys, "argv", ["ucdir", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfd.readouterr()
        return stop.value.code or 0, out, err

    return call


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(JpegCompression(20).encode(PIXELS))
    return path


def refused(result, *words):
    """Exit status 2, nothing on stdout, one sentence on stderr."""
    status, out, err = result
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("ucdir: ")
    assert err.rstrip().endswith(".")
    for word in words:
        assert str(word) in err


# ------------------------------------------------------------------------------------------------------- restore


def test_restore(ucdir, photo):
    status, out, err = ucdir("restore", photo)
    assert (status, err) == (0, "")
    output = photo.with_name("photo.restored.png")
    assert out.startswith(f"{photo}: 24x20, jpeg restoration, jpeg quality 20, 3 steps, ")
    assert out.endswith(f" s -> {output}\n")
    assert read(output).pixels.shape == PIXELS.shape


def test_options_reach_the_pipeline(ucdir, photo, tmp_path):
    results = []
    for name, *options in (("a", "--seed", 1), ("b", "--seed", 1), ("c", "--seed", 2), ("d", "--steps", 1)):
        assert ucdir("restore", photo, "-o", tmp_path / f"{name}.png", *options)[0] == 0
        results.append(read(tmp_path / f"{name}.png").pixels)
    same = [[np.array_equal(a, b) for a in results] for b in results]
    assert same == [
        [True, True, False, False],
        [True, True, False, False],
        *np.eye(4, dtype=bool)[2:].tolist(),
    ]
    _, out, _ = ucdir("restore", photo, "--jpeg-quality", "50", "--device", "cpu", "--patch-size", "200")
    assert "jpeg quality 50" in out


def test_samples(ucdir, photo, tmp_path):
    ucdir("restore", photo, "-o", tmp_path / "out.png", "--samples", "2", "--seed", "3")
    assert not (tmp_path / "out.png").exists()
    ucdir("restore", photo, "-o", tmp_path / "second.png", "--seed", "4")
    assert (tmp_path / "out-2.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    assert (tmp_path / "out-1.png").read_bytes() != (tmp_path / "second.png").read_bytes()
    mean = (
        "restore",
        photo,
        "-o",
        tmp_path / "mean.png",
        "--samples",
        "2",
        "--uncertainty",
        tmp_path / "map.png",
    )
    status, _, error = ucdir(*mean)
    assert status == 2
    assert "with --average" in error
    ucdir(*mean, "--average")
    assert (tmp_path / "mean.png").exists()
    assert (tmp_path / "map.png").exists()


def test_several_into_a_folder(ucdir, photo, tmp_path):
    write(Photo(PIXELS), tmp_path / "other.png")
    (tmp_path / "results").mkdir()
    status, out, _ = ucdir("restore", photo, tmp_path / "other.png", "-o", tmp_path / "results")
    assert status == 0
    assert len(out.splitlines()) == 2
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == [
        "other.restored.png",
        "photo.restored.png",
    ]
    refused(ucdir("restore", photo, tmp_path / "other.png", "-o", tmp_path / "no"), "there is no such folder")
    refused(ucdir("restore", photo, photo, "-o", tmp_path / "results", "--force"), "would be written there")


def test_a_bad_one_does_not_stop_the_others(ucdir, photo, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff junk")
    status, out, err = ucdir("restore", tmp_path / "bad.jpg", photo)
    assert status == 2
    assert "bad.jpg" in err
    assert "photo.restored.png" in out
    assert not (tmp_path / "bad.restored.png").exists()


def test_a_note_on_what_was_odd(ucdir, tmp_path):
    from PIL import Image

    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    status, _, err = ucdir("restore", tmp_path / "moving.webp")
    assert status == 0
    assert err.startswith("note: ")
    assert "2 frames" in err


def test_odd_but_valid_images(ucdir, tmp_path):
    from PIL import Image

    Image.fromarray(PIXELS).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(PIXELS[:1, :1]).save(tmp_path / "dot.png")
    Image.fromarray(np.tile(PIXELS, (1, 20, 1))[:3, :400]).save(tmp_path / "strip.bmp")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "turned.jpg", exif=turned)
    for name, size in (
        ("cmyk.jpg", (20, 24)),
        ("dot.png", (1, 1)),
        ("strip.bmp", (3, 400)),
        ("turned.jpg", (24, 20)),
    ):
        assert ucdir("restore", tmp_path / name)[0] == 0, name
        assert read((tmp_path / name).with_suffix("").with_suffix(".restored.png")).pixels.shape == (
            *size,
            3,
        ), name


def test_an_existing_output_is_kept(ucdir, photo):
    output = photo.with_name("photo.restored.png")
    output.write_bytes(b"precious")
    refused(ucdir("restore", photo), output.name, "--force")
    assert output.read_bytes() == b"precious"
    assert ucdir("restore", photo, "--force")[0] == 0
    assert read(output).pixels.shape == PIXELS.shape


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.jpg", b""), ("text.png", b"hello, world"), ("cut.jpg", None), ("page.pdf", b"%PDF-1.7\n")],
)
def test_what_is_no_image(ucdir, photo, tmp_path, name, content):
    (tmp_path / name).write_bytes(photo.read_bytes()[:-200] if content is None else content)
    refused(ucdir("restore", tmp_path / name), name)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["photo.jpg", name])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jpg"], ["missing.jpg"]),
        (["."], ["folder"]),
        (["photo.jpg", "-o", "out.xyz"], ["out.xyz", ".png"]),
        (["photo.jpg", "-o", "no/out.png"], ["no"]),
        (["photo.jpg", "--steps", "0"], ["num_inference_steps 0"]),
        (["photo.jpg", "--steps", "5000"], ["num_inference_steps 5000"]),
        (["photo.jpg", "--steps", "801"], ["num_inference_steps 801 is more than the 800 steps"]),
        (["photo.jpg", "--seed", "-1"], ["seed -1"]),
        (["photo.jpg", "--patch-size", "8"], ["patch size of 8 pixels"]),
        (["photo.jpg", "--device", "tpu"], ["'tpu' is not available"]),
        (["photo.jpg", "--model", "nothing"], ["nothing: no model has this name"]),
    ],
)
def test_restore_refuses(ucdir, photo, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    refused(ucdir("restore", *arguments), *words)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(ucdir, photo):
    photo.chmod(0)
    refused(ucdir("restore", photo), "ermission")


def test_a_damaged_model(ucdir, photo, model_folder, tmp_path):
    import shutil

    shutil.copytree(model_folder, tmp_path / "model")
    weights = tmp_path / "model" / "predictor" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(ucdir("restore", photo, "--model", tmp_path / "model"), weights, "cut short")
    assert not photo.with_name("photo.restored.png").exists()


# --------------------------------------------------------------------------------------------------- train, info


def test_train_refuses(ucdir, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{photos: {tmp_path / 'absent'}}}\ntraining: {{stepz: 3}}\n")
    refused(ucdir("train", config, "-o", tmp_path / "run"), config, "training.stepz")
    config.write_text(f"data: {{photos: {tmp_path / 'absent'}}}\n")
    refused(ucdir("train", config, "-o", tmp_path / "run"), "absent", "no such folder")
    refused(ucdir("train", tmp_path / "no.yaml", "-o", tmp_path / "run"), "no.yaml", "no such file")
    (tmp_path / "model").mkdir()
    refused(ucdir("train", config, "-o", tmp_path / "run", "--export", tmp_path / "model"), "exists already")


def test_train_dry_run_prints_the_whole_configuration(ucdir, root, tmp_path):
    from ucdir.config import load_config

    config = root / "configs" / "jpeg_restoration.yaml"
    status, out, _ = ucdir("train", config, "-o", tmp_path / "run", "--photos", tmp_path, "--dry-run")
    assert status == 0
    assert not (tmp_path / "run").exists()
    (tmp_path / "printed.yaml").write_text(out)
    printed, original = load_config(tmp_path / "printed.yaml"), load_config(config)
    assert printed.data.photos == tmp_path
    assert printed.model_dump(exclude={"data": {"photos"}}) == original.model_dump(
        exclude={"data": {"photos"}}
    )


def test_train_and_restore_with_what_was_trained(ucdir, photo, tmp_path):
    (tmp_path / "clean").mkdir()
    for i in range(4):
        write(Photo(np.roll(PIXELS, i, axis=0)), tmp_path / "clean" / f"{i}.png")
    small = "{channels: 4, multipliers: [1], blocks: [1]}"
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data: {{photos: clean, crop: 16, hold_out: 1}}\n"
        f"model: {{predictor: {small}, diffusion_model: {small}}}\n"
        "sampling: {steps: 2}\ntraining: {steps: 2, batch_size: 2, workers: 0}\n"
    )
    clean, run, model = tmp_path / "clean", tmp_path / "run", tmp_path / "model"
    status, out, _ = ucdir("train", config, "--photos", clean, "-o", run, "--export", model)
    assert status == 0
    assert str(model) in out
    status, out, _ = ucdir("restore", photo, "--model", model)
    assert status == 0
    assert "2 steps" in out


def test_info(ucdir, monkeypatch, tmp_path):
    status, out, _ = ucdir("info")
    assert status == 0
    for word in ("ucdir 0.1.0", "torch", "diffusers", "devices:", "cpu"):
        assert word in out


def test_help_and_misuse(ucdir):
    status, out, _ = ucdir("--help")
    assert status == 0
    assert all(command in out for command in ("restore", "train", "info"))
    for words in (["restore", "a.jpg", "--stepz", "3"], ["paint"], ["restore", "a.jpg", "--steps", "many"]):
        status, out, err = ucdir(*words)
        assert status == 2
        assert "Traceback" not in err


# ------------------------------------------------------------------------------------------------ the real program


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom ucdir import cli\nsys.argv = ['ucdir', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'diffusers', 'numpy', 'pyvips', 'PIL', 'accelerate'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_program_itself_and_ctrl_c(photo, model_folder, tmp_path):
    command = [sys.executable, "-m", "ucdir.cli", "restore", str(photo), "--model", str(model_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1

    # the same, telling when it has begun to sample
    watched = (
        "from ucdir import cli\nfrom ucdir.diffusion import samplers\nstart = samplers.start_sample\n"
        "samplers.start_sample = lambda *a: (print('sampling', flush=True), start(*a))[1]\ncli.main()\n"
    )
    late = ["--steps", "800", "-o", str(tmp_path / "late.png")]
    process = subprocess.Popen(
        [sys.executable, "-c", watched, *command[3:], *late],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout.readline() == "sampling\n", process.stderr.read()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.jpg", "photo.restored.png"]


# ------------------------------------------------------------------------------------- tasks, degrade, data check


def test_the_task_has_to_be_said_where_the_file_does_not_tell(ucdir, tmp_path):
    write(Photo(PIXELS), tmp_path / "plain.png")
    status, out, err = ucdir("restore", tmp_path / "plain.png", model=False)
    assert (status, out) == (2, "")
    assert "say it by --task (jpeg_restoration, deblurring, low_light)" in err
    status, _, err = ucdir("restore", tmp_path / "plain.png", "--task", "rain")
    assert status == 2
    assert "--task rain is unknown" in err
    assert ucdir("restore", tmp_path / "plain.png", "--task", "jpeg_restoration")[0] == 0


@pytest.mark.parametrize("ratio", ["much", "0.5", "nan", "1e9"])
def test_an_exposure_ratio_that_is_none(ucdir, photo, ratio):
    status, _, err = ucdir("restore", photo, "--exposure-ratio", ratio)
    assert status == 2
    assert f"--exposure-ratio {ratio} is neither a number from 1 to 1000, nor auto, nor file" in err


def test_degrade_and_back(ucdir, tmp_path):
    write(Photo(PIXELS), tmp_path / "clean.png")
    bad = tmp_path / "bad.jpg"
    status, out, err = ucdir(
        "degrade", tmp_path / "clean.png", "-o", bad, "--task", "jpeg_restoration", "--strength", "20"
    )
    assert (status, err) == (0, "")
    assert out == f"{tmp_path / 'clean.png'}: jpeg restoration, seed 0, jpeg quality 20 -> {bad}\n"
    assert "jpeg quality 20" in ucdir("restore", bad)[1]
    status, _, err = ucdir("degrade", tmp_path / "clean.png", "-o", bad, "--task", "deblurring")
    assert status == 2
    assert "exists" in err


def test_data_check(ucdir, tmp_path):
    for name in ("a", "b"):
        write(Photo(PIXELS), tmp_path / f"{name}.png")
    status, out, _ = ucdir("data", "check", tmp_path, "--task", "deblurring", "--crop", "8")
    assert status == 0
    assert out.startswith("2 of 2 photographs can be used")
    (tmp_path / "c.png").write_bytes(b"nothing")
    status, out, _ = ucdir(
        "data", "check", tmp_path, "--task", "deblurring", "--json", tmp_path / "report.json"
    )
    assert status == 1
    assert "problem: " in out
    assert json.loads((tmp_path / "report.json").read_text())["found"] == 3
    assert ucdir("data", "check", tmp_path / "absent", "--task", "deblurring")[0] == 2
