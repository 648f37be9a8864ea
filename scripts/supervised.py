"""Jobs that may crash, hang or take all memory, each in a process that is watched; for the scripts beside this one.

A script calls `outcomes(jobs)`, and `serve(do_one)` where it is started as a worker, with the argument --worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ADDRESS_SPACE_BYTES = 6 << 30
"""Most that a worker may have: more is not waited for, but fails."""
PATIENCE_SECONDS = 60.0
"""A job that takes longer is killed."""
READY = "ready\n"
KINDS = ("done", "refused", "traceback", "crash", "timeout")
"""What can become of a job: its result, an error of `ucdir.errors`, any other exception, a dead or a killed process."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: str
    kind: str
    text: str
    """The job's result as JSON, the error's message, the traceback, or how the process ended."""
    seconds: float = 0.0
    """Of a processor, so that other programs do not count; or on the clock, if that was shorter."""
    megabytes: float = 0.0
    """Highest resident memory while it ran, above what the process held before; 0 where Linux does not tell."""


def outcomes(jobs: Iterable[str]) -> Iterator[Outcome]:
    """Run jobs one after the other in a worker, which is replaced when it dies."""
    worker: subprocess.Popen[str] | None = None
    for job in jobs:
        worker = worker or _worker()
        try:
            worker.stdin.write(json.dumps(job) + "\n")
            worker.stdin.flush()
            ready = select.select([worker.stdout], [], [], PATIENCE_SECONDS)[0]
            line = worker.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = [worker.stdout], ""
        if line:
            yield Outcome(job, *json.loads(line))
            continue
        worker.kill()
        status = worker.wait()
        worker = None
        yield Outcome(
            job,
            *(("crash", f"ended with status {status}") if ready else ("timeout", "killed", PATIENCE_SECONDS)),
        )
    if worker is not None:
        worker.stdin.close()
        worker.wait()


def _worker() -> subprocess.Popen[str]:
    """A worker that has loaded its libraries."""
    worker = subprocess.Popen(
        [sys.executable, sys.argv[0], "--worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if worker.stdout.readline() != READY:
        raise SystemExit("the worker does not start")
    return worker


def serve(function: Callable[[str], object], warm_up: Iterable[str] = ()) -> int:
    """Do the jobs that arrive on stdin, after some that are not counted, so that libraries are loaded."""
    from ucdir.errors import UcdirError

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    for job in warm_up:
        with contextlib.suppress(UcdirError):
            function(job)
    answers.write(READY)
    answers.flush()
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES,) * 2)
    for line in sys.stdin:
        job = json.loads(line)
        before = _reset_peak()
        start, start_cpu = time.perf_counter(), time.process_time()
        try:
            kind, text = "done", json.dumps(function(job))
        except UcdirError as error:
            kind, text = "refused", str(error)
        except Exception:  # noqa: BLE001 (this is what is looked for)
            kind, text = "traceback", traceback.format_exc()
        seconds = min(time.perf_counter() - start, time.process_time() - start_cpu)
        answers.write(json.dumps([kind, text, seconds, _resident("VmHWM") - before]) + "\n")
        answers.flush()
    return 0


def _reset_peak() -> float:
    """Begin to measure the highest resident memory anew; that of now, in MB."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def _resident(key: str) -> float:
    if sys.platform != "linux":
        return 0.0
    (kilobytes,) = re.findall(rf"^{key}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(kilobytes) * 1024 / 1e6


@dataclass
class Tally:
    """Sums over the outcomes of one kind of job."""

    name: str
    jobs: int = 0
    crashes: int = 0
    tracebacks: int = 0
    slow: int = 0
    megabytes: float = 0.0
    seconds: float = 0.0
    wrong: int = 0

    def add(self, outcome: Outcome, *, wrong: bool, slow_seconds: float) -> None:
        """Count one."""
        self.jobs += 1
        self.crashes += outcome.kind == "crash"
        self.tracebacks += outcome.kind == "traceback"
        self.slow += outcome.seconds > slow_seconds
        self.seconds = max(self.seconds, outcome.seconds)
        self.megabytes = max(self.megabytes, outcome.megabytes)
        self.wrong += wrong

    def failed(self, most_megabytes: float) -> bool:
        """Whether anything is not as promised."""
        return bool(
            self.crashes or self.tracebacks or self.slow or self.wrong or self.megabytes > most_megabytes
        )


def print_table(tallies: Iterable[Tally], slow_seconds: float, wrong: str) -> None:
    """One line for each kind of job, in Markdown."""
    print(
        f"| | jobs | crashes | tracebacks | over {slow_seconds:g} s | longest, s | most memory, MB | {wrong} |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for t in tallies:
        print(
            f"| {t.name} | {t.jobs} | {t.crashes} | {t.tracebacks} | {t.slow} | {t.seconds:.2f} | {t.megabytes:.0f} "
            f"| {t.wrong} |"
        )
