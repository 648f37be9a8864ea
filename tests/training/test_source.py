"""Training on photos, on pairs, and on both."""

import logging

import numpy as np
import pytest
from PIL import Image

from ucdir.config import DataConfig
from ucdir.errors import ConfigError, DataError
from ucdir.training.loop import train
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
