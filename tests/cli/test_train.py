"""`ucdir train`."""

import numpy as np

from ucdir.images import Photo, write


def test_train_refuses(ucdir, tmp_path, refused):
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{photos: {tmp_path / 'absent'}}}\ntraining: {{stepz: 3}}\n")
    refused(ucdir("train", config, "-o", tmp_path / "run"), config, "training.stepz")
    config.write_text(f"data: {{photos: {tmp_path / 'absent'}}}\n")
    refused(ucdir("train", config, "-o", tmp_path / "run"), "absent", "no such folder")
    refused(ucdir("train", tmp_path / "no.yaml", "-o", tmp_path / "run"), "no.yaml", "no such file")
    (tmp_path / "model").mkdir()
    refused(ucdir("train", config, "-o", tmp_path / "run", "--export", tmp_path / "model"), "exists already")
    # `--model low_light` would not mean that one
    package = ("low_light", "a pretrained model", "my_low_light")
    refused(ucdir("train", config, "-o", tmp_path / "run", "--export", "low_light"), *package)
    refused(ucdir("convert", tmp_path / "I1_gen_ema.pth", "-o", "low_light"), *package)


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


def test_train_and_restore_with_what_was_trained(ucdir, photo, tmp_path, pixels):
    (tmp_path / "clean").mkdir()
    for i in range(4):
        write(Photo(np.roll(pixels, i, axis=0)), tmp_path / "clean" / f"{i}.png")
    small = "{channels: 4, multipliers: [1], blocks: [1]}"
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data: {{photos: clean, crop: 16, hold_out: 1}}\n"
        f"model: {{predictor: {small}, diffusion_model: {small}}}\n"
        "sampling: {steps: 2}\ntraining: {steps: 2, decay_steps: 0, batch_size: 2, workers: 0}\n"
    )
    clean, run, model = tmp_path / "clean", tmp_path / "run", tmp_path / "model"
    status, out, _ = ucdir("train", config, "--photos", clean, "-o", run, "--export", model)
    assert status == 0
    assert str(model) in out
    status, out, _ = ucdir("restore", photo, "--model", model)
    assert status == 0
    assert "2 steps" in out
    # sampling may be changed after the last step
    config.write_text(config.read_text().replace("sampling: {steps: 2}", "sampling: {steps: 3}"))
    later = tmp_path / "later"
    assert ucdir("train", config, "--photos", clean, "-o", run, "--export", later)[0] == 0
    assert "3 steps" in ucdir("restore", photo, "--model", later, "--force")[1]
