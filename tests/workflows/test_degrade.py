"""A degradation of one's own: reproducible, of the strength asked for, with its true scalars."""

import numpy as np
import pytest

from ucdir.degradations import JpegCompression
from ucdir.errors import ConfigError, ImageError, OutputError
from ucdir.images import Photo, read, write
from ucdir.tasks import TASKS
from ucdir.workflows.degrade import degrade

CLEAN = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def clean(tmp_path):
    write(Photo(CLEAN), tmp_path / "clean.png")
    return tmp_path / "clean.png"


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_degradation(clean, tmp_path, task):
    scalars = [
        degrade(clean, tmp_path / f"{i}.png", task=task, seed=seed) for i, seed in enumerate((1, 1, 2))
    ]
    images = [read(tmp_path / f"{i}.png").pixels for i in range(3)]
    assert scalars[0] == scalars[1] != scalars[2]
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    assert set(scalars[0]) == set(TASKS[task].scalars)
    assert all(np.isfinite(value) for value in scalars[0].values())


@pytest.mark.parametrize(
    ("task", "strength", "name"),
    [
        ("jpeg_restoration", 12, "jpeg_quality"),
        ("deblurring", 9, "blur_length"),
        ("low_light", 150, "exposure_ratio"),
    ],
)
def test_the_strength_asked_for(clean, tmp_path, task, strength, name):
    scalars = degrade(clean, tmp_path / "bad.png", task=task, strength=strength)
    assert scalars[name] == pytest.approx(strength, rel=1e-3)
    assert not np.array_equal(read(tmp_path / "bad.png").pixels, CLEAN)


def test_a_jpeg_file_is_the_degradation_itself(clean, tmp_path):
    scalars = degrade(clean, tmp_path / "bad.jpg", task="jpeg_restoration", strength=12)
    assert scalars == {"jpeg_quality": 12}
    photo = read(tmp_path / "bad.jpg")
    assert photo.jpeg_quality == 12
    same = [np.array_equal(photo.pixels, JpegCompression(12, s)(CLEAN)) for s in ("4:2:0", "4:4:4")]
    assert any(same)
    degrade(clean, tmp_path / "bad.png", task="jpeg_restoration", strength=12)
    assert np.array_equal(read(tmp_path / "bad.png").pixels, photo.pixels)


def test_what_is_refused(clean, tmp_path):
    with pytest.raises(ConfigError, match="task 'rain' is unknown"):
        degrade(clean, tmp_path / "a.png", task="rain")
    for task, strength in (
        ("jpeg_restoration", 0),
        ("jpeg_restoration", 10.5),
        ("deblurring", 99),
        ("low_light", 0.5),
    ):
        with pytest.raises(ConfigError, match=f"strength {strength}: "):
            degrade(clean, tmp_path / "a.png", task=task, strength=strength)
    with pytest.raises(ImageError, match="does not exist"):
        degrade(tmp_path / "absent.png", tmp_path / "a.png", task="deblurring")
    with pytest.raises(OutputError, match="exists"):
        degrade(clean, clean, task="deblurring")
    assert np.array_equal(read(clean).pixels, CLEAN)
    assert not (tmp_path / "a.png").exists()
