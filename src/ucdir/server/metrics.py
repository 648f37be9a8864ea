"""Figures of the running server, in the text format of Prometheus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Upper bounds in seconds of the histogram of restorations."""


class Metrics:
    """Counters; they are changed in the event loop's thread alone."""

    def __init__(self) -> None:
        self.began = time.time()
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.jobs: Counter[tuple[str, str]] = Counter()
        self.received = 0
        self.buckets: Counter[float] = Counter()
        self.seconds = 0.0
        self.restorations = 0
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def receive(self, count: int) -> None:
        """Count bytes of a request's body."""
        self.received += count

    def restored(self, seconds: float) -> None:
        """Count a restoration."""
        self.restorations += 1
        self.seconds += seconds
        for bound in BUCKETS:
            self.buckets[bound] += seconds <= bound

    def text(self) -> str:
        """All of them."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _header("requests_total", "counter", "Requests answered.")
        for (path, method, status), count in sorted(self.requests.items()):
            yield f'ucdir_requests_total{{path="{path}",method="{method}",status="{status}"}} {count}'
        yield from _header("jobs_total", "counter", "Photos worked on, by what became of them.")
        for (work, outcome), count in sorted(self.jobs.items()):
            yield f'ucdir_jobs_total{{work="{work}",outcome="{outcome}"}} {count}'
        yield from _header("received_bytes_total", "counter", "Bytes of request bodies.")
        yield f"ucdir_received_bytes_total {self.received}"
        yield from _header(
            "restoration_seconds", "histogram", "Time of a restoration, without waiting for its turn."
        )
        for bound in BUCKETS:
            yield f'ucdir_restoration_seconds_bucket{{le="{bound:g}"}} {self.buckets[bound]}'
        yield f'ucdir_restoration_seconds_bucket{{le="+Inf"}} {self.restorations}'
        yield f"ucdir_restoration_seconds_sum {self.seconds:.6f}"
        yield f"ucdir_restoration_seconds_count {self.restorations}"
        for name, (help, value) in self.gauges.items():
            yield from _header(name, "gauge", help)
            yield f"ucdir_{name} {value():g}"
        yield from _header(
            "start_time_seconds", "gauge", "When the server was started, in seconds since 1970."
        )
        yield f"ucdir_start_time_seconds {self.began:.3f}"


def _header(name: str, kind: str, help: str) -> Iterator[str]:
    yield f"# HELP ucdir_{name} {help}"
    yield f"# TYPE ucdir_{name} {kind}"


def resident_bytes() -> float:
    """Memory of this process that is in RAM; 0 where that is not known."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
