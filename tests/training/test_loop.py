"""The loop learns, stops when it must, and resumes as if it had never stopped."""

import json
import logging
import shutil
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ucdir.data.sources import DegradedPhotos
from ucdir.errors import ConfigError, DataError, OutputError, UcdirError, WeightsError
from ucdir.training import objectives, progress, stop
from ucdir.training.checks import check_settings
from ucdir.training.loop import learning_rate, train
from ucdir.training.model import TrainingModel
from ucdir.training.progress import Progress
from ucdir.training.state import FILE_NAME, read_metadata


def bits(checkpoint):
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(checkpoint).items()}


@pytest.fixture(scope="module")
def unbroken(tiny, tmp_path_factory):
    torch.set_num_threads(1)
    return bits(train(tiny(sample_every=1), tmp_path_factory.mktemp("unbroken") / "run"))


def at_step(monkeypatch, number, action):
    """Do something when the losses of a step are reported."""
    report = Progress.update

    def update(self, step, *arguments):
        report(self, step, *arguments)
        if step == number:
            action()

    monkeypatch.setattr(Progress, "update", update)


@pytest.mark.parametrize(
    "changes",
    [{}, {"workers": 2}, {"sample_every": 4, "checkpoint_every": 2}],
    ids=["no sample images before the end", "two workers", "checkpoints"],
)
def test_what_must_not_change_the_weights(tiny, tmp_path, unbroken, changes):
    assert bits(train(tiny(**changes), tmp_path)) == unbroken


def test_control_another_seed_changes_the_weights(tiny, tmp_path, unbroken):
    assert bits(train(tiny(seed=1), tmp_path)) != unbroken


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photograph_that_goes_missing_is_named_in_one_sentence(tiny, tmp_path, monkeypatch, workers):
    def missing(self, rng, side):
        raise DataError("photos/a.png: this file is gone: put it back.")

    monkeypatch.setattr(DegradedPhotos, "crop", missing)
    with pytest.raises(DataError) as raised:
        train(tiny(workers=workers), tmp_path)
    assert str(raised.value) == "photos/a.png: this file is gone: put it back."


def test_ctrl_c_saves_and_the_same_command_goes_on(tiny, tmp_path, unbroken, monkeypatch, caplog):
    config = tiny()
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path)
    assert read_metadata(tmp_path / "checkpoint.safetensors").step == 3
    assert "stopped after step 3, which is saved; run the same command to resume" in caplog.text
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert bits(train(config, tmp_path)) == unbroken
    assert bits(train(config, tmp_path)) == unbroken, "a finished training is left as it is"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_notice_to_end_saves_and_is_then_passed_on(tiny, tmp_path, unbroken, monkeypatch, number):
    class ToldError(Exception):
        pass

    def handler(number, frame):
        raise ToldError

    before = signal.signal(number, handler)
    try:
        with monkeypatch.context() as patch:
            at_step(patch, 3, lambda: signal.raise_signal(number))
            with pytest.raises(ToldError):
                train(tiny(), tmp_path)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    assert read_metadata(tmp_path / "checkpoint.safetensors").step == 3
    assert bits(train(tiny(), tmp_path)) == unbroken


def test_what_is_ignored_stays_so(tiny, tmp_path, unbroken, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        at_step(monkeypatch, 3, lambda: signal.raise_signal(signal.SIGHUP))
        assert bits(train(tiny(), tmp_path)) == unbroken
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_ctrl_c_stops_at_once(tiny, tmp_path, monkeypatch):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    at_step(monkeypatch, 3, twice)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(checkpoint_every=2), tmp_path)
    assert read_metadata(tmp_path / "checkpoint.safetensors").step == 2


def test_a_longer_training_goes_on_from_a_shorter_one(tiny, tmp_path, unbroken):
    train(tiny(steps=4), tmp_path)
    assert bits(train(tiny(steps=6, checkpoint_every=5), tmp_path)) == unbroken


@pytest.mark.parametrize(("when", "kept"), [(4, 2), (5, 4), (6, 4)])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_it(tiny, tmp_path, monkeypatch, *, when, kept, bad):
    calls = 0
    true_loss = objectives.residual_loss

    def broken_loss(*arguments, **keywords):
        nonlocal calls
        calls += 1
        losses = true_loss(*arguments, **keywords)
        return {**losses, "noise": losses["noise"] * bad} if calls == when else losses

    monkeypatch.setattr(objectives, "residual_loss", broken_loss)
    with pytest.raises(UcdirError, match=rf"of step {when} is (nan|inf)"):
        train(tiny(checkpoint_every=2), tmp_path)
    assert read_metadata(tmp_path / "checkpoint.safetensors").step == kept
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "checkpoint.safetensors").values())


@pytest.mark.parametrize("way", ["joint", "separate"])
def test_it_learns(tiny, tmp_path, way, monkeypatch):
    monkeypatch.setattr(progress, "LOG_EVERY", 20)
    settings = {"predictor_training": way, "loss": "mse"}
    train(tiny(diffusion=settings, steps=60, learning_rate=5e-3), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["noise"] for line in lines if "noise" in line]
    assert [line["step"] for line in lines] == [20, 40, 60, 60]
    assert losses[-1] < 0.8 * losses[0]
    assert bool(lines[0]["predictor"]) is (way == "separate")
    assert {"images_per_second", "learning_rate", "gradient"} <= lines[0].keys()
    assert {"psnr_input", "psnr_predictor", "psnr_restored"} <= lines[-1].keys()


def test_bf16_and_compiled_networks_train(tiny, tmp_path, monkeypatch):
    from accelerate.state import AcceleratorState

    compiled = []

    def compile_for_one_size(self, *, dynamic):
        compiled.append((type(self).__name__, dynamic))

    monkeypatch.setattr(torch.nn.Module, "compile", compile_for_one_size)
    AcceleratorState._reset_state(True)
    try:
        checkpoint = train(tiny(mixed_precision="bf16", compile=True, steps=2), tmp_path)
    finally:
        AcceleratorState._reset_state(True)
    assert compiled == [("InitialPredictor", False), ("DiffusionModel", False)]
    assert {tensor.dtype for tensor in load_file(checkpoint).values()} == {torch.float32}


def test_the_log_says_what_is_trained(tiny, tmp_path, caplog):
    caplog.set_level(logging.INFO, "ucdir")
    config = tiny(steps=1)
    train(config, tmp_path)
    parameters = sum(p.numel() for p in TrainingModel(config).parameters())
    expected = f"training on 1 x cpu: {parameters:,} parameters, 10 photos (2 more held out), steps 0 to 1"
    assert expected in caplog.text


def test_learning_rate(tiny):
    settings = tiny(steps=100, warmup_steps=4, decay_steps=9, learning_rate=1.0).training
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert set(rates[4:91]) == {1.0}
    np.testing.assert_allclose(rates[91:], np.arange(9, 0, -1) / 10)
    constant = tiny(steps=100, warmup_steps=0, decay_steps=0, learning_rate=1e-4).training
    assert {learning_rate(step, constant) for step in range(100)} == {1e-4}, "the paper"


def test_sample_images(tiny, tmp_path, caplog):
    caplog.set_level(logging.INFO, "ucdir")
    train(tiny(steps=3, sample_every=2), tmp_path)
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == ["step_000002.png", "step_000003.png"]
    image = np.asarray(Image.open(tmp_path / "samples" / "step_000003.png"))
    assert image.shape == (2 * 40, 4 * 48, 3), "two photos, four columns"
    degraded, predicted, restored, clean = (image[:, i * 48 : (i + 1) * 48].astype(float) for i in range(4))
    assert np.abs(degraded - clean).mean() > 0.5
    assert np.abs(predicted - degraded).mean() < 30
    assert np.abs(restored - clean).mean() < 60
    assert "samples of step 3: input " in caplog.text
    assert "predictor " in caplog.text.split("samples of step 3")[1]


def test_no_sample_images_without_held_out_photos(tiny, tmp_path):
    train(tiny(steps=1, data={"hold_out": 0}), tmp_path)
    assert not (tmp_path / "samples").exists()


# ------------------------------------------------------------------------------------- what cannot be trained


def test_missing_photos(tiny, tmp_path):
    with pytest.raises(DataError, match=r"nowhere: there is no such folder; data\.photos must name a folder"):
        train(tiny(data={"photos": str(tmp_path / "nowhere")}), tmp_path / "run")


def test_all_photos_held_out(tiny, tmp_path):
    with pytest.raises(DataError, match="sets 12 photographs aside, but there are only 12"):
        train(tiny(data={"hold_out": 12}), tmp_path)


def test_output_among_the_photos(tiny, photos):
    with pytest.raises(ConfigError, match="lies within .*clean"):
        train(tiny(), photos / "run")
    assert not (photos / "run").exists()


def test_output_is_a_file(tiny, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError, match="run: cannot be made"):
        train(tiny(), tmp_path / "run")


def test_all_problems_of_the_settings_in_one_message(tiny):
    model = {"predictor": {"activation": "swosh"}, "diffusion_model": {"norm": "nurm", "scalars": ["speed"]}}
    config = tiny(
        model=model, diffusion={"loss": "l3", "predictor_training": "no"},
        sampling={"sampler": "magic"}, data={"crop": 20}, batch_size=5,
    )  # fmt: skip
    with pytest.raises(ConfigError) as error:
        check_settings(config, processes=2)
    for problem in (
        "model.predictor.activation 'swosh' is unknown; choose one of swish",
        "model.diffusion_model.norm 'nurm'",
        "model.diffusion_model.scalars 'speed' is unknown; choose one of jpeg_quality",
        "diffusion.loss 'l3' is unknown; choose one of l1, mse",
        "diffusion.predictor_training 'no'",
        "sampling.sampler 'magic'",
        "data.crop 20 is not a multiple of the model's coarsest pixel, 16",
        "training.batch_size 5 is not a multiple of the 2 processes",
    ):
        assert problem in str(error.value)
    check_settings(tiny(batch_size=6), processes=2)


def test_a_missing_compiler_is_reported_before_training_starts(tiny, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/c++" if name == "c++" else None)
    check_settings(tiny(compile=True), processes=1)
    monkeypatch.setattr("shutil.which", lambda name: None)
    check_settings(tiny(compile=False), processes=1)
    with pytest.raises(ConfigError, match=r"training\.compile needs a C\+\+ compiler and none is installed"):
        check_settings(tiny(compile=True), processes=1)


def test_without_accelerate_the_extra_is_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(
        UcdirError, match=r"training needs the package accelerate.*pip install 'ucdir\[train\]'"
    ):
        train(tiny(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_experiment(tiny, tmp_path):
    train(tiny(steps=1), tmp_path)
    with pytest.raises(ConfigError, match=r"training\.learning_rate was 0\.001 and is now 0\.002"):
        train(tiny(steps=2, learning_rate=2e-3), tmp_path)
    with pytest.raises(ConfigError, match=r"seed was 0 and is now 5"):
        train(tiny(steps=2, seed=5), tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    larger = tiny(steps=2)
    larger = replace_crop(larger, 2 * larger.data.crop)
    with pytest.raises(ConfigError, match=r"data\.crop was"):
        train(larger, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files  # the decoded photos, too
    train(larger, tmp_path / "other")  # the control


def replace_crop(config, crop):
    return config.model_copy(update={"data": config.data.model_copy(update={"crop": crop})})


def test_a_damaged_checkpoint_is_not_overwritten(tiny, tmp_path):
    checkpoint = train(tiny(steps=1), tmp_path)
    damaged = checkpoint.read_bytes()[:-1000]
    checkpoint.write_bytes(damaged)
    with pytest.raises(WeightsError, match="is damaged"):
        train(tiny(steps=2), tmp_path)
    assert checkpoint.read_bytes() == damaged


def test_a_training_of_some_minutes_ends_with_a_learning_rate_of_zero(tiny, tmp_path, monkeypatch):
    config = tiny(steps=1_000_000, checkpoint_every=1_000_000, decay_steps=0)
    rates = []
    report = Progress.update

    def update(self, step, values, images, rate):
        rates.append(rate)
        report(self, step, values, images, rate)
        monkeypatch.setattr(stop.time, "monotonic", lambda: 0.5 * step)  # seconds, from 0

    monkeypatch.setattr(Progress, "update", update)
    monkeypatch.setattr(stop.time, "monotonic", lambda: 0.0)
    checkpoint = train(config, tmp_path, minutes=0.1)  # 6 seconds
    assert read_metadata(checkpoint).step == len(rates) == 12
    full = config.training.learning_rate
    assert rates[4:7] == pytest.approx([full] * 3), "no decay in the first half"
    assert rates[7:] == pytest.approx([full * n / 6 for n in (5, 4, 3, 2, 1)])


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_minutes_that_are_no_time(tiny, tmp_path, minutes):
    with pytest.raises(ConfigError, match=r"minutes (0|-1|nan) of training are not above 0"):
        train(tiny(), tmp_path / "run", minutes=minutes)
    assert not (tmp_path / "run").exists()


def test_minutes_are_for_one_process(tiny, tmp_path, monkeypatch):
    from accelerate import Accelerator

    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: 2))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="minutes are for one process"):
        train(tiny(), tmp_path, minutes=1)


def test_other_photographs_than_before_are_said(tiny, photos, tmp_path, caplog):
    """Those that are held out are spread over all of them, so one more may change which they are."""
    mine = tmp_path / "mine"
    shutil.copytree(photos, mine)
    config = tiny(steps=1, data={"photos": str(mine)})
    train(config, tmp_path / "run")
    longer = config.model_copy(update={"training": config.training.model_copy(update={"steps": 2})})
    train(longer, tmp_path / "run")
    assert "before" not in caplog.text, "the control"
    shutil.copy(next(mine.iterdir()), mine / "one_more.png")
    train(longer, tmp_path / "run")
    assert "there are 11 photos now, and were 10 photos before: what is held out now" in caplog.text


def test_one_process_trains_with_one_precision(tiny, tmp_path):
    train(tiny(steps=1), tmp_path / "one")
    with pytest.raises(ConfigError, match="mixed_precision bf16: this process has trained with another"):
        train(tiny(steps=1, mixed_precision="bf16"), tmp_path / "two")
    train(tiny(steps=2), tmp_path / "one")  # the control


def test_a_schedule_without_any_signal_at_its_end_is_refused(tiny):
    noisy = {"timesteps": 2000, "beta_end": 0.5}
    with pytest.raises(ConfigError, match="sampling begins where nothing is left of the residual"):
        check_settings(tiny(diffusion=noisy, sampling={"start_fraction": 1.0}), 1)
    check_settings(tiny(diffusion=noisy, sampling={"start_fraction": 0.1}), 1)  # the control


def test_a_warm_up_that_never_ends_is_said(tiny, tmp_path, caplog):
    train(tiny(steps=2, warmup_steps=2), tmp_path / "control")
    assert "warmup_steps" not in caplog.text
    train(tiny(steps=1, warmup_steps=2), tmp_path / "run")
    assert "training.warmup_steps 2 is more than training.steps 1: the learning rate never" in caplog.text


def test_fewer_steps_than_are_done_are_refused(tiny, tmp_path):
    train(tiny(steps=3), tmp_path)
    done = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(ConfigError, match=r"training\.steps 2 is less than the 3 that .* has done: raise it"):
        train(tiny(steps=2), tmp_path)
    train(tiny(steps=3), tmp_path)  # the control
    assert (tmp_path / FILE_NAME).read_bytes() == done
