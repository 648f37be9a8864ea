"""`ucdir degrade`."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from ucdir.cli.shell import command_line
from ucdir.images import Photo, write
from ucdir.tasks import TASKS


def test_degrade_and_back(ucdir, tmp_path, pixels):
    write(Photo(pixels), tmp_path / "clean.png")
    bad = tmp_path / "bad.jpg"
    status, out, err = ucdir(
        "degrade", tmp_path / "clean.png", "-o", bad, "--task", "jpeg_restoration", "--strength", "20"
    )
    assert (status, err) == (0, "")
    assert out == (
        f"{tmp_path / 'clean.png'}: jpeg restoration, seed 0, jpeg quality 20 -> {bad}\n"
        f"  ucdir restore {bad} --task jpeg_restoration --jpeg-quality 20\n"
    )
    assert "jpeg quality 20" in ucdir("restore", bad)[1]
    command = ("degrade", tmp_path / "clean.png", "-o", bad)
    status, _, err = ucdir(*command, "--task", "deblurring")
    assert status == 2
    assert "exists" in err
    assert ucdir(*command, "--task", "deblurring", "--overwrite")[0] == 0


def test_a_folder_of_pairs(ucdir, tmp_path, pixels):
    for name in ("a.png", "sub/b.tif", "sub/b.png"):
        (tmp_path / "clean" / name).parent.mkdir(parents=True, exist_ok=True)
        write(Photo(pixels), tmp_path / "clean" / name)
    (tmp_path / "clean" / "bad.jpg").touch()
    command = ("degrade", tmp_path / "clean", "--task", "deblurring", "-o")
    status, out, err = ucdir(*command, tmp_path / "blurred")
    assert status == 1
    assert "bad.jpg is empty" in err
    made = [tmp_path / "blurred" / name for name in ("a.png", "sub/b.png.png", "sub/b.tif.png")]
    assert sorted((tmp_path / "blurred").rglob("*.png")) == made
    assert len({file.read_bytes() for file in made}) == 3, "each has a degradation of its own"
    (tmp_path / "clean" / "a.png").rename(tmp_path / "clean" / "z.png")
    ucdir(*command, tmp_path / "again")
    for name in ("sub/b.png.png", "sub/b.tif.png"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (tmp_path / "blurred" / name).read_bytes(), "whatever else is there"
    assert ucdir(*command, tmp_path / "x.png")[0] == 2
    seed = out.splitlines()[0].split("seed ")[1].split(",")[0]
    ucdir(
        "degrade",
        tmp_path / "clean" / "z.png",
        "-o",
        tmp_path / "one.png",
        "--task",
        "deblurring",
        "--seed",
        seed,
    )
    assert (tmp_path / "one.png").read_bytes() == made[0].read_bytes()


NAMES = [
    "plain.png",
    "two words.png",
    "-o.png",
    "a'b$(id)`id`;.png",
    "$'\\x41.png",
    "line\nbreak.png",
    "ü😀.png",
    b"\xff.png",
]


@pytest.mark.parametrize("task", TASKS)
def test_the_command_that_restores_it(ucdir, tmp_path, pixels, monkeypatch, task):
    monkeypatch.chdir(tmp_path)
    write(Photo(pixels), tmp_path / "clean.png")
    status, out, _ = ucdir("degrade", "clean.png", "-o", "bad.png", "--task", task)
    assert status == 0
    program, *words = shlex.split(out.splitlines()[1])
    assert program == "ucdir"
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options.pop("--task") == task
    assert {name[2:].replace("-", "_") for name in options} == set(TASKS[task].scalars)
    status, said, err = ucdir(*words, "--dry-run", model=False)
    assert (status, err) == (0, "")
    assert said.startswith("bad.png: would be restored")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_of_any_kind_is_quoted(name):
    path = Path(os.fsdecode(name))
    line = command_line("printf", "%s", path, "--blur-type", "motion")
    assert line.isprintable()
    said = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert (
        said
        == (b"./" if os.fsencode(path).startswith(b"-") else b"") + os.fsencode(path) + b"--blur-typemotion"
    )
