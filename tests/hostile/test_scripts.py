"""The scripts that try hostile files by the thousand notice what they look for."""

import subprocess
import sys

import pytest

WORKER = """
import os, sys, time
sys.path.insert(0, {scripts!r})
import supervised
from ucdir.errors import ImageError

def do_one(job):
    match job:
        case "crash":
            os.abort()
        case "hang":
            time.sleep(600)
        case "bug":
            return 1 / 0
        case "refuse":
            raise ImageError("a.png is no image; name another.")
        case "memory":
            return len(bytearray(b"x") * 200_000_000)
    return job

if sys.argv[1:] == ["--worker"]:
    sys.exit(supervised.serve(do_one))
supervised.PATIENCE_SECONDS = 5
tally = supervised.Tally("jobs")
for outcome in supervised.outcomes(["fine", "crash", "hang", "bug", "refuse", "memory", "fine"]):
    tally.add(outcome, wrong=False, slow_seconds=1)
    print(outcome.job, outcome.kind, outcome.megabytes > 150)
print(tally.crashes, tally.tracebacks, tally.slow)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory by Linux's /proc")
def test_crashes_hangs_bugs_and_memory_are_noticed(root, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WORKER.format(scripts=str(root / "scripts")))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "fine done False",
        "crash crash False",
        "hang timeout False",
        "bug traceback False",
        "refuse refused False",
        "memory done True",
        "fine done False",
        "1 1 1",
    ]


@pytest.mark.parametrize(("expect", "status"), [("read", 0), ("refuse", 1)])
def test_the_corpus_is_held_against_its_manifest(root, test_data, tmp_path, expect, status):
    (tmp_path / "valid").mkdir()
    source = test_data / "hostile" / "valid" / "generated" / "one_pixel_RGB.png"
    (tmp_path / "valid" / "a.png").write_bytes(source.read_bytes())
    rows = (("path", "expect"), ("valid/a.png", expect))
    (tmp_path / "MANIFEST.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    command = [sys.executable, root / "scripts" / "hostile_corpus.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "| images read | 1 | 0 | 0 | 0 |" in done.stdout


def test_mutated_models_give_no_traceback(root):
    command = [sys.executable, root / "scripts" / "fuzz_models.py", "--count", "40"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 6, done.stderr
    assert all(int(jobs) > 0 for _, jobs, *_ in rows)
    assert all((crashes, tracebacks) == ("0", "0") for _, _, crashes, tracebacks, *_ in rows), done.stderr
    assert all(row[-1] == "0 |" for row in rows), done.stderr
