"""A file appears whole or not at all, whatever goes wrong, and never over another unasked."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ucdir.errors import OutputError
from ucdir.images import Photo, atomic, check_writable, read, write
from ucdir.images.atomic import remove_stale, temporary_folder

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

    monkeypatch.setattr(atomic.os, "fsync", appear)
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
    monkeypatch.setattr(atomic.os, step, fail)
    if step == "link":
        monkeypatch.setattr(atomic.os, "replace", fail)
        monkeypatch.setattr(atomic, "_rename_unless_there", lambda *_: False)
    if isinstance(failure, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            write(PHOTO, path, force=force)
    else:
        assert "the disk is full" in sentence(write, PHOTO, path, force=force)
    assert names(tmp_path) == (["photo.png"] if force else [])
    if force:
        assert path.read_bytes() == OTHER


class Wrapped:
    """A file of another's, whose `write` a test defines."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_reason: object) -> None:
        self.file.close()


def test_a_disk_that_fills_half_way(tmp_path, monkeypatch):
    class Full(Wrapped):
        def write(self, rest: memoryview) -> int:
            self.file.write(rest[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

    fdopen = os.fdopen
    monkeypatch.setattr(atomic.os, "fdopen", lambda *a, **s: Full(fdopen(*a, **s)))
    assert "the disk is full; free some space" in sentence(write, PHOTO, tmp_path / "photo.tif")
    assert names(tmp_path) == []


def test_a_disk_that_takes_little_at_a_time(tmp_path, monkeypatch):
    fdopen = os.fdopen

    class Slow(Wrapped):
        def write(self, rest: memoryview) -> int:
            return self.file.write(rest[:7])

        def fileno(self) -> int:
            return self.file.fileno()

    monkeypatch.setattr(atomic.os, "fdopen", lambda *a, **s: Slow(fdopen(*a, **s)))
    write(PHOTO, tmp_path / "photo.png")
    np.testing.assert_array_equal(read(tmp_path / "photo.png").pixels, PHOTO.pixels)


def test_file_systems_that_do_not_sync_folders(tmp_path, monkeypatch):
    """As some network drives; a model's folder is written there all the same."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    (tmp_path / "file").touch()
    monkeypatch.setattr(atomic.os, "fsync", refuse)
    atomic.sync(tmp_path)
    with pytest.raises(OSError, match="Invalid argument"):
        atomic.sync(tmp_path / "file")


@pytest.mark.parametrize("renames", [True, False])
def test_file_systems_without_hard_links(tmp_path, monkeypatch, renames):
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(atomic.os, "link", refuse)
    if not renames:
        monkeypatch.setattr(atomic, "_rename_unless_there", lambda *_: False)
    write(PHOTO, tmp_path / "photo.png")
    np.testing.assert_array_equal(read(tmp_path / "photo.png").pixels, PHOTO.pixels)
    assert "exists already" in sentence(write, PHOTO, tmp_path / "photo.png")
    assert names(tmp_path) == ["photo.png"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux' own way of renaming")
def test_renaming_never_replaces(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        atomic._rename_unless_there(tmp_path / "a", tmp_path / "b")
    assert names(tmp_path) == ["a", "b"]
    assert not atomic._rename_unless_there(tmp_path / "a", tmp_path / "none" / "b")
    assert atomic._rename_unless_there(tmp_path / "a", tmp_path / "c")
    assert names(tmp_path) == ["b", "c"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "your quota of disk space is used up"),
        (errno.EFBIG, "files may not be so large; raise the limit"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_the_true_cause_is_named(tmp_path, monkeypatch, code, words):
    def fail(*_arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, "fsync", fail)
    assert words in sentence(write, PHOTO, tmp_path / "photo.png")


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

    monkeypatch.setattr(atomic.os, "open", refuse)
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


def test_temporary_files_of_a_killed_process_are_removed_and_those_of_others_stay(tmp_path):
    """The child is killed in the middle of writing; the lock of a live one protects its file."""
    program = (
        "import os, sys, time\nfrom pathlib import Path\nfrom ucdir.images import atomic\n"
        "def wait(_): print('writing', flush=True); time.sleep(60)\n"
        "os.fsync = wait\natomic.atomic_write([b'half'], Path(sys.argv[1]), force=False)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "a.png")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "writing\n"
    (temporary,) = names(tmp_path)
    remove_stale(tmp_path)
    assert names(tmp_path) == [temporary], "it is being written"
    child.kill()
    child.communicate()
    assert names(tmp_path) == [temporary]
    write(PHOTO, tmp_path / "b.png")
    assert names(tmp_path) == ["b.png"], "the next that writes into the folder removes it"


def test_a_temporary_folder_is_removed_unless_it_is_renamed_and_by_the_next_if_it_was_killed(tmp_path):
    with temporary_folder(tmp_path) as folder:
        (folder / "file").write_bytes(OTHER)
        remove_stale(tmp_path)
        assert (folder / "file").exists(), "it is locked"
        folder.rename(tmp_path / "kept")
    with temporary_folder(tmp_path) as folder:
        (folder / "file").write_bytes(OTHER)
    assert names(tmp_path) == ["kept"]
    folder.mkdir()
    (folder / "file").write_bytes(OTHER)
    remove_stale(tmp_path)
    assert names(tmp_path) == ["kept"]
    with pytest.raises(FileNotFoundError), temporary_folder(tmp_path / "none"):
        pass


def test_only_temporary_files_are_removed(tmp_path):
    for name in (".ucdir-00ff.tmp", ".ucdir.jsonl", "ucdir-1.tmp", ".ucdir-notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".ucdir-folder.tmp").mkdir()
    (tmp_path / ".ucdir-link.tmp").symlink_to(tmp_path / "ucdir-1.tmp")
    os.mkfifo(tmp_path / ".ucdir-pipe.tmp")
    remove_stale(tmp_path)
    assert names(tmp_path) == [
        ".ucdir-folder.tmp", ".ucdir-link.tmp", ".ucdir-notes.txt", ".ucdir-pipe.tmp", ".ucdir.jsonl", "ucdir-1.tmp",
    ]  # fmt: skip
    remove_stale(tmp_path / "nowhere")


def test_a_temporary_file_that_was_removed_before_its_lock_is_made_anew(tmp_path, monkeypatch):
    flock, calls = fcntl.flock, []

    def late(descriptor, operation):
        if not calls:
            for file in tmp_path.glob(".ucdir-*.tmp"):
                file.unlink()
        calls.append(operation)
        flock(descriptor, operation)

    monkeypatch.setattr(atomic.fcntl, "flock", late)
    write(PHOTO, tmp_path / "photo.png")
    assert len(calls) == 2
    assert names(tmp_path) == ["photo.png"]


@pytest.mark.parametrize("force", [False, True])
def test_a_temporary_file_that_another_machine_removed_is_written_again(tmp_path, monkeypatch, force):
    fsync, calls = os.fsync, []

    def remove(descriptor):
        if not calls:
            (temporary,) = tmp_path.glob(".ucdir-*.tmp")
            temporary.unlink()
        calls.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", remove)
    write(PHOTO, tmp_path / "photo.png", force=force)
    np.testing.assert_array_equal(read(tmp_path / "photo.png").pixels, PHOTO.pixels)
    assert names(tmp_path) == ["photo.png"]
