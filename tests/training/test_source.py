"""Training on photos, on pairs, and on both."""

import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from ucdir.config import DataConfig, parse_config
from ucdir.errors import ConfigError, DataError
from ucdir.tasks import TASKS
from ucdir.training.checks import check_settings
from ucdir.training.loop import train
from ucdir.training.source import open_source
from ucdir.training.state import read_metadata


@pytest.fixture
def pairs(photos, tmp_path):
    """The photos, and a darker copy of each."""
    for folder in ("noisy", "clean"):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
    for file in sorted(photos.iterdir()):
        pixels = np.asarray(Image.open(file))
        Image.fromarray(pixels).save(tmp_path / "pairs" / "clean" / file.name)
        Image.fromarray(pixels // 2).save(tmp_path / "pairs" / "noisy" / file.name)
    return tmp_path / "pairs"


def with_data(config, **data):
    values = {"crop": 16, "hold_out": 2, **{name: str(value) for name, value in data.items()}}
    return config.model_copy(update={"data": DataConfig(**values)})


@pytest.mark.parametrize("mixed", [False, True])
def test_pairs_are_trained_on(tiny, photos, pairs, tmp_path, mixed, caplog):
    both = {"photos": photos} if mixed else {}
    config = with_data(tiny(steps=3, sample_every=3), pairs=pairs, **both)
    with caplog.at_level(logging.INFO):
        checkpoint = train(config, tmp_path / "run")
    assert read_metadata(checkpoint).step == 3
    words = "10 pairs and 12 photos" if mixed else "10 pairs"
    assert f"{words} (2 more held out)" in caplog.text
    image = np.asarray(Image.open(tmp_path / "run" / "samples" / "step_000003.png")).astype(int)
    assert image.shape == (80, 192, 3)
    assert np.array_equal(image[:, :48], image[:, 144:] // 2), "the sample is a pair: input left, clean right"


def test_two_folders_are_the_same_as_the_folder_of_both(tiny, pairs, tmp_path):
    one = train(with_data(tiny(steps=2), pairs=pairs), tmp_path / "one")
    two = train(with_data(tiny(steps=2), degraded=pairs / "noisy", clean=pairs / "clean"), tmp_path / "two")
    from safetensors.numpy import load_file

    a, b = load_file(one), load_file(two)
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_too_few_pairs_and_output_among_them(tiny, pairs, tmp_path):
    few = tiny().model_copy(update={"data": DataConfig(pairs=pairs, crop=16, hold_out=12)})
    with pytest.raises(DataError, match="sets 12 pairs aside, but there are only 12"):
        train(few, tmp_path / "run")
    with pytest.raises(ConfigError, match="lies within"):
        train(with_data(tiny(), pairs=pairs), pairs / "run")


@pytest.fixture
def film(photos, tmp_path):
    """Seven frames, in which each photo is seen for a frame."""
    (tmp_path / "film").mkdir()
    for number, file in enumerate(sorted(photos.iterdir())[:7]):
        (tmp_path / "film" / f"frame_{number}.png").write_bytes(file.read_bytes())
    return tmp_path / "film"


@pytest.mark.parametrize(
    ("parts", "words", "shares"),
    [
        ("photos pairs", "10 pairs and 12 photos and 1 runs of frames", (0.5, 0.3, 0.2)),
        ("pairs", "10 pairs and 1 runs of frames", (0.8, 0.2)),
        ("photos", "10 photos and 1 runs of frames", (0.8, 0.2)),
    ],
)
def test_frames_beside_photos_and_pairs(tiny, photos, pairs, film, tmp_path, parts, words, shares, caplog):
    places = {name: place for name, place in (("photos", photos), ("pairs", pairs)) if name in parts}
    config = parse_config(
        {"task": "deblurring", "data": {"crop": 16, "hold_out": 2, "frames": film, **places}}, "test"
    )
    source, found, held_out = open_source(config, config.make_task(), tmp_path / "run")
    assert (found, len(held_out)) == (words, 2)
    assert [share for share, _ in source.parts] == pytest.approx(shares)
    assert source.crop(np.random.default_rng(0), 16).clean.shape == (16, 16, 3)


def test_pairs_held_out_by_name(tiny, pairs, tmp_path):
    data = {"pairs": pairs, "crop": 16, "hold_out_names": ["photo_0[0-3]"]}
    config = parse_config({"task": "deblurring", "data": data}, "test")
    source, words, held_out = open_source(config, config.make_task(), tmp_path / "run")
    assert (words, held_out) == ("8 pairs", [0, 1, 2, 3])
    assert not set(source.chosen) & set(held_out)


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        ({"hold_out": 2}, "10 pairs and 12 photos and 2 runs of frames"),  # the control
        ({"hold_out_names": ["photo_02"]}, "11 pairs and 11 photos and 2 runs of frames"),
        ({"hold_out_names": ["photo_01*"]}, "11 pairs and 11 photos and 1 runs of frames"),
    ],
)
def test_a_scene_held_out_by_name_does_not_come_in_beside_the_pairs(
    photos, pairs, film, tmp_path, held_out, words
):
    for name in ("photo_01_film", "other"):
        shutil.copytree(film, tmp_path / "films" / "train" / name)
    data = {"photos": photos, "pairs": pairs, "frames": tmp_path / "films", "crop": 16, **held_out}
    config = parse_config({"task": "deblurring", "data": data}, "test")
    source, found, _ = open_source(config, config.make_task(), tmp_path / "run")
    assert found == words
    frames = source.parts[2][1].frames
    assert {"photo_01_film" in frames.photos.names[run[0]] for run in frames.runs} == (
        {True, False} if "2 runs" in words else {False}
    )


def test_frames_that_are_all_held_out_are_refused(pairs, film, tmp_path):
    shutil.copytree(film, tmp_path / "films" / "photo_01")
    data = {"pairs": pairs, "frames": tmp_path / "films", "crop": 16, "hold_out_names": ["photo_01*"]}
    config = parse_config({"task": "deblurring", "data": data}, "test")
    with pytest.raises(DataError, match="sets all 1 runs of frames in .*films aside"):
        open_source(config, config.make_task(), tmp_path / "run")


def test_frames_of_another_task(tiny, film):
    with pytest.raises(ConfigError, match=r"data\.frames are for deblurring, not for low_light"):
        check_settings(tiny(data={"frames": str(film)}).model_copy(update={"task": "low_light"}), 1)
    with pytest.raises(ConfigError, match="makes nothing of a film's frames"):
        TASKS["low_light"].of_strength(None).of_frames([], np.random.default_rng(0))


def test_shares_of_more_than_all():
    data = {"photos": "a", "pairs": "b", "frames": "c", "pairs_share": 0.7, "frames_share": 0.4}
    with pytest.raises(ConfigError, match=r"pairs_share and frames_share are 1\.1 in all"):
        parse_config({"data": data}, "test")
