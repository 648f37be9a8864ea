"""The log of a training run that was killed and resumed."""

import json

import pytest

from ucdir.errors import OutputError
from ucdir.training.progress import Progress


def steps_after(log, first_step, *, enabled=True):
    with Progress(100, first_step, log, enabled=enabled) as progress:
        progress.write(first_step + 5, {"loss": 0.5})
    return [json.loads(line)["step"] for line in log.read_text().splitlines()]


def test_steps_that_are_done_once_more_are_in_the_log_once(tmp_path):
    log = tmp_path / "log.jsonl"
    assert steps_after(log, 0) == [5]
    assert steps_after(log, 5) == [5, 10]
    with log.open(
        "a"
    ) as file:  # what a killed training leaves: steps that no checkpoint has, and half a line
        file.write('{"step": 15, "loss": 0.4}\n{"step": 20, "lo')
    assert steps_after(log, 10) == [5, 10, 15]


def test_other_processes_leave_the_log_alone(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 50}\n')
    with Progress(100, 10, log, enabled=False):
        pass
    assert log.read_text() == '{"step": 50}\n'


def test_a_log_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with (
        pytest.raises(OutputError, match=r"log\.jsonl: the log cannot be read"),
        Progress(100, 0, tmp_path / "log.jsonl", enabled=True),
    ):
        pass
