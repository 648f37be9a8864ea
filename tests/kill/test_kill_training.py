"""A training run killed with SIGKILL ends as an unbroken one; scripts/kill_training.py does it by the hundred."""

import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")
def test_killed_trainings_end_as_if_nothing_had_happened(root):
    command = [sys.executable, root / "scripts" / "kill_training.py", "--kills", "4", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit-equal to the unbroken one after" in done.stdout
