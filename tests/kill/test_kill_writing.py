"""Nothing is half written: when the process is killed, when a call that writes fails, or when memory is short.

The scripts do it by the hundred; each begins with a control, a writer that it must find bad.
"""

import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)


@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        ("kill_writing.py", ("--kills", "20"), "20 kills, 0 left something half written or lost"),
        ("fail_writing.py", ("--calls", "2"), "14 failing calls, 0 wrong"),
        ("fail_allocations.py", ("--spread", "5"), "25 failed in turn"),
    ],
)
def test_nothing_is_half_written(root, script, options, words):
    command = [sys.executable, root / "scripts" / script, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert words in done.stdout
