"""Photographs are decoded once, and again only when they changed; what cannot be used is left out aloud."""

import contextlib
import json
import logging
import os
import pickle
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ucdir.data import photos as module
from ucdir.data.photos import find_photos, open_photos
from ucdir.errors import DataError, OutputError


def pixels(i, height=20, width=30):
    return np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Five photographs, one of them in a folder of its own."""
    clean = tmp_path / "clean"
    (clean / "inner").mkdir(parents=True)
    for i, name in enumerate(["a.png", "b.PNG", "c.png", "inner/d.png", "e.tif"]):
        Image.fromarray(pixels(i, height=20 + i)).save(clean / name)
    return clean


@pytest.fixture
def decoded(monkeypatch):
    """The names of the photographs that were decoded."""
    names, read = [], module.rgb8
    monkeypatch.setattr(module, "rgb8", lambda file, *ratio: names.append(file.name) or read(file, *ratio))
    return names


def test_photographs_are_as_in_their_files(folder, tmp_path):
    store = open_photos(folder, tmp_path / "cache", smallest_side=16)
    assert store.names == ("a.png", "b.PNG", "c.png", "e.tif", "inner/d.png")
    for i, original in enumerate([0, 1, 2, 4, 3]):
        np.testing.assert_array_equal(store[i], pixels(original, height=20 + original))
    assert len(store) == 5
    assert not store[0].flags.writeable


def test_decoded_once(folder, tmp_path, decoded):
    first = open_photos(folder, tmp_path / "cache", smallest_side=16)
    assert len(decoded) == 5
    second = open_photos(folder, tmp_path / "cache", smallest_side=16)
    assert len(decoded) == 5
    assert first == second
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".bin", ".json"]


def test_the_same_folder_by_another_name(folder, tmp_path, decoded, monkeypatch):
    """A training that is resumed from elsewhere finds its photographs, which need not be decoded again."""
    monkeypatch.chdir(folder.parent)
    relative = open_photos(Path(folder.name), tmp_path / "cache", smallest_side=16)
    absolute = open_photos(folder, tmp_path / "cache", smallest_side=16)
    assert len(decoded) == 5
    assert absolute == relative
    assert open_photos(folder, tmp_path / "other", smallest_side=16).names == absolute.names, "the control"


@pytest.mark.parametrize("change", ["added", "removed", "touched", "rewritten", "another smallest side"])
def test_changed_photographs_are_decoded_again(folder, tmp_path, decoded, change):
    open_photos(folder, tmp_path / "cache", smallest_side=16)
    decoded.clear()
    if change == "added":
        Image.fromarray(pixels(9)).save(folder / "f.png")
    elif change == "removed":
        (folder / "a.png").unlink()
    elif change == "touched":
        os.utime(folder / "a.png", ns=(1, 1))
    elif change == "rewritten":
        Image.fromarray(pixels(9, 64, 64)).save(folder / "a.png")
    store = open_photos(folder, tmp_path / "cache", smallest_side=18 if change.startswith("another") else 16)
    assert len(decoded) == len(store) == {"added": 6, "removed": 4}.get(change, 5)
    if change == "rewritten":
        np.testing.assert_array_equal(store[0], pixels(9, 64, 64))
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".bin", ".json"], (
        "the old cache is gone"
    )


def test_what_cannot_be_used_is_left_out_with_a_warning(folder, tmp_path, caplog):
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:60])
    (folder / "text.jpg").write_text("no image")
    (folder / "notes.txt").write_text("not looked at")
    Image.fromarray(pixels(0, 15, 30)).save(folder / "small.png")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    store = open_photos(folder, tmp_path / "cache", smallest_side=16)
    assert len(store) == 5
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    for name in ("broken.png", "text.jpg", "gone.png", "loop.png"):
        assert any(name in warning for warning in warnings)
    assert f"left out: {folder / 'small.png'}: smaller than a crop of 16 pixels" in warnings
    assert len(warnings) == 5


def test_grey_16_bit_and_transparent_photographs_become_rgb8(tmp_path):
    clean = tmp_path / "clean"
    clean.mkdir()
    grey = pixels(1)[..., 0]
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30), dtype=np.uint16)
    Image.fromarray(grey).save(clean / "a.png")
    Image.fromarray(deep).save(clean / "b.png")
    Image.fromarray(np.dstack([pixels(2), grey])).save(clean / "c.png")
    store = open_photos(clean, tmp_path / "cache", smallest_side=16)
    assert len(store) == 3
    np.testing.assert_array_equal(store[0], np.dstack([grey] * 3))
    np.testing.assert_array_equal(store[1], np.dstack([np.round(deep / 257).astype(np.uint8)] * 3))
    np.testing.assert_array_equal(store[2], pixels(2))


def test_no_photographs(tmp_path):
    with pytest.raises(DataError, match=r"none: there is no such folder; data\.photos must name"):
        find_photos(tmp_path / "none")
    with pytest.raises(DataError, match="contains no image"):
        find_photos(tmp_path)
    Image.fromarray(pixels(0, 8, 8)).save(tmp_path / "small.png")
    with pytest.raises(DataError, match="none of its 1 images can be used"):
        open_photos(tmp_path, tmp_path / "cache", smallest_side=16)
    assert not any((tmp_path / "cache").iterdir())


# -------------------------------------------------------------------------------------------------- the cache


def test_the_index_is_written_last(folder, tmp_path, monkeypatch):
    """Whoever finds the .json finds a whole .bin."""
    seen = []

    def dumps(value):
        if isinstance(value, dict):
            seen.append(sorted(p.suffix for p in (tmp_path / "cache").iterdir()))
        return json_dumps(value)

    json_dumps = json.dumps
    monkeypatch.setattr(module.json, "dumps", dumps)
    open_photos(folder, tmp_path / "cache", smallest_side=16)
    assert seen == [[".bin"]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda index, pixels: index.unlink(),
        lambda index, pixels: pixels.unlink(),
        lambda index, pixels: os.truncate(pixels, pixels.stat().st_size - 1),
        lambda index, pixels: os.truncate(pixels, 0),
        lambda index, pixels: os.truncate(index, index.stat().st_size // 2),
        lambda index, pixels: index.write_text("[]"),
        lambda index, pixels: index.write_text('{"kept": [], "shapes": []}'),
        lambda index, pixels: index.write_text('{"kept": [0], "shapes": 5}'),
        lambda index, pixels: index.write_text(index.read_text().replace("4]}", "9]}")),
        lambda index, pixels: index.rename(index.with_suffix(".json.part")),
        lambda index, pixels: pixels.rename(pixels.with_suffix(".bin.part")) and index.unlink(),
    ],
)
def test_a_damaged_cache_is_made_anew(folder, tmp_path, decoded, damage):
    cache = tmp_path / "cache"
    before = open_photos(folder, cache, smallest_side=16)
    copies = [np.array(before[i]) for i in range(5)]
    damage(next(cache.glob("*.json")), next(cache.glob("*.bin")))
    decoded.clear()
    after = open_photos(folder, cache, smallest_side=16)
    assert len(decoded) == 5
    for i, copy in enumerate(copies):
        np.testing.assert_array_equal(after[i], copy)
    assert sorted(p.suffix for p in cache.iterdir()) == [".bin", ".json"]


def test_files_of_others_in_the_cache_folder_are_left_alone(folder, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("mine.bin", "notes.json", "0123456789abcdef.png"):
        (cache / name).write_text("mine")
    (cache / "0123456789abcdef.bin.part").write_text("left by a kill")
    open_photos(folder, cache, smallest_side=16)
    assert {"mine.bin", "notes.json", "0123456789abcdef.png"} <= {p.name for p in cache.iterdir()}
    assert not list(cache.glob("*.part"))


def two_at_once(folder, cache, monkeypatch):
    """Two trainings that begin together; what each got, and the photographs that were decoded."""
    names, read, both = [], module.rgb8, threading.Barrier(2, timeout=5)

    def slowly(file, *ratio):
        names.append(file.name)
        time.sleep(0.05)
        return read(file, *ratio)

    def training(_):
        both.wait()
        return open_photos(folder, cache, smallest_side=16)

    monkeypatch.setattr(module, "rgb8", slowly)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(training, range(2))), sorted(names)


def test_of_two_trainings_that_begin_together_one_decodes(folder, tmp_path, monkeypatch):
    stores, names = two_at_once(folder, tmp_path / "cache", monkeypatch)
    assert names == sorted(["a.png", "b.PNG", "c.png", "d.png", "e.tif"])
    assert stores[0] == stores[1]
    np.testing.assert_array_equal(stores[0][2], pixels(2, height=22))


def test_control_without_the_lock_both_decode(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_only_one", lambda cache: contextlib.nullcontext())
    decoded = []
    with contextlib.suppress(OutputError):
        decoded = two_at_once(folder, tmp_path / "cache", monkeypatch)[1]
    assert len(decoded) != 5


def test_a_cache_that_cannot_be_written(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="decoded photographs cannot be kept there"):
        open_photos(folder, tmp_path / "file" / "cache", smallest_side=16)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OutputError, match="decoded photographs cannot be kept there"):
            open_photos(folder, tmp_path / "cache", smallest_side=16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(open_photos(folder, tmp_path / "cache", smallest_side=16)) == 5


def test_other_processes_map_the_file_and_are_sent_no_pixels(folder, tmp_path):
    store = open_photos(folder, tmp_path / "cache", smallest_side=16)
    expected = np.array(store[3])
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)[3], expected)  # noqa: S301 (our own)


@pytest.mark.parametrize("hold_out", [0, 1, 2, 4])
def test_split(folder, tmp_path, hold_out):
    store = open_photos(folder, tmp_path / "cache", smallest_side=16)
    train, held = store.held_out_split(hold_out)
    assert len(held) == hold_out
    assert sorted(train + held) == [0, 1, 2, 3, 4]
    assert held == {0: [], 1: [2], 2: [1, 3], 4: [0, 1, 3, 4]}[hold_out]
    with pytest.raises(DataError, match="sets 5 photographs aside, but there are only 5"):
        store.held_out_split(5)


def test_split_by_name(folder, tmp_path):
    store = open_photos(folder, tmp_path / "cache", smallest_side=16)
    assert store.held_out_split(("inner/*", "a*")) == ([1, 2, 3], [0, 4])
    with pytest.raises(DataError, match=r"'x\*' fits none of the 5 photographs"):
        store.held_out_split(("a*", "x*"))
    with pytest.raises(DataError, match="sets all 5 photographs aside"):
        store.held_out_split(("*",))
