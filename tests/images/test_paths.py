"""Image files are found by their names, and results named after their photos."""

import errno
import os
from pathlib import Path

import pytest

from ucdir.errors import DataError
from ucdir.images import default_output, find_images


def test_rarer_suffixes_of_formats_that_are_read_are_found(tmp_path):
    for name in ("a.MPO", "b.apng", "c.dib", "d.jif", "e.hif"):
        (tmp_path / name).touch()
    assert [file.name for file in find_images(tmp_path)] == ["a.MPO", "b.apng", "c.dib", "d.jif", "e.hif"]


def test_images_are_found_and_those_of_other_kinds_named(tmp_path, caplog):
    for name in (
        "b.JPG",
        "a.png",
        "sub/c.tif",
        "._a.png",
        "d.heic",
        "sub/e.jxl",
        "f.nef",
        "notes.txt",
        "g.jp2",
        "h.psd",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [file.relative_to(tmp_path).as_posix() for file in find_images(tmp_path, raw=True)]
    assert found == ["a.png", "b.JPG", "d.heic", "f.nef", "sub/c.tif", "sub/e.jxl"]
    assert caplog.messages == [f"{tmp_path}: 2 images are of kinds that are not read here: g.jp2, h.psd"]
    caplog.clear()
    assert [file.name for file in find_images(tmp_path)] == ["a.png", "b.JPG", "d.heic", "c.tif", "e.jxl"]
    assert "3 images" in caplog.text
    caplog.clear()
    (tmp_path / "plain").mkdir()
    assert find_images(tmp_path / "plain") == []
    assert caplog.messages == []
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        find_images(tmp_path / "nowhere")


def test_hidden_files_results_and_links_to_folders_are_left_out(tmp_path):
    for name in ("a.png", "a.restored.png", "b.restored-2.JPG", ".hidden.png", ".trash/c.png", "sub/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "sub" / "loop.png").symlink_to(tmp_path)
    (tmp_path / "link.png").symlink_to("a.png")
    found = [file.relative_to(tmp_path).as_posix() for file in find_images(tmp_path)]
    assert found == ["a.png", "link.png", "sub/d.png"]
    found = [file.name for file in find_images(tmp_path, results=True)]
    assert found == ["a.png", "a.restored.png", "b.restored-2.JPG", "link.png", "d.png"]


def test_links_that_point_nowhere_are_found_so_that_reading_them_fails(tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "gone.txt").symlink_to("nowhere")
    (tmp_path / ".#locked.png").symlink_to("user@machine")  # as Emacs does
    assert [file.name for file in find_images(tmp_path)] == ["gone.png", "loop.png"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch, caplog):
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.png").touch()
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_images(tmp_path) == [tmp_path / "a.png"]
    (said,) = caplog.messages
    assert "locked: this folder is left out, as it cannot be read (Permission denied)" in said
    errors = []
    find_images(tmp_path, on_error=lambda folder, error: errors.append((folder, error.errno)))
    assert errors == [(tmp_path / "locked", errno.EACCES)]


def test_names_of_results_fit_the_file_system():
    assert default_output(Path("a/b.jpg")) == Path("a/b.restored.png")
    assert default_output(Path("a/b.jpg"), Path("c"), ".webp") == Path("c/b.restored.webp")
    for stem in ("x" * 251, "ü" * 125, "\udcff" * 251):
        name = default_output(Path(f"{stem}.jpg")).name
        assert 250 < len(os.fsencode(name)) <= 255
        assert name.endswith(".restored.png")


# ------------------------------------------------------------------------------------------------ temporary files
