"""Pairs in folders, lists and the layouts of data sets; what has no partner is named."""

import logging

import numpy as np
import pytest
from PIL import Image

from ucdir.data import photos as photos_module
from ucdir.data.gopro import gopro_pairs
from ucdir.data.pairs import find_pairs, open_pairs, pair_folders
from ucdir.data.sid import exposure_ratio, listed, sid_pairs
from ucdir.errors import DataError


def picture(path, number=0, size=(24, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def names(pairs):
    return [pair.name for pair in pairs]


def test_two_folders(tmp_path, caplog):
    for name in ("a.png", "deep/b.png", "alone.png"):
        picture(tmp_path / "in" / name)
    for name in ("a.bmp", "deep/b.png", "other.png"):
        picture(tmp_path / "out" / name)
    pairs = pair_folders(tmp_path / "in", tmp_path / "out")
    assert names(pairs) == ["a", "deep/b"]
    assert (pairs[0].degraded.name, pairs[0].clean.name) == ("a.png", "a.bmp")
    assert "2 files without a partner (alone.png, other.png)" in caplog.text
    picture(tmp_path / "third" / "x.png")
    with pytest.raises(DataError, match="no file in one has a file of the same name"):
        pair_folders(tmp_path / "in", tmp_path / "third")
    with pytest.raises(DataError, match="there is no such folder"):
        pair_folders(tmp_path / "in", tmp_path / "nowhere")


def test_one_folder_for_both_is_refused(tmp_path):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "out").symlink_to("in")
    for clean in ("in", "out", "out/../in"):
        with pytest.raises(DataError, match="are one folder, so there is nothing to restore"):
            pair_folders(tmp_path / "in", tmp_path / clean)
    picture(tmp_path / "other" / "a.png")
    assert names(pair_folders(tmp_path / "in", tmp_path / "other")) == ["a"], "the control"


@pytest.mark.parametrize(("degraded", "clean"), [("blur", "sharp"), ("Input", "GT"), ("noisy", "clean")])
def test_a_folder_of_two(tmp_path, degraded, clean):
    picture(tmp_path / degraded / "1.png")
    picture(tmp_path / clean / "1.png")
    for layout in ("auto", "folders"):
        (pair,) = find_pairs(tmp_path, layout)
        assert (pair.degraded.parent.name, pair.clean.parent.name) == (degraded, clean)


@pytest.mark.parametrize("separator", ["\t", ", ", " "])
def test_a_list(tmp_path, separator):
    lines = [
        "# my pairs",
        "",
        separator.join(["in/a.png", "out/a.png", "exposure_ratio=250"]),
        "in/b.png out/b.png # c",
    ]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    pairs = find_pairs(tmp_path / "pairs.tsv")
    assert names(pairs) == ["in/a.png", "in/b.png"]
    assert pairs[0].clean == tmp_path / "out" / "a.png"
    assert [dict(pair.scalars) for pair in pairs] == [{"exposure_ratio": 250.0}, {}]


def test_names_with_spaces_in_a_list(tmp_path):
    (tmp_path / "pairs.txt").write_text("my in/a b.png\tout/a b.png\n")
    (pair,) = find_pairs(tmp_path / "pairs.txt")
    assert pair.degraded == tmp_path / "my in" / "a b.png"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.png\n", "line 1: expected a degraded and a clean file"),
        ("\na.png b.png quality\n", "line 2: expected a scalar as name=value"),
        ("a.png b.png quality=1.2.3\n", "line 1: expected a scalar"),
        (
            "a.png b.png jpg_quality=10\n",
            "line 1: scalar 'jpg_quality' is unknown; choose one of jpeg_quality",
        ),
        ("a.png b.png exposure_ratio=-5\n", "line 1: exposure_ratio -5 is out of range; it goes from 1 to"),
        ("a.png b.png gain=1e999\n", "line 1: gain inf is out of range"),
        ("# nothing\n", "contains no pair"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_lists_with_mistakes(tmp_path, text, words):
    (tmp_path / "pairs.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=words):
        find_pairs(tmp_path / "pairs.txt")


def test_an_absurd_list_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "pairs.txt").write_text("a.png b.png\n")
    monkeypatch.setattr("ucdir.data.pairs.MAX_PAIR_LIST_BYTES", 5)
    with pytest.raises(DataError, match="12 bytes are too many for a list of pairs"):
        find_pairs(tmp_path / "pairs.txt")


def test_gopro(tmp_path):
    for scene in ("GOPR0372_07_00", "GOPR0384_11_00"):
        for number in (47, 48):
            for kind in ("blur", "blur_gamma", "sharp"):
                picture(tmp_path / "train" / scene / kind / f"{number:06d}.png")
    picture(tmp_path / "test" / "GOPR0854_11_00" / "blur" / "000001.png")
    picture(tmp_path / "test" / "GOPR0854_11_00" / "sharp" / "000001.png")
    assert len(gopro_pairs(tmp_path)) == 5
    assert len(gopro_pairs(tmp_path / "train")) == len(find_pairs(tmp_path / "train")) == 4
    (first, *_) = gopro_pairs(tmp_path / "train" / "GOPR0372_07_00", "blur_gamma")
    assert first.degraded.parent.name == "blur_gamma"
    assert first.degraded.name == first.clean.name == "000047.png"
    with pytest.raises(DataError, match="as in the GoPro data set"):
        gopro_pairs(tmp_path / "test", "blur_gamma")


def test_sid(tmp_path):
    for name in ("00001_00_0.04s.png", "00001_01_0.1s.png", "20003_00_0.033s.png", "00009_00_0.1s.png"):
        picture(tmp_path / "Sony" / "short" / name)
    for name in ("00001_00_10s.png", "20003_00_10s.png"):
        picture(tmp_path / "Sony" / "long" / name)
    pairs = sid_pairs(tmp_path)
    assert names(pairs) == ["00001_00_0.04s", "00001_01_0.1s", "20003_00_0.033s"]
    assert [pair.scalars["exposure_ratio"] for pair in pairs] == pytest.approx([250, 100, 300])
    assert [pair.clean.name for pair in pairs] == ["00001_00_10s.png", "00001_00_10s.png", "20003_00_10s.png"]
    assert names(find_pairs(tmp_path)) == names(find_pairs(tmp_path / "Sony", "sid")) == names(pairs)
    (tmp_path / "Sony_test_list.txt").write_text(
        "./Sony/short/00001_01_0.1s.ARW ./Sony/long/00001_00_10s.ARW ISO200 F8\n"
    )
    assert names(sid_pairs(tmp_path, "test")) == ["00001_01_0.1s"]
    with pytest.raises(DataError, match="no list Sony_val_list.txt"):
        sid_pairs(tmp_path, "val")


def test_polyu_and_a_camera_set_aside(tmp_path):
    for scene in ("Canon5D2_5_160_3200_chair_5", "Sony_4_200_3200_door_10", "Sony_4_200_3200_door_11"):
        for kind in ("Real", "mean"):
            picture(tmp_path / "set" / f"{scene}_{kind}.JPG")
    picture(tmp_path / "set" / "alone_real.JPG")
    picture(tmp_path / "set" / "mean.JPG")
    for layout in ("auto", "polyu"):
        pairs = find_pairs(tmp_path / "set", layout)
        assert names(pairs) == [
            "Canon5D2_5_160_3200_chair_5",
            "Sony_4_200_3200_door_10",
            "Sony_4_200_3200_door_11",
        ]
        assert (pairs[0].degraded.stem[-4:], pairs[0].clean.stem[-4:]) == ("Real", "mean")
    store = open_pairs(pairs, tmp_path / "cache", smallest_side=8)
    assert store.held_out_split(("Sony_*",)) == ([0], [1, 2])
    for patterns, words in ((("Leica*",), "fits none of the 3 pairs"), (("Canon*", "Sony*"), "all 3 pairs")):
        with pytest.raises(DataError, match=words):
            store.held_out_split(patterns)


def test_the_lists_of_sid(test_data):
    for name in ("Sony_train", "Sony_val", "Sony_test", "Sony_paired", "Sony_15_paired"):
        file = test_data / "sid" / f"SID_{name}.txt"
        entries = listed(file)
        assert len(entries) == len([line for line in file.read_text().splitlines() if line.strip()])
        assert {ratio for *_, ratio in entries} <= {100.0, 250.0, 300.0}
    assert exposure_ratio("a/00001_00_0.1s.ARW", "00001_00_30s.ARW") == 300


def test_real_pairs(shared):
    assert len(find_pairs(shared("data/gopro/train"))) == 64
    assert len(find_pairs(shared("data/gopro/eval"))) == 6


def test_two_images_of_one_name_are_no_pair(tmp_path):
    for name in ("degraded/a.jpg", "degraded/a.png", "clean/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"a\.jpg and a\.png have one name"):
        pair_folders(tmp_path / "degraded", tmp_path / "clean")


@pytest.mark.parametrize("layout", ["gopro", "sid", "folders", "auto"])
def test_nothing_is_found(tmp_path, layout):
    picture(tmp_path / "photo.png")
    with pytest.raises(DataError, match="photo|GoPro|SID|expected one folder|no pairs"):
        find_pairs(tmp_path, layout)
    with pytest.raises(DataError, match="there is no such folder or file"):
        find_pairs(tmp_path / "absent", layout)
    with pytest.raises(DataError, match="layout 'zip' of pairs is unknown"):
        find_pairs(tmp_path, "zip")


# ------------------------------------------------------------------------------------------------ decoded pairs


def test_decoded_once_and_whole(tmp_path, monkeypatch):
    degraded = [picture(tmp_path / "blur" / f"{i}.png", i) for i in range(3)]
    clean = [picture(tmp_path / "sharp" / f"{i}.png", 10 + i) for i in range(3)]
    pairs = find_pairs(tmp_path)
    store = open_pairs(pairs, tmp_path / "cache", smallest_side=16)
    assert len(store) == 3
    for i in range(3):
        assert np.array_equal(store[i][0], degraded[i])
        assert np.array_equal(store[i][1], clean[i])
    assert store.held_out_split(1) == ([0, 2], [1])
    monkeypatch.setattr(photos_module, "rgb8", lambda *_: pytest.fail("decoded again"))
    assert open_pairs(pairs, tmp_path / "cache", smallest_side=16).names == ("0", "1", "2")


def test_pairs_that_do_not_fit_are_left_out_and_named(tmp_path, caplog):
    for i in range(4):
        picture(tmp_path / "blur" / f"{i}.png", i)
        picture(tmp_path / "sharp" / f"{i}.png", i, size=(24, 20) if i != 1 else (20, 24))
    (tmp_path / "blur" / "2.png").write_bytes(b"no picture")
    picture(tmp_path / "blur" / "3.png", 3, size=(8, 8))
    picture(tmp_path / "sharp" / "3.png", 3, size=(8, 8))
    store = open_pairs(find_pairs(tmp_path), tmp_path / "cache", smallest_side=16)
    assert store.names == ("0",)
    assert "1.png is 24x20 and" in caplog.text
    assert "2.png is not an image" in caplog.text
    assert "3.png: smaller than a crop of 16 pixels" in caplog.text
    with pytest.raises(DataError, match="none of the 4 pairs can be used"):
        open_pairs(find_pairs(tmp_path), tmp_path / "cache", smallest_side=100)


def test_raw_files_are_amplified_by_the_pairs_ratio(tmp_path, monkeypatch):
    for folder, seconds in (("short", "0.1"), ("long", "10")):
        picture(tmp_path / folder / f"00001_00_{seconds}s.png")
    asked, read = [], photos_module.rgb8
    monkeypatch.setattr(photos_module, "rgb8", lambda file, ratio: asked.append(ratio) or read(file, ratio))
    store = open_pairs(find_pairs(tmp_path, "sid"), tmp_path / "cache", smallest_side=8)
    assert asked == [100.0, 1.0]
    assert store.scalars == ({"exposure_ratio": 100.0},)


def test_no_more_can_be_set_aside_than_there_are(tmp_path):
    picture(tmp_path / "blur" / "1.png")
    picture(tmp_path / "sharp" / "1.png")
    store = open_pairs(find_pairs(tmp_path), tmp_path / "cache", smallest_side=8)
    with pytest.raises(DataError, match="sets 1 pairs aside, but there are only 1"):
        store.held_out_split(1)


def test_nothing_is_said_of_whole_sets(tmp_path, caplog):
    picture(tmp_path / "blur" / "1.png")
    picture(tmp_path / "sharp" / "1.png")
    with caplog.at_level(logging.WARNING):
        open_pairs(find_pairs(tmp_path), tmp_path / "cache", smallest_side=8)
    assert not caplog.text
