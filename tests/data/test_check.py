"""The look through training data: what can be used, and a sentence for what cannot."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from ucdir.data.check import check_place
from ucdir.errors import DataError


def picture(path, number=0, size=(24, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_photographs(tmp_path):
    for i in range(3):
        picture(tmp_path / "deep" / f"{i}.png", i)
    picture(tmp_path / "small.png", size=(9, 9))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    os.mkfifo(tmp_path / "pipe.png")
    report = check_place(tmp_path, crop=16)
    assert (report.what, report.found, report.usable) == ("photographs", 5, 3)
    assert report.sizes == {"24x20": 3}
    assert report.megapixels == pytest.approx(3 * 480 / 1e6)
    assert len(report.problems) == 2
    assert any("small.png: 9x9 is smaller than a crop of 16 pixels" in p for p in report.problems)
    assert any("broken.jpg" in p for p in report.problems)
    assert report.lines()[0] == "3 of 5 photographs can be used, 0.0 megapixels"
    assert json.loads(json.dumps(report.as_dict()))["usable"] == 3


def test_pairs(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        clean = picture(tmp_path / "sharp" / f"{i}.png", i)
        noisy = np.clip(clean + rng.normal(0, 8, clean.shape), 0, 255).astype(np.uint8)
        (tmp_path / "blur").mkdir(exist_ok=True)
        Image.fromarray(noisy).save(tmp_path / "blur" / f"{i}.png")
    whole = check_place(tmp_path)
    assert (whole.what, whole.found, whole.usable, whole.problems) == ("pairs", 3, 3, ())
    assert 28 < whole.psnr[0] <= whole.psnr[1] <= whole.psnr[2] < 33

    picture(tmp_path / "sharp" / "3.png", 3)
    picture(tmp_path / "blur" / "3.png", 3)
    Image.new("RGB", (24, 20)).save(tmp_path / "sharp" / "4.png")
    Image.new("RGB", (24, 20), "white").save(tmp_path / "blur" / "4.png")
    picture(tmp_path / "sharp" / "5.png", 5)
    picture(tmp_path / "blur" / "5.png", 5, size=(20, 24))
    picture(tmp_path / "blur" / "6.png", 6)
    report = check_place(tmp_path)
    assert (report.found, report.usable) == (6, 5)
    for words in ("3.png: is the same image as", "4.png: has hardly anything in common", "6.png: has no partner",
                  "5.png is 20x24 and"):  # fmt: skip
        assert any(words in p for p in report.problems), words
    assert len(report.problems) == 4
    assert check_place(tmp_path / "blur", tmp_path / "sharp").problems == report.problems


def test_pairs_of_one_folder_are_no_photographs(tmp_path):
    """PolyU's layout, which training finds by itself, too."""
    picture(tmp_path / "Sony_1_real.JPG", 1)
    picture(tmp_path / "Sony_1_mean.JPG", 1)
    report = check_place(tmp_path)
    assert (report.what, report.found) == ("pairs", 1)
    (tmp_path / "Sony_1_mean.JPG").rename(tmp_path / "Sony_2_mean.JPG")
    assert check_place(tmp_path).what == "photographs", "the control"


def test_lists_and_nothing(tmp_path):
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "b.png", 2)
    (tmp_path / "list.txt").write_text("a.png b.png\na.png absent.png\n")
    report = check_place(tmp_path / "list.txt")
    assert (report.found, report.usable) == (2, 1)
    assert "absent.png does not exist" in " ".join(report.problems)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contains no photo"):
        check_place(tmp_path / "empty")
    with pytest.raises(DataError, match="there is no such"):
        check_place(tmp_path / "absent")


def test_real_pairs(shared):
    report = check_place(shared("data/gopro/eval"), crop=64)
    assert (report.found, report.usable, report.problems) == (6, 6, ())
    assert report.sizes == {"1280x720": 6}
    assert 20 < report.psnr[1] < 35
