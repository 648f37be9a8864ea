"""A checkpoint holds everything to the bit, and a bad one is refused before it can do harm."""

import errno
import json
import resource
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ucdir.errors import ConfigError, OutputError, WeightsError
from ucdir.training import state
from ucdir.training.averaging import WeightAverage
from ucdir.training.state import check_same_experiment, load_state, read_metadata, read_tensors, save_state


class Network(nn.Module):
    """A convolution, and a parameter that gets a gradient only where `late` is asked for."""

    def __init__(self, width=4):
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 3)
        self.unused = nn.Parameter(torch.ones(5))

    def forward(self, x, late):
        return self.convolution(x).square().mean() + (self.unused.square().sum() if late else 0)


class Training:
    """A network, its average and its optimizer, and a step of theirs."""

    def __init__(self, width=4):
        torch.manual_seed(0)
        self.network = Network(width).to(memory_format=torch.channels_last)
        self.average = WeightAverage(self.network, 0.9)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.1)

    def steps(self, first, last, late_from=1000):
        for step in range(first, last + 1):
            x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
            self.network(x, step >= late_from).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.average.update(self.network, step)

    def save(self, folder, step, config):
        return save_state(folder, self.network, self.average, self.optimizer, step=step, config=config)

    def load(self, path):
        return load_state(path, self.network, self.average, self.optimizer)

    def bits(self):
        parts = [*self.network.parameters(), *self.average.weights.values()]
        states = [self.optimizer.state.get(p, {}) for p in self.network.parameters()]
        parts += [s[key] for s in states for key in sorted(s)]
        return [(tuple(t.shape), t.stride(), t.detach().contiguous().numpy().tobytes()) for t in parts]


@pytest.fixture
def config(tiny):
    return tiny()


@pytest.fixture
def saved(tmp_path, config):
    training = Training()
    training.steps(1, 3)
    return training.save(tmp_path, 3, config)


@pytest.mark.parametrize("late_from", [1000, 3, 6], ids=["never", "before the save", "after the save"])
def test_training_goes_on_to_the_bit(tmp_path, config, late_from):
    """Also where a parameter had its first gradient late, or none yet."""
    unbroken, first, second = Training(), Training(), Training()
    unbroken.steps(1, 8, late_from)
    first.steps(1, 4, late_from)
    path = first.save(tmp_path, 4, config)
    assert second.load(path) == 4
    second.steps(5, 8, late_from)
    assert second.bits() == unbroken.bits()


def test_what_is_in_the_file(saved, config):
    names = {"convolution.weight", "convolution.bias", "unused"}
    assert load_file(saved).keys() == {f"{p}.{n}" for p in state.PARTS for n in names}
    metadata = read_metadata(saved)
    assert (metadata.step, metadata.config, metadata.late) == (3, config, {"unused": 0})
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_parts_of_a_checkpoint(saved):
    assert {n.split(".")[0] for n in read_tensors(saved, Network(), parts=("average",))} == {"average"}


def test_what_a_killed_process_left_is_removed(tmp_path, config):
    left = tmp_path / f"{state.FILE_NAME}.12345.part"
    left.write_bytes(b"half a checkpoint")
    Training().save(tmp_path, 0, config)
    assert not left.exists()


def test_a_full_disk_keeps_the_old_checkpoint(saved, config, monkeypatch):
    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(state, "save_file", full)
    with pytest.raises(
        OutputError, match=r"No space left on device.*the one before it is kept.*same command"
    ):
        Training().save(saved.parent, 9, config)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_real_limit_on_file_size_keeps_the_old_checkpoint(saved, config):
    before, limits = saved.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OutputError, match="the one before it is kept"):
            Training(64).save(saved.parent, 9, config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before


def refused(path, match):
    """Loading raises WeightsError and has changed nothing."""
    training = Training()
    training.steps(1, 2)
    before = training.bits()
    with pytest.raises(WeightsError, match=match) as error:
        training.load(path)
    assert str(path) in str(error.value)
    assert training.bits() == before


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, 0.5, -1])
def test_truncated(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    refused(saved, "is not a training's checkpoint, or is damaged")


@pytest.mark.parametrize("content", [b"\0" * 100, b"garbage" * 100, b"<html>no</html>", b"\xff" * 64])
def test_garbage(tmp_path, content):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    refused(path, "is damaged|is too large")


def test_missing_or_a_folder(tmp_path):
    refused(tmp_path / "nothing.safetensors", "No such file")
    refused(tmp_path, "Is a directory")


def test_limits_come_before_parsing(saved, monkeypatch):
    def parse(*arguments, **keywords):
        raise AssertionError("parsed")

    monkeypatch.setattr(state, "safe_open", parse)
    monkeypatch.setattr(state, "MAX_CHECKPOINT_BYTES", saved.stat().st_size - 1)
    refused(saved, "is too large")
    monkeypatch.undo()
    monkeypatch.setattr(state, "safe_open", parse)
    saved.write_bytes(struct.pack("<Q", state.MAX_SAFETENSORS_HEADER_BYTES + 1) + b"{" * 100)
    refused(saved, "is too large")


def test_another_model(saved):
    with pytest.raises(WeightsError, match=r"convolution.bias is \[4\] and should be \[5\].*and 5 more"):
        Training(5).load(saved)


def rewrite(path, change):
    tensors, metadata = load_file(path), {"step": "3", "config": read_metadata(path).config.model_dump_json()}
    change(tensors, metadata)
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t, m: t.pop("average.unused"), "average.unused is missing"),
        (lambda t, m: t.update({"../../x": torch.ones(1)}), r"'../../x' is unknown"),
        (lambda t, m: t["exp_avg.unused"].fill_(float("nan")), "exp_avg.unused does not hold finite"),
        (lambda t, m: t.update({"weights.unused": torch.ones(5).half()}), "weights.unused does not hold"),
        (lambda t, m: m.pop("step"), "contain no step and no configuration"),
        (lambda t, m: m.pop("config"), "contain no step and no configuration"),
        (lambda t, m: m.update(step="many"), "damaged"),
        (lambda t, m: m.update(step="-1"), "damaged"),
        (lambda t, m: m.update(late="[1]"), "damaged"),
        (lambda t, m: m.update(late='{"unused": "x"}'), "damaged"),
        (lambda t, m: m.update(late='{"unused": -1}'), "damaged"),
        (lambda t, m: m.update(step="9" * 400), "damaged"),
        (lambda t, m: m.update(config="{"), "damaged"),
        (lambda t, m: m.update(config="[1]"), "expected keys and values, found a list"),
        (lambda t, m: m.update(config='{"model": 3, "training": []}'), "damaged"),
        (lambda t, m: m.update(config="[" * 100_000), "damaged"),
        (lambda t, m: m.update(config='{"model": "paper"}'), "'data' is missing"),
    ],
)  # fmt: skip
def test_odd_contents(saved, change, match):
    rewrite(saved, change)
    refused(saved, match)


HOSTILE = "is not a training's checkpoint|is not a checkpoint, or is too large"


def test_hostile_checkpoints_are_refused_and_never_run(test_data, tmp_path):
    before = sorted(Path("/tmp").glob("CANARY*"))  # noqa: S108 (where the payloads would write)
    files = sorted((test_data / "hostile" / "checkpoints").iterdir())
    assert len(files) > 40
    for file in files:
        refused(file, HOSTILE)
        copy = tmp_path / state.FILE_NAME
        copy.write_bytes(file.read_bytes())
        refused(copy, HOSTILE)
    assert sorted(Path("/tmp").glob("CANARY*")) == before  # noqa: S108
    assert [p.name for p in tmp_path.iterdir()] == [state.FILE_NAME]


def test_the_same_experiment(tiny):
    path = Path("checkpoint")
    check_same_experiment(path, tiny(), tiny(steps=99, workers=1, compile=True, sampling={"steps": 7}))
    with pytest.raises(
        ConfigError, match=r"checkpoint: .*data.crop was 16 and is now 32; .*seed was 0 and is now 1"
    ):
        check_same_experiment(path, tiny(), tiny(seed=1, data={"crop": 32}))


def test_a_checkpoint_of_an_unknown_objective_is_of_another_experiment(tiny):
    with pytest.raises(ConfigError, match=r"training\.objective was 'gan' and is now 'noise'"):
        check_same_experiment(Path("checkpoint"), tiny(objective="gan"), tiny())


def test_of_sampling_only_what_is_not_trained_may_change(tiny):
    path, fewer, lower = Path("checkpoint"), {"steps": 3}, {"start_fraction": 0.2}
    check_same_experiment(path, tiny(), tiny(sampling=lower))
    straight = {"path": "straight"}
    check_same_experiment(path, tiny(diffusion=straight), tiny(diffusion=straight, sampling=fewer))
    with pytest.raises(ConfigError, match=r"sampling\.start_fraction was 0\.4 and is now 0\.2"):
        check_same_experiment(path, tiny(diffusion=straight), tiny(diffusion=straight, sampling=lower))
    check_same_experiment(path, tiny(objective="regression"), tiny(objective="regression", sampling=fewer))
    with pytest.raises(ConfigError, match=r"sampling\.start_fraction was 0\.4 and is now 0\.2"):
        check_same_experiment(
            path, tiny(objective="regression"), tiny(objective="regression", sampling=lower)
        )
    with pytest.raises(ConfigError, match=r"sampling\.steps was"):
        check_same_experiment(
            path, tiny(objective="sampler_aware"), tiny(objective="sampler_aware", sampling=fewer)
        )


def test_a_checkpoint_from_before_settings_were_renamed(saved, config):
    def rename(tensors, metadata):
        old = json.loads(metadata["config"])
        old["sampling"]["start"] = old["sampling"].pop("start_fraction")
        old["model"]["diffusion_model"]["residual_deviation"] = old["model"]["diffusion_model"].pop(
            "sigma_data"
        )
        old["training"]["objective"] = "few_steps"
        metadata["config"] = json.dumps(old)

    rewrite(saved, rename)
    training = config.training.model_copy(update={"objective": "sampler_aware"})
    assert read_metadata(saved).config == config.model_copy(update={"training": training})


def test_a_checkpoint_from_before_a_setting_was_added(saved):
    """What an older version did not know is off, as in the paper."""

    def forget(tensors, metadata):
        config = json.loads(metadata["config"])
        del config["training"]["sample_every"], config["diffusion"]["focus"]
        del config["low_light"]["white_probability"]
        metadata["config"] = json.dumps(config)

    assert read_metadata(saved).config.low_light.white_probability > 0
    rewrite(saved, forget)
    assert read_metadata(saved).config.diffusion.focus == 1.0
    assert read_metadata(saved).config.low_light.white_probability == 0


def test_frames_may_have_moved_as_photographs_may(tiny):
    here, there = (
        tiny(data={"photos": f"{place}/photos", "frames": f"{place}/films"}) for place in ("/here", "/there")
    )
    check_same_experiment(Path("it"), here, there)
    with pytest.raises(ConfigError, match="data.frames_share was"):
        check_same_experiment(Path("it"), here, tiny(data={"frames": "/here/films", "frames_share": 0.5}))
