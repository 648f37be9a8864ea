"""The program itself: help, misuse, `info`, and what only a process of its own shows."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ucdir.tasks import TASKS
from ucdir.tasks.scalars import SCALARS

SOURCE = Path(__file__).parents[2] / "src"
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error::UserWarning", "PYTHONPATH": str(SOURCE)}


def test_info(ucdir, monkeypatch, tmp_path):
    status, out, _ = ucdir("info")
    assert status == 0
    for word in (
        "ucdir 0.1.0",
        "onnxruntime 1",
        "torch",
        "pyvips",
        "engine: ",
        "devices:",
        "cpu",
        "jpeg_restoration",
    ):
        assert word in out


def test_options_of_scalars_come_from_their_table(ucdir):
    _, out, _ = ucdir("restore", "--help")
    for scalar in SCALARS.values():
        assert f"--{scalar.name.replace('_', '-')}" in out
    assert "[1<=x<=100]" in out
    assert all(task in out for task in TASKS)


def test_help_and_misuse(ucdir):
    status, out, _ = ucdir("--help")
    assert status == 0
    assert all(command in out for command in ("restore", "train", "info"))
    for words in (["restore", "a.jpg", "--stepz", "3"], ["paint"], ["restore", "a.jpg", "--steps", "many"]):
        status, out, err = ucdir(*words)
        assert status == 2
        assert "Traceback" not in err


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom ucdir import cli\nsys.argv = ['ucdir', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'diffusers', 'pyvips', 'PIL', 'accelerate', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_program_itself_and_ctrl_c(photo, model_folder, tmp_path):
    command = [sys.executable, "-m", "ucdir.cli", "restore", str(photo), "--model", str(model_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1

    # the same, printing when it has begun to sample
    watched = (
        "from ucdir import cli, pipeline\nstart = pipeline.start_sample\n"
        "pipeline.start_sample = lambda *a: (print('sampling', flush=True), start(*a))[1]\ncli.main()\n"
    )
    late = ["--steps", "800", "-o", str(tmp_path / "late.png")]
    process = subprocess.Popen(
        [sys.executable, "-c", watched, *command[3:], *late],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout.readline() == "sampling\n", process.stderr.read()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == [".ucdir.jsonl", "photo.jpg", "photo.restored.png"]


@pytest.mark.parametrize("where", ["| true", "> /dev/full", "2>&-", ">&-", "2> /dev/full"])
def test_a_stream_that_takes_nothing_does_not_end_the_batch(photo, model_folder, tmp_path, where):
    """The second photo is restored, too, and no traceback is printed."""
    (tmp_path / "second.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "bad.jpg").write_bytes(b"junk")
    files = f"{tmp_path}/bad.jpg {photo} {tmp_path}/second.jpg"
    script = f"{sys.executable} -m ucdir.cli restore {files} --model {model_folder} {where}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 1, "because of the bad one"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert (tmp_path / "photo.restored.png").exists()
    assert (tmp_path / "second.restored.png").exists()


@pytest.mark.parametrize(("where", "status"), [("> /dev/full", 1), ("2> /dev/full", 0), ("2>&-", 0)])
def test_exit_status_1_if_the_result_cannot_be_printed(photo, model_folder, where, status):
    script = f"{sys.executable} -m ucdir.cli restore {photo} --model {model_folder} {where}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == status
    assert photo.with_name("photo.restored.png").exists()


@pytest.mark.parametrize(("given", "threads"), [(None, 1), ("2", 2)])
def test_numpy_does_not_start_threads_that_wait(root, given, threads):
    """OpenBLAS starts its threads when NumPy is imported; another number, given by the user, is left alone."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    program = "import ucdir.cli; print(open('/proc/self/status').read().partition('Threads:')[2].split()[0])"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=root / "src", capture_output=True, text=True, check=True,
        env=environment | ({} if given is None else {"OPENBLAS_NUM_THREADS": given}),
    )  # fmt: skip
    assert int(found.stdout) == min(threads, os.cpu_count() or 1)
