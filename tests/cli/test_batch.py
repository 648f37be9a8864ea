"""`ucdir restore` with many photos: what is found, what it is called, what is skipped, and how it ends."""

import errno
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ucdir.degradations import JpegCompression
from ucdir.engines.torch_engine import TorchEngine
from ucdir.images import Photo, atomic, read, write
from ucdir.tasks import TASKS
from ucdir.workflows import batch as batch_module
from ucdir.workflows import cluster, outputs
from ucdir.workflows import restore as workflow
from ucdir.workflows.batch import Batch
from ucdir.workflows.inputs import Input, Inputs


@pytest.fixture
def jpegs(tmp_path, pixels):
    """A function: names -> small JPEG files of these names, each with other pixels."""

    def make(*names):
        for number, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(JpegCompression(20).encode(np.roll(pixels, number, axis=0)))
        return [tmp_path / name for name in names]

    return make


def tree(folder):
    """All files below a folder, but for records."""
    return sorted(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and file.name != ".ucdir.jsonl"
    )


def state(folder):
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}


# ------------------------------------------------------------------------------------------------- what is found


def test_a_folder_is_mirrored(ucdir, jpegs, tmp_path):
    jpegs("in/a.jpg", "in/sub/deep/b.JPG", "in/sub/c.restored.jpg", "in/._a.jpg", "in/.trash/d.jpg")
    (tmp_path / "in" / ".DS_Store").touch()
    (tmp_path / "in" / "Thumbs.db").touch()
    (tmp_path / "in" / "sub" / "loop").symlink_to(tmp_path / "in")
    status, out, err = ucdir("restore", tmp_path / "in", "-o", tmp_path / "out")
    assert status == 0
    assert tree(tmp_path / "out") == ["a.restored.png", "sub/deep/b.restored.png"]
    assert out.count(" -> ") == 2
    assert err == "note: a result of an earlier run is left out; name the files to restore them once more.\n"
    assert ucdir("restore", tmp_path / "in")[0] == 0
    assert (tmp_path / "in" / "sub" / "deep" / "b.restored.png").exists(), "without -o beside the photo"


def test_several_folders_get_their_own(ucdir, jpegs, tmp_path):
    jpegs("2021/a.jpg", "2022/a.jpg")
    assert ucdir("restore", tmp_path / "2021", tmp_path / "2022", "-o", tmp_path / "out")[0] == 0
    assert tree(tmp_path / "out") == ["2021/a.restored.png", "2022/a.restored.png"]


def test_patterns_that_no_shell_expanded(ucdir, jpegs, tmp_path):
    jpegs("in/a.jpg", "in/x/a.jpg", "in/x/y/a.jpg", "in/x/b.jpg", "in/a[1].jpg")
    (tmp_path / "in" / "x" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "notes.txt").touch()
    for pattern, found in {
        "in/a*.jpg": ["a", "a[1]"],
        "in/**/a.jpg": ["a", "x/a", "x/y/a"],
        "in/x/**": ["a", "b", "y/a"],
        "in/*": ["a", "a[1]"],
        "in/a[1].jpg": ["a[1]"],
        "in/[!b]/?.jpg": ["x/a", "x/b"],
    }.items():
        status, out, _ = ucdir("restore", tmp_path / pattern, "-o", f"{tmp_path}/out/", "--dry-run")
        names = sorted(line.split(" -> ")[1] for line in out.splitlines())
        assert names == sorted(f"{tmp_path}/out/{name}.restored.png" for name in found), pattern
        assert status == 0
    status, _, err = ucdir("restore", tmp_path / "in" / "*.tif")
    assert status == 2
    assert "no photo has such a name" in err


@pytest.mark.parametrize("name", ["in", "in/*", "in/**/*.jpg"])
def test_links_that_point_nowhere_fail_by_name(ucdir, jpegs, tmp_path, name):
    jpegs("in/a.jpg")
    assert ucdir("restore", tmp_path / name, "-o", f"{tmp_path}/control/")[0] == 0
    (tmp_path / "in" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "in" / "loop.jpg").symlink_to("loop.jpg")
    status, _, err = ucdir("restore", tmp_path / name, "-o", f"{tmp_path}/out/")
    assert status == 1
    assert tree(tmp_path / "out") == ["a.restored.png"]
    assert "gone.jpg is a link that points nowhere; mend or remove it." in err
    assert "loop.jpg cannot be opened" in err
    assert "2 failed" in err


def test_lists_of_names_of_any_kind(ucdir, jpegs, tmp_path, monkeypatch):
    odd = ["a\nb.jpg", "-o.jpg", os.fsdecode(b"\xff\xfe.jpg"), "*.jpg", " c .jpg"]
    jpegs(*odd)
    monkeypatch.chdir(tmp_path)
    names = b"\0".join(os.fsencode(name) for name in odd) + b"\0"
    Path("list").write_bytes(names)
    status, out, err = ucdir("restore", "--files-from", "list", "-o", "out")
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 5
    assert tree(Path("out")) == sorted(f"{name[:-4]}.restored.png" for name in odd)
    monkeypatch.setattr(sys, "stdin", None)
    read_end, write_end = os.pipe()
    os.write(write_end, b"\xef\xbb\xbf-o.jpg\r\n\n c .jpg")
    os.close(write_end)
    before = os.dup(0)
    os.dup2(read_end, 0)
    try:
        _, out, _ = ucdir("restore", "--files-from", "-", "-o", "out")
    finally:
        os.dup2(before, 0)
    assert out.count("finished already") == 2
    Path("empty").touch()
    for name, words in (("nowhere", "No such file"), (".", "Is a directory"), ("empty", "names no photo")):
        status, _, err = ucdir("restore", "--files-from", name)
        assert status == 2
        assert words in err
    assert "no photo is named" in ucdir("restore")[2]


def test_folders_that_hold_nothing_or_cannot_be_read(ucdir, jpegs, tmp_path, monkeypatch):
    jpegs("in/a.jpg", "in/locked/b.jpg")
    (tmp_path / "none").mkdir()
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    status, out, err = ucdir("restore", tmp_path / "in", tmp_path / "none", "-o", tmp_path / "out")
    assert status == 1
    assert out.count(" -> ") == 1
    assert "locked: this folder cannot be read (Permission denied); change its permissions." in err
    assert "none: this folder holds no photo; name another one, or a file." in err
    assert err.splitlines()[-3] == "ucdir: 2 failed:"


# ------------------------------------------------------------------------------------------------- what it is called


def test_clashes_get_two_names(ucdir, jpegs, tmp_path):
    jpegs(
        "in/a.jpg",
        "in/a.tif",
        "in/a.dng",
        "in/B.jpg",
        "in/b.png",
        "in/a.jpg.png",
        "in/é.jpg",
        "in/e\u0301.png",
    )
    _, out, _ = ucdir("restore", tmp_path / "in", "--dry-run", "--task", "deblurring", model=False)
    names = [Path(line.split(" -> ")[1]).name for line in out.splitlines()]
    assert sorted(names) == sorted(
        f"{name}.restored.png"
        for name in ("a.jpg-2", "a.tif", "a.dng", "B.jpg", "b.png", "a.jpg", "é.jpg", "e\u0301.png")
    )


def test_another_order_gives_the_same_names(ucdir, jpegs, tmp_path):
    files = jpegs("x/a.jpg", "y/a.jpg", "z/a.jpg")
    first, second = (
        sorted(ucdir("restore", *order, "-o", f"{tmp_path}/out/", "--dry-run")[1].splitlines())
        for order in (files, files[::-1])
    )
    assert first == second
    assert len({line.split(" -> ")[1] for line in first}) == 3


def test_thousands_of_one_name_take_no_time_each(monkeypatch):
    """Counted, not timed."""
    calls, real = [], outputs._key
    monkeypatch.setattr(outputs, "_key", lambda path: calls.append(path) or real(path))
    inputs = Inputs([Input(Path(f"{n}/a.jpg")) for n in range(2000)], several=True)
    names = outputs.name_outputs(inputs, "out/")
    assert len(set(names)) == 2000
    assert {names[0].name, names[1].name, names[2].name} >= {"a.jpg.restored.png", "a.jpg-2.restored.png"}
    assert len(calls) < 10 * 2000


def test_format(ucdir, jpegs, tmp_path, pixels, refused):
    jpegs("in/a.JPG")
    write(Photo(pixels), tmp_path / "in" / "b.tif")
    (tmp_path / "in" / "c.bin").write_bytes((tmp_path / "in" / "a.JPG").read_bytes())
    files = [tmp_path / "in" / name for name in ("a.JPG", "b.tif", "c.bin")]
    options = ("restore", *files, "--task", "jpeg_restoration", "-o")
    assert ucdir(*options, tmp_path / "same", "--format", "same")[0] == 0
    assert tree(tmp_path / "same") == ["a.restored.JPG", "b.restored.tif", "c.restored.png"]
    assert ucdir(*options, tmp_path / "webp", "--format", "webp")[0] == 0
    assert {read(file).format for file in (tmp_path / "webp").glob("*.webp")} == {"WebP"}
    refused(ucdir(*options, tmp_path / "x", "--format", "gif"), "--format 'gif' is unknown; choose same, ")
    refused(ucdir("restore", files[0], "-o", tmp_path / "x.png", "--format", "jpg"), "another format")
    refused(ucdir("restore", files[0], "-o", tmp_path / "x"), "has no suffix", "x/ for a new folder")
    assert not (tmp_path / "x").exists()


def test_what_this_command_writes_is_not_read_by_it(ucdir, jpegs, tmp_path):
    """As the second `ucdir restore *.jpg --format jpg`."""
    files = jpegs("a.jpg", "b.jpg")
    assert ucdir("restore", *files, "--format", "jpg")[0] == 0
    status, out, err = ucdir("restore", *sorted(tmp_path.glob("*.jpg")), "--format", "jpg")
    assert status == 0
    assert out.count("finished already") == 2
    assert "2 results of earlier runs are left out" in err
    assert tree(tmp_path) == ["a.jpg", "a.restored.jpg", "b.jpg", "b.restored.jpg"]
    assert ucdir("restore", tmp_path / "a.restored.jpg")[0] == 0, "named alone it is restored"


def test_results_of_any_name_are_known_in_their_folder(ucdir, jpegs, tmp_path):
    (photo,) = jpegs("a.jpg")
    ucdir("restore", photo, "-o", tmp_path / "better.png")
    _, out, _ = ucdir("restore", tmp_path, "--dry-run")
    assert [line.split(":")[0] for line in out.splitlines()] == [str(photo)]


# ------------------------------------------------------------------------------------------------- what is skipped


def test_finished_results_are_skipped_and_only_those(ucdir, jpegs, tmp_path, refused):
    (photo,) = jpegs("in/a.jpg")
    output = tmp_path / "in" / "a.restored.png"
    command = ("restore", photo)
    assert ucdir(*command)[0] == 0
    before, good = state(tmp_path / "in"), output.read_bytes()
    assert ucdir(*command) == (0, f"{photo}: finished already -> {output}\n", "")
    assert state(tmp_path / "in") == before, "nothing was touched"
    refused(ucdir(*command, "--seed", "1"), "was restored with other settings (seed 0, now 1)", "--overwrite")
    refused(ucdir(*command, "--steps", "2"), "steps None, now 2")

    output.write_bytes(good[:-50])
    assert " s -> " in ucdir(*command)[1], "a damaged one is restored again"
    assert output.read_bytes() == good
    write(Photo(read(output).pixels // 2), output, force=True)
    edited = output.read_bytes()
    refused(ucdir(*command), "has been changed since it was restored")
    assert ucdir(*command, "--resume", "--overwrite")[0] == 0
    assert output.read_bytes() == good
    assert edited != good
    assert "finished already" in ucdir(*command, "--resume", "--overwrite")[1]
    assert " s -> " in ucdir(*command, "--overwrite")[1], "alone it restores everything again"

    photo.write_bytes(JpegCompression(30).encode(read(photo).pixels))
    refused(ucdir(*command), "another photo, or of this one before it was changed")
    assert output.read_bytes() == good


@pytest.mark.parametrize("damage", ["deleted", "junk", "cut", "folder"])
def test_without_its_record_a_result_is_a_file_like_any_other(ucdir, jpegs, tmp_path, damage, refused):
    first, second = jpegs("a.jpg", "b.jpg")
    ucdir("restore", first)
    record, good = tmp_path / ".ucdir.jsonl", (tmp_path / "a.restored.png").read_bytes()
    lines = record.read_bytes()
    record.unlink()
    if damage == "junk":
        record.write_bytes(b'[1]\n{"output": 3}\n\xff\xfe\n' + b"[" * 100_000)
    elif damage == "cut":
        record.write_bytes(lines.splitlines()[0][:-20])
    elif damage == "folder":
        record.mkdir()
    refused(ucdir("restore", first), "a.restored.png exists already", "--overwrite")
    assert (tmp_path / "a.restored.png").read_bytes() == good
    status, _, err = ucdir("restore", second)
    assert status == 0
    if damage == "folder":
        assert "this result will not be known as finished" in err
    else:
        assert "finished already" in ucdir("restore", second)[1], "new lines are read behind damaged ones"


def test_another_model_or_task(ucdir, jpegs, tmp_path, model_folder, refused):
    (photo,) = jpegs("a.jpg")
    ucdir("restore", photo)
    other = tmp_path / "other"
    shutil.copytree(model_folder, other)
    assert "finished already" in ucdir("restore", photo, "--model", other)[1], "the same in another folder"
    index = other / "model_index.json"
    index.write_text(index.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    refused(ucdir("restore", photo, "--model", other), "was restored with another model")
    assert "finished already" in ucdir("restore", photo, "--task", "jpeg_restoration")[1]


def test_a_batch_that_was_killed_goes_on(ucdir, jpegs, tmp_path, model_folder):
    """Killed once while a result is being written, and once when it is there but not yet recorded."""
    jpegs("in/a.jpg", "in/b.jpg", "in/c.jpg")
    program = (
        "import os, signal, sys\nfrom ucdir import cli\nfrom ucdir.workflows import records\n"
        "fsync, add, calls, moment = os.fsync, records.Records.add, [], sys.argv.pop(1)\n"
        "def kill(descriptor):\n"
        "    calls.append(descriptor)\n"
        "    if moment == 'fsync' and len(calls) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    fsync(descriptor)\n"
        "def die(self, entry):\n"
        "    if moment == 'record' and 'result' in entry: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return add(self, entry)\n"
        "os.fsync, records.Records.add = kill, die\ncli.main()\n"
    )
    command = ["restore", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(model_folder)]
    for moment in ("fsync", "record"):
        done = subprocess.run(
            [sys.executable, "-c", program, moment, *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        left = [path.name for path in (tmp_path / "out").iterdir() if path.name.endswith(".tmp")]
        assert len(left) == (moment == "fsync"), "control: the killed one leaves its temporary file"
        out = ucdir(*command)
        assert out[0] == 0
        assert out[1].count("finished already") == 1
        assert tree(tmp_path / "out") == [f"{name}.restored.png" for name in "abc"]
        results = {file.name: file.read_bytes() for file in (tmp_path / "out").glob("*.png")}
        shutil.rmtree(tmp_path / "out")
        ucdir(*command)
        assert results == {file.name: file.read_bytes() for file in (tmp_path / "out").glob("*.png")}
        shutil.rmtree(tmp_path / "out")


def test_two_processes_may_share_a_folder(ucdir, jpegs, tmp_path, model_folder, monkeypatch):
    """Another process restores both photos while this one is at the first."""
    jpegs("in/a.jpg", "in/b.jpg")
    command = ["restore", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(model_folder)]
    command += ["--engine", "torch"]
    predict, done = TorchEngine.predict, []

    def meanwhile(*arguments):
        if not done:
            done.append(subprocess.run([sys.executable, "-m", "ucdir.cli", *command], check=False).returncode)
        return predict(*arguments)

    monkeypatch.setattr(TorchEngine, "predict", meanwhile)
    status, out, _ = ucdir(*command)
    assert done == [0]
    assert status == 0
    assert out.count("finished already") == 2
    assert tree(tmp_path / "out") == ["a.restored.png", "b.restored.png"]


# ------------------------------------------------------------------------------------------------- how it is said


def test_a_dry_run_looks_for_traces_where_the_file_does_not_show_the_task(ucdir, test_data, tmp_path):
    with Image.open(test_data / "golden" / "jpeg_restoration_large.jpg") as image:
        image.save(tmp_path / "saved again.png")
    _, out, _ = ucdir("restore", tmp_path / "saved again.png", "--dry-run", model=False)
    assert "would be restored, jpeg restoration (once a JPEG file of about quality 1" in out


def test_a_dry_run_touches_nothing_and_says_why(ucdir, jpegs, tmp_path, pixels, model_folder):
    jpegs("in/a.jpg", "in/done.jpg")
    ucdir("restore", tmp_path / "in" / "done.jpg")
    write(Photo(pixels), tmp_path / "in" / "plain.png")
    (tmp_path / "in" / "bad.jpg").touch()
    (tmp_path / "in" / "raw.cr2").write_bytes(b"II*\0\x10\0\0\0CR")
    (tmp_path / "in" / ".ucdir-0123.tmp").touch()
    before = state(tmp_path)
    status, out, err = ucdir("restore", tmp_path / "in", "--dry-run", model=False)
    assert state(tmp_path) == before
    assert status == 1
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    folder = tmp_path / "in"
    assert lines == {
        f"{folder}/a.jpg": "would be restored, jpeg restoration (a JPEG file of quality 20) -> "
        f"{folder}/a.restored.png",
        f"{folder}/plain.png": "nothing is wrong with it (too small or too even to say), so it is left "
        f"alone; to restore it all the same, choose a task with --task ({', '.join(TASKS)}).",
        f"{folder}/raw.cr2": f"would be restored, low light (a RAW file) -> {folder}/raw.restored.png",
    }
    assert "bad.jpg is empty" in err
    assert "done.restored.png was restored with another model" in err
    _, out, _ = ucdir("restore", folder / "done.jpg", folder / "plain.png", "--dry-run")
    assert "done.jpg: finished already" in out
    assert "plain.png: would be restored, jpeg restoration (what the model is for)" in out
    _, out, _ = ucdir("restore", folder / "plain.png", "--dry-run", "--blur-length", 9, model=False)
    assert "deblurring (blur length given)" in out
    status, _, err = ucdir(
        "restore", folder / "a.jpg", "-o", f"{folder}/done.jpg/x/", "--dry-run", model=False
    )
    assert status == 2
    assert "this folder cannot be made" in err
    _, out, _ = ucdir("restore", folder / "plain.png", "--dry-run", "--brighten", 9, model=False)
    assert "low light (to be brightened)" in out
    _, out, _ = ucdir("restore", folder / "plain.png", "--dry-run", "--exposure-ratio", 9, model=False)
    assert "low light (exposure ratio given)" in out


def test_json_lines(ucdir, jpegs, tmp_path):
    (photo,) = jpegs(os.fsdecode(b"in/\xff\n.jpg"))
    (tmp_path / "in" / "bad.jpg").write_bytes(b"junk")
    command = ("restore", tmp_path / "in", "--json")
    status, out, err = ucdir(*command)
    assert status == 1
    bad, good = map(json.loads, out.splitlines())
    assert (bad["status"], bad["output"]) == ("failed", str(tmp_path / "in" / "bad.restored.png"))
    assert "bad.jpg is not an image" in bad["error"]
    assert "bad.jpg is not an image" in err
    assert good["input"] == str(photo), "undecodable bytes come back"
    assert good["output"] == str(photo.with_name(photo.stem + ".restored.png"))
    assert (good["status"], good["task"], good["steps"]) == ("restored", "jpeg_restoration", 3)
    assert (good["scalars"], good["width"], good["height"]) == ({"jpeg_quality": 20}, 24, 20)
    assert good["seconds"] > 0
    assert (good["error"], good["notes"]) == (None, [])
    _, out, _ = ucdir("restore", tmp_path / "*.tif", "--json")
    assert "no photo has such a name" in json.loads(out)["error"]
    again = [json.loads(line)["status"] for line in ucdir(*command)[1].splitlines()]
    assert again == ["failed", "finished"]
    planned = [json.loads(line) for line in ucdir(*command, "--dry-run", "--overwrite")[1].splitlines()]
    assert planned[1]["reason"] == "what the model is for"


def test_failures_are_listed_at_the_end(ucdir, jpegs, tmp_path):
    jpegs("in/b.jpg")
    for name in "ac":
        (tmp_path / "in" / f"{name}.jpg").touch()
    status, _, err = ucdir("restore", tmp_path / "in")
    sentences = [f"{tmp_path}/in/{name}.jpg is empty; get a complete copy of it." for name in "ac"]
    assert status == 1
    assert err.splitlines() == [
        *(f"ucdir: {text}" for text in sentences), "ucdir: 2 failed:", *(f"  {text}" for text in sentences),
    ]  # fmt: skip
    (tmp_path / "in" / "b.jpg").unlink()
    status, _, err = ucdir("restore", tmp_path / "in")
    assert status == 2
    assert "ucdir: 2 failed, and nothing could be done:" in err


def test_what_is_wrong_with_the_command_is_said_once(ucdir, jpegs, tmp_path, refused):
    files = jpegs("a.jpg", "b.jpg")
    for threads in (1, 2):
        options = ("--steps", "0", "--jobs", threads)
        refused(ucdir("restore", *files, "-o", tmp_path / "new", *options), "steps 0 is not")
    assert not (tmp_path / "new").exists(), "a folder that stays empty is removed"
    refused(ucdir("restore", *files, "--task", "deblurring"), "the model was made for jpeg_restoration")
    refused(ucdir("restore", *files, "--model", tmp_path / "no"), "no model has this name")


def test_a_fault_of_the_program_costs_one_photo(ucdir, jpegs, tmp_path, monkeypatch):
    first, second = jpegs("a.jpg", "b.jpg")
    real = batch_module.restore

    def faulty(photo, *arguments, **options):
        if photo == first:
            raise RuntimeError("index out of range")
        return real(photo, *arguments, **options)

    monkeypatch.setattr(batch_module, "restore", faulty)
    status, out, err = ucdir("restore", first, second)
    assert status == 1
    assert out.count(" -> ") == 1
    assert f"{first}: a fault of this program (RuntimeError in test_batch.py, line " in err


def test_memory_that_is_full_while_results_are_checked_costs_one_photo(ucdir, jpegs, tmp_path, monkeypatch):
    first, second = jpegs("a.jpg", "b.jpg")

    def full(path, *_):
        if path == first:
            raise MemoryError
        return digest(path)

    digest = batch_module.digest
    monkeypatch.setattr(batch_module, "digest", full)
    status, out, err = ucdir("restore", first, second)
    assert (status, out.count(" -> ")) == (1, 1)
    assert f"ucdir: {first}: the memory is full" in err


def test_files_that_are_too_large_or_none(ucdir, jpegs, tmp_path, refused):
    (photo,) = jpegs("a.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(200 << 30)
    refused(ucdir("restore", tmp_path / "huge.jpg"), "has more than the 68,719,476,736 bytes")
    (tmp_path / "a.restored.png").mkdir()
    refused(ucdir("restore", photo, "--overwrite"), "a.restored.png is a folder")
    refused(ucdir("restore", photo), "a.restored.png is a folder")


def test_progress_on_a_terminal_and_in_lines(ucdir, jpegs, tmp_path, monkeypatch):
    from ucdir.cli import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    jpegs("in/[red]a.jpg", "in/b.jpg")
    monkeypatch.setattr(sys, "stderr", Terminal())
    status, out, _ = ucdir("restore", tmp_path / "in")
    shown = sys.stderr.getvalue()
    monkeypatch.undo()
    assert status == 0
    assert len(out.splitlines()) == 2
    for number in (1, 2, 3):
        assert f"1/2 [red]a.jpg: step {number} of 3, patch 1 of 1" in shown
    assert "left" in shown

    now = iter(range(0, 10_000, 31))
    bar = progress.Progress(4, clock=lambda: next(now))
    job = batch_module.Job(Path("a\nb.jpg"), Path("x.png"))
    said = []
    monkeypatch.setattr(progress, "say", lambda text, err: said.append(text))
    with bar:
        bar.watch(job, 0, 2, 1, 2)
        bar.watch(job, 0, 2, 2, 2)  # half of the first of four
        bar.add(batch_module.Outcome(job, "restored"))
        bar.add(batch_module.Outcome(job, "finished"))
    assert said[0].startswith("1/4 a\nb.jpg: prediction, patch 2 of 2, 0:")
    assert said[0].endswith(" left")
    assert len(said) == 3


# ------------------------------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("number", "threads", "moment"),
    [
        (signal.SIGINT, 1, "writing"),
        (signal.SIGINT, 2, "networks"),
        (signal.SIGTERM, 1, "networks"),
        (signal.SIGTERM, 2, "writing"),
        (signal.SIGHUP, 1, "writing"),
    ],
)
def test_a_signal_leaves_what_is_finished_and_nothing_else(
    ucdir, jpegs, tmp_path, monkeypatch, request, number, threads, moment
):
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    jpegs("in/a.jpg", "in/b.jpg", "in/c.jpg", "in/d.jpg")
    calls, predict, fsync = [], TorchEngine.predict, os.fsync

    def stop():
        calls.append(moment)
        if len(calls) == 2:
            os.kill(os.getpid(), number)

    if moment == "networks":
        monkeypatch.setattr(TorchEngine, "predict", lambda *a: (stop(), predict(*a))[1])
    else:
        monkeypatch.setattr(atomic.os, "fsync", lambda descriptor: (stop(), fsync(descriptor))[1])
    if number != signal.SIGINT:  # whatever has started the tests, such as nohup, may have it ignored
        inherited = signal.signal(number, signal.SIG_DFL)
        request.addfinalizer(lambda: signal.signal(number, inherited))
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    command = ("restore", tmp_path / "in", "-o", tmp_path / "out", "--jobs", threads, "--engine", "torch")
    code, out, err = ucdir(*command)
    assert code == 128 + number
    assert (
        err
        == f"ucdir: stopped by {name}; what is finished stays, and the same command goes on with the rest.\n"
    )
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == handlers
    found = tree(tmp_path / "out")
    assert len(found) < 4
    assert all(file.endswith(".restored.png") for file in found), "no debris"
    for file in found:
        assert read(tmp_path / "out" / file).pixels.shape == (20, 24, 3)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    code, out, _ = ucdir(*command)
    assert code == 0
    assert out.count("finished already") == len(found)
    assert len(tree(tmp_path / "out")) == 4


def test_any_number_of_jobs_gives_the_same_results_and_lines(ucdir, jpegs, tmp_path):
    files = jpegs(*(f"in/{name}.jpg" for name in "abcdefg"))
    files[3].write_bytes(b"junk")
    said, results = [], []
    for options in (("--jobs", 1), ("--jobs", 3), ("--jobs", 16), ("--device", "cpu,cpu")):
        out = tmp_path / f"out{len(said)}"
        status, text, err = ucdir("restore", tmp_path / "in", "-o", out, *options, "--json")
        lines = [json.loads(line) for line in text.splitlines()]
        said.append([(Path(line["input"]).name, line["status"]) for line in lines])
        results.append({file.name: file.read_bytes() for file in out.glob("*.png")})
        assert (status, len(err.splitlines())) == (1, 3)
    assert said[0] == said[1] == said[2] == said[3]
    assert [name for name, _ in said[0]] == [f"{name}.jpg" for name in "abcdefg"]
    assert len(results[0]) == 6
    assert results[0] == results[1] == results[2] == results[3]


def test_a_cluster_gets_the_photos_and_says_how_fast_it_was(ucdir, jpegs, tmp_path, monkeypatch):
    jpegs("in/a.jpg", "in/b.jpg")

    def run(batch, jobs, report, address, threads):
        assert (len(jobs), address, threads) == (2, "head:6379", 3)
        pickle.loads(pickle.dumps(batch)).run(jobs, report)  # noqa: S301
        return cluster.Throughput(2, 2, 24.0, 10.0, 16.0, 1)

    monkeypatch.setattr(cluster, "run_on_cluster", run)
    command = (
        "restore",
        tmp_path / "in",
        "-o",
        tmp_path / "out",
        "--ray",
        "head:6379",
        "--jobs",
        3,
        "--json",
    )
    status, out, err = ucdir(*command)
    assert (status, [json.loads(line)["status"] for line in out.splitlines()]) == (0, ["restored"] * 2)
    assert err == (
        "ucdir: 2 restored, 24.0 megapixels in 10.0 s: 2.4 megapixels/s with 2 workers, 1.60 times one of them (1.5); "
        "1 done again, as their worker was lost.\n"
    )
    status, _, err = ucdir("restore", "-", "--ray", "auto")
    assert (status, "--ray" in err) == (2, True)


def test_how_many_photos_at_once(monkeypatch):
    """One on a CPU; as many as there are cores to read and write them beside a GPU."""
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.setattr(batch_module, "has_gpu", lambda: True)
    for device, engine, count in (
        ("cpu", "auto", 1), ("cpu,cpu", "auto", 4), ("cuda", "auto", 13), ("cuda:0,cuda:1", "auto", 14),
        ("auto", "torch", 13), ("auto", "onnx", 1),
    ):  # fmt: skip
        assert Batch(device=device, engine=engine)._default_threads() == count


@pytest.mark.parametrize(("engine", "name"), [("torch", "TorchEngine"), ("onnx", "OnnxEngine")])
def test_threads_begin_when_everything_is_imported(jpegs, tmp_path, engine, name):
    """In a process of its own: here PyTorch is imported already, whose import other threads' imports would disturb."""
    jpegs("in/a.jpg", "in/b.jpg", "in/c.jpg")
    program = (
        "import sys\nfrom ucdir import cli\nfrom ucdir.workflows import restore\nread = restore.read\n"
        "def checked(*arguments, **options):\n"
        f"    assert hasattr(sys.modules.get('ucdir.engines.{engine}_engine'), '{name}')\n"
        "    return read(*arguments, **options)\n"
        "restore.read = checked\ncli.main()\n"
    )
    command = ["restore", str(tmp_path / "in"), "--jobs", "3", "--engine", engine]
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(" -> ") == 3


def test_while_one_photo_is_restored_another_is_read(ucdir, jpegs, tmp_path, monkeypatch):
    import threading

    jpegs("in/a.jpg", "in/b.jpg")
    reading, real, predict = threading.Event(), workflow.read, TorchEngine.predict

    begin, restoring = Batch._begin, threading.Event()

    def begin_job(self, job):
        if job.photo.name == "b.jpg":  # only when the main thread is busy
            restoring.wait(30)
        return begin(self, job)

    def read_photo(path, **options):
        if Path(path).name == "b.jpg":
            reading.set()
        return real(path, **options)

    def wait(*arguments):
        restoring.set()
        assert reading.wait(30), "the second photo is not read before the first is finished"
        assert threading.current_thread() is threading.main_thread()
        return predict(*arguments)

    monkeypatch.setattr(Batch, "_begin", begin_job)
    monkeypatch.setattr(workflow, "read", read_photo)
    monkeypatch.setattr(TorchEngine, "predict", wait)
    result = ucdir("restore", tmp_path / "in", "--jobs", "2", "--engine", "torch")
    assert result[0] == 0, result


# ------------------------------------------------------------------------------------------------- standard streams


def test_from_standard_input_to_standard_output(jpegs, tmp_path, model_folder, ucdir):
    (photo,) = jpegs("a.jpg")
    script = (
        f"{sys.executable} -m ucdir.cli restore - --model {model_folder} < {photo} | cat > {tmp_path}/b.png; "
        "exit ${PIPESTATUS[0]}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("-: 24x20, jpeg restoration, jpeg quality 20, 3 steps, ")
    ucdir("restore", photo)
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.restored.png").read_bytes()
    assert tree(tmp_path) == ["a.jpg", "a.restored.png", "b.png"]


class Stream(io.TextIOWrapper):
    def __init__(self, data=b"", *, terminal=False, fails=False):
        class Buffer(io.BytesIO):
            def write(self, data):
                if fails:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(data)

        super().__init__(Buffer(data))
        self.terminal = terminal

    def isatty(self):
        return self.terminal


def test_streams_that_do_not_do(ucdir, jpegs, tmp_path, monkeypatch, refused):
    (photo,) = jpegs("a.jpg")
    data = photo.read_bytes()
    monkeypatch.setattr(sys, "stdin", Stream(data))
    status, _, err = ucdir("restore", "-", "-o", tmp_path / "b.webp")
    assert status == 0
    assert err.endswith(f" s -> {tmp_path / 'b.webp'}\n")
    assert read(tmp_path / "b.webp").format == "WebP"
    refused(ucdir("restore", "-", "-o", tmp_path / "b.webp"), "b.webp exists already")
    for stdin, words in (
        (Stream(terminal=True), "< PHOTO"),
        (None, "< PHOTO"),
        (Stream(), "the image is empty"),
    ):
        monkeypatch.setattr(sys, "stdin", stdin)
        refused(ucdir("restore", "-", "-o", tmp_path / "c.png"), words)
    refused(ucdir("restore", "-", "-o", tmp_path), "is a folder; name a file")
    refused(ucdir("restore", "-", photo), "- is one photo")
    refused(ucdir("restore", "-", "--json"), "- is one photo")
    for stdout, words in (
        (Stream(terminal=True), "write ucdir restore"),
        (None, "write ucdir restore"),
        (Stream(fails=True), "standard output does not take the result (No space left on device)"),
    ):
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr("ucdir.cli.stream.discard", lambda _: None)
        refused(ucdir("restore", photo, "-o", "-"), words)
    assert tree(tmp_path) == ["a.jpg", "b.webp"]


def test_a_result_of_either_model_of_a_task_is_finished(ucdir, tmp_path, pixels):
    write(Photo(pixels), tmp_path / "noisy.png")
    command = ("restore", tmp_path / "noisy.png", "--task", "low_light")
    for ratio in (100, 1):
        options = ("--exposure-ratio", ratio, "-o", tmp_path / f"{ratio}.png")
        assert ucdir(*command, *options, model=False)[0] == 0
        before = (tmp_path / f"{ratio}.png").stat().st_mtime_ns
        status, _, err = ucdir(*command, *options, model=False)
        assert (status, (tmp_path / f"{ratio}.png").stat().st_mtime_ns) == (0, before), err
    other = ("--exposure-ratio", 1, "-o", tmp_path / "100.png")
    status, _, err = ucdir(*command, *other, model=False)
    assert status != 0
    assert "other settings" in err
