"""The program itself: help, misuse, `info`, and what only a process of its own shows."""

import os
import signal
import subprocess
import sys

ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error::UserWarning"}


def test_info(ucdir, monkeypatch, tmp_path):
    status, out, _ = ucdir("info")
    assert status == 0
    for word in ("ucdir 0.1.0", "torch", "diffusers", "devices:", "cpu"):
        assert word in out


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
        "heavy = {'torch', 'diffusers', 'numpy', 'pyvips', 'PIL', 'accelerate'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_program_itself_and_ctrl_c(photo, model_folder, tmp_path):
    command = [sys.executable, "-m", "ucdir.cli", "restore", str(photo), "--model", str(model_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1

    # the same, telling when it has begun to sample
    watched = (
        "from ucdir import cli\nfrom ucdir.diffusion import samplers\nstart = samplers.start_sample\n"
        "samplers.start_sample = lambda *a: (print('sampling', flush=True), start(*a))[1]\ncli.main()\n"
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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.jpg", "photo.restored.png"]
