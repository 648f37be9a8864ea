"""A file appears whole or not at all, whatever goes wrong, and never over another unasked."""

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from ucdir.errors import DataError, OutputError
from ucdir.images import Photo, check_writable, find_images, read, write
from ucdir.images import paths as paths_module

PHOTO = Photo(np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
OTHER = b"someone else's file"


def sentence(action, *arguments, **settings) -> str:
    with pytest.raises(OutputError) as caught:
        action(*arguments, **settings)
    text = str(caught.value)
    assert text.endswith(".")
    assert text.isprintable()
    return text


def names(folder: Path) -> list[str]:
    return sorted(child.name for child in folder.iterdir())


def test_an_existing_file_is_replaced_only_by_force(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(OTHER)
    path.chmod(0o640)
    assert "exists already" in sentence(check_writable, path)
    assert "exists already" in sentence(write, PHOTO, path)
    assert path.read_bytes() == OTHER
    check_writable(path, force=True)
    assert path.read_bytes() == OTHER
    write(PHOTO, path, force=True)
    np.testing.assert_array_equal(read(path).pixels, PHOTO.pixels)
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == ["photo.png"]


def test_a_new_file_is_as_readable_as_others(tmp_path):
    write(PHOTO, tmp_path / "photo.png")
    (tmp_path / "plain").touch()
    assert (tmp_path / "photo.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_check_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "photo.png")
    assert names(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    path, fsync = tmp_path / "photo.png", os.fsync

    def appear(descriptor: int) -> None:
        path.write_bytes(OTHER)
        fsync(descriptor)

    monkeypatch.setattr(paths_module.os, "fsync", appear)
    assert "exists already" in sentence(write, PHOTO, path)
    assert path.read_bytes() == OTHER
    assert names(tmp_path) == ["photo.png"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("step", ["fsync", "link"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_whatever_fails_leaves_nothing_behind(tmp_path, monkeypatch, step, failure, force):
    def fail(*_arguments: object) -> None:
        raise failure

    step = "replace" if step == "link" and force else step
    path = tmp_path / "photo.png"
    if force:
        path.write_bytes(OTHER)
    monkeypatch.setattr(paths_module.os, step, fail)
    if step == "link":
        monkeypatch.setattr(paths_module.os, "replace", fail)
    if isinstance(failure, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            write(PHOTO, path, force=force)
    else:
        assert "the disk is full" in sentence(write, PHOTO, path, force=force)
    assert names(tmp_path) == (["photo.png"] if force else [])
    if force:
        assert path.read_bytes() == OTHER


def test_a_disk_that_fills_half_way(tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_reason: object) -> None:
            self.file.close()

        def write(self, rest: memoryview) -> int:
            self.file.write(rest[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

    fdopen = os.fdopen
    monkeypatch.setattr(paths_module.os, "fdopen", lambda *a, **s: Full(fdopen(*a, **s)))
    assert "the disk is full; free some space" in sentence(write, PHOTO, tmp_path / "photo.tif")
    assert names(tmp_path) == []


def test_a_disk_that_takes_little_at_a_time(tmp_path, monkeypatch):
    fdopen = os.fdopen

    class Slow:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_reason: object) -> None:
            self.file.close()

        def write(self, rest: memoryview) -> int:
            return self.file.write(rest[:7])

        def fileno(self) -> int:
            return self.file.fileno()

    monkeypatch.setattr(paths_module.os, "fdopen", lambda *a, **s: Slow(fdopen(*a, **s)))
    write(PHOTO, tmp_path / "photo.png")
    np.testing.assert_array_equal(read(tmp_path / "photo.png").pixels, PHOTO.pixels)


def test_file_systems_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(paths_module.os, "link", refuse)
    write(PHOTO, tmp_path / "photo.png")
    np.testing.assert_array_equal(read(tmp_path / "photo.png").pixels, PHOTO.pixels)
    assert "exists already" in sentence(write, PHOTO, tmp_path / "photo.png")
    assert names(tmp_path) == ["photo.png"]


def test_places_that_cannot_be(tmp_path):
    (tmp_path / "file").write_bytes(OTHER)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for action in (check_writable, lambda path, **settings: write(PHOTO, path, **settings)):
        assert "does not exist; make that folder" in sentence(action, tmp_path / "none" / "photo.png")
        assert "is not a folder" in sentence(action, tmp_path / "file" / "photo.png")
        assert "is a folder" in sentence(action, tmp_path / "folder.png", force=True)
        assert "is a device or pipe" in sentence(action, tmp_path / "pipe.png", force=True)
        assert "cannot be written" in sentence(action, tmp_path / f"{'x' * 300}.png")
        assert "cannot be written" in sentence(action, Path(tmp_path / "a\0b.png"))
    assert names(tmp_path) == ["file", "folder.png", "pipe.png"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_folders_that_may_not_be_written(tmp_path, monkeypatch, code):
    def refuse(*_arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(paths_module.os, "open", refuse)
    assert "may not be written; choose a folder" in sentence(check_writable, tmp_path / "photo.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    assert "may not be written" in sentence(write, PHOTO, tmp_path / "photo.png")
    tmp_path.chmod(0o700)


def test_the_longest_name_is_written(tmp_path):
    path = tmp_path / f"{'x' * 251}.png"
    write(PHOTO, path)
    assert names(tmp_path) == [path.name]


def test_a_dangling_link_counts_as_a_file(tmp_path):
    (tmp_path / "photo.png").symlink_to(tmp_path / "elsewhere")
    assert "exists already" in sentence(write, PHOTO, tmp_path / "photo.png")
    write(PHOTO, tmp_path / "photo.png", force=True)
    assert not (tmp_path / "elsewhere").exists()
    np.testing.assert_array_equal(read(tmp_path / "photo.png").pixels, PHOTO.pixels)


def test_of_two_that_write_at_once_one_wins_whole(tmp_path):
    path, start, lost = tmp_path / "photo.png", threading.Barrier(4), []
    photos = [Photo(np.full((4, 5, 3), level, np.uint8)) for level in range(4)]

    def attempt(photo: Photo) -> None:
        start.wait()
        try:
            write(photo, path)
        except OutputError:
            lost.append(photo)

    threads = [threading.Thread(target=attempt, args=(photo,)) for photo in photos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lost) == 3
    assert np.ptp(read(path).pixels) == 0
    assert names(tmp_path) == ["photo.png"]


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
    assert found == ["a.png", "b.JPG", "f.nef", "sub/c.tif"]
    assert caplog.messages == [
        f"{tmp_path}: 4 images are of kinds that are not read here: d.heic, g.jp2, h.psd, …"
    ]
    caplog.clear()
    assert [file.name for file in find_images(tmp_path)] == ["a.png", "b.JPG", "c.tif"]
    assert "5 images" in caplog.text
    caplog.clear()
    (tmp_path / "plain").mkdir()
    assert find_images(tmp_path / "plain") == []
    assert caplog.messages == []
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        find_images(tmp_path / "nowhere")
