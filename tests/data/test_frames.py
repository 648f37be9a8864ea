"""Runs of consecutive frames, and the blurred images that are made of them."""

import logging

import numpy as np
import pytest
from PIL import Image

from ucdir.data.frames import FrameStore, open_frames, runs_of
from ucdir.data.sources import FilmFrames
from ucdir.errors import DataError
from ucdir.tasks import Example


def film(folder, numbers, size=(24, 20), stem="a_"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(np.full((size[1], size[0], 3), number, np.uint8)).save(
            folder / f"{stem}{number:04d}.png"
        )


def seen(store):
    return [[int(frame[0, 0, 0]) for frame in run] for run in (store[i] for i in range(len(store)))]


def test_runs(tmp_path, caplog):
    film(tmp_path / "films" / "one", range(5, 11))
    film(tmp_path / "films" / "one", range(12, 16))
    film(tmp_path / "films" / "one", range(20, 22))
    film(tmp_path / "films" / "two", range(11, 14))
    store = open_frames(tmp_path / "films", tmp_path / "cache", 16, fewest=3)
    assert seen(store) == [list(range(5, 11)), list(range(12, 16)), list(range(11, 14))]
    assert "1 runs of fewer than 3 frames" in caplog.text
    with pytest.raises(DataError, match="no 7 frames of one film follow each other"):
        open_frames(tmp_path / "films", tmp_path / "cache", 16, fewest=7)


def test_numbers_of_any_width_are_in_their_order(tmp_path):
    for number in (8, 9, 10, 11, 100):
        Image.fromarray(np.full((20, 24, 3), number, np.uint8)).save(tmp_path / f"frame{number}.png")
    store = open_frames(tmp_path, tmp_path / "cache", 16, fewest=3)
    assert seen(store) == [[8, 9, 10, 11]]


def test_what_ends_a_run():
    same = (20, 24)
    for names, shapes, runs in (
        (["f/a9.png", "f/a10.png"], [same, same], [range(2)]),
        (["f/a9.png", "f/b10.png"], [same, same], [range(1), range(1, 2)]),
        (["f/a9.png", "g/a10.png"], [same, same], [range(1), range(1, 2)]),
        (["f/a9.png", "f/a10.png"], [same, (20, 25)], [range(1), range(1, 2)]),
        (["f/a.png", "f/a1.png"], [same, same], [range(1), range(1, 2)]),
        (["run0_9.png", "run1_10.png"], [same, same], [range(1), range(1, 2)]),
    ):
        assert runs_of(names, shapes) == runs, names


def test_a_frame_that_cannot_be_read_ends_a_run(tmp_path, caplog):
    film(tmp_path / "film", range(1, 8))
    (tmp_path / "film" / "a_0004.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        store = open_frames(tmp_path / "film", tmp_path / "cache", 16, fewest=3)
    assert seen(store) == [[1, 2, 3], [5, 6, 7]]
    assert "a_0004.png" in caplog.text


def middle_and_mean(frames, rng):
    assert len(frames) % 2 == 1
    mean = np.rint(np.mean(frames, axis=0)).astype(np.uint8)
    return Example(frames[len(frames) // 2], mean, {"count": float(len(frames))})


@pytest.mark.parametrize(
    ("counts", "length", "found"), [((5, 11), 24, {5, 7, 9, 11}), ((5, 25), 8, {5, 7}), ((4, 6), 9, {5})]
)
def test_crops_of_frames(tmp_path, counts, length, found):
    film(tmp_path / "film", range(100, 100 + length))
    store = open_frames(tmp_path / "film", tmp_path / "cache", 16, fewest=5)
    source = FilmFrames(store, counts, middle_and_mean, flip=True)
    crops = [source.crop(np.random.default_rng(n), 16) for n in range(80)]
    assert {crop.scalars["count"] for crop in crops} == found
    for crop in crops:
        assert crop.clean.shape == crop.degraded.shape == (16, 16, 3)
        assert np.array_equal(crop.clean, crop.degraded), (
            "the mean of consecutive numbers is the one in the middle"
        )
    starts = {int(crop.clean[0, 0, 0]) for crop in crops}
    assert len(starts) > 1
    again = source.crop(np.random.default_rng(3), 16)
    assert np.array_equal(again.clean, crops[3].clean)
    assert source.middle(0, np.random.default_rng(0), 10).clean.shape == (10, 10, 3)
    assert isinstance(store, FrameStore)
