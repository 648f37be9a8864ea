"""Hostile checkpoints and model folders on the command line: one sentence, exit status 2, and nothing written."""

import json
import shutil

import pytest
import torch


def test_every_hostile_checkpoint_is_refused_by_convert(ucdir, refused, test_data, tmp_path):
    files = sorted((test_data / "hostile" / "checkpoints").iterdir())
    assert len(files) > 40
    for file in files:
        refused(ucdir("convert", file, "-o", tmp_path / "out"), file)
    assert not any(tmp_path.iterdir())


def test_a_small_checkpoint_of_a_large_network_is_refused(ucdir, refused, tmp_path):
    large = {"predictor.conv1_1.weight": (512, 3, 3, 3), "denoise_fn.downs.0.weight": (512, 6, 3, 3)}
    state = {name: torch.zeros(1).expand(shape) for name, shape in large.items()}
    torch.save(state, tmp_path / "large.pth")
    assert (tmp_path / "large.pth").stat().st_size < 3000
    words = "is larger than what the file holds of it; download it again."
    refused(ucdir("convert", tmp_path / "large.pth", "-o", tmp_path / "out"), words)
    assert not (tmp_path / "out").exists()


INDEX, SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        (SCHEDULER, "rescale_betas_zero_snr", True),
        (SCHEDULER, "prediction_type", "v_prediction"),
        (SCHEDULER, "prediction_type", "no such thing"),
        (SCHEDULER, "beta_start", float("nan")),
        (SCHEDULER, "beta_end", "large"),
        (SCHEDULER, "num_train_timesteps", 10**12),
        (SCHEDULER, "trained_betas", [0.0]),
        (INDEX, "noise", "a lot"),
        (INDEX, "noise_scale", float("nan")),
        (INDEX, "noise_scale", [1]),
        (INDEX, "residual_scale", 1e-300),
        (INDEX, "steps", 10**6),
        (INDEX, "task", None),
        (INDEX, "task", "x"),
        (INDEX, "sampler", {}),
        ("predictor/config.json", "unshuffle", 4096),
        ("diffusion_model/config.json", "sigma_data", float("inf")),
        ("diffusion_model/config.json", "scalars", ["no such scalar"]),
    ],
)
def test_a_setting_of_a_model_folder_that_is_none_is_refused(
    ucdir, refused, model_folder, photo, tmp_path, file, key, value
):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**settings, key: value}))
    named = folder if key in ("task", "scalars") else folder / file  # which another file may decide, too
    refused(
        ucdir("restore", photo, "-o", tmp_path / "out.png", "--model", folder, "--device", "cpu"),
        named,
        "noise_scale" if key == "noise" else key,
    )
    assert not (tmp_path / "out.png").exists()


def test_control_the_folder_itself_restores(ucdir, model_folder, photo, tmp_path):
    shutil.copytree(model_folder, tmp_path / "model")
    arguments = (
        "restore",
        photo,
        "-o",
        tmp_path / "out.png",
        "--model",
        tmp_path / "model",
        "--device",
        "cpu",
    )
    assert ucdir(*arguments)[0] == 0
    assert (tmp_path / "out.png").exists()
