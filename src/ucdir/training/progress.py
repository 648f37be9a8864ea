"""Progress of a training run: a bar on the terminal, and a log with one JSON object a line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor

from ucdir.errors import OutputError
from ucdir.images.atomic import atomic_write

LOG_EVERY = 50
"""Steps between lines of the log; losses are means over them."""


class Progress:
    """Averages the losses over `LOG_EVERY` steps, shows them with the images/s, and appends them to the log."""

    def __init__(
        self, steps: int, first_step: int, log: Path, *, enabled: bool, mean: Callable[..., Any] | None = None
    ) -> None:
        """Set up the progress of one process.

        Args:
            steps: of the whole training.
            first_step: number of steps done already.
            log: the file.
            enabled: whether this process shows and logs.
            mean: called as (losses by name, "mean") by all processes of a training; gives the means over them.
        """
        self.log = log
        self.first_step = first_step
        self.enabled = enabled
        self.mean = mean
        self.sums: dict[str, Tensor | float] = {}
        self.count = 0
        self.since = time.perf_counter()
        self.bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"), disable=not enabled, refresh_per_second=1,
        )  # fmt: skip
        self.task = self.bar.add_task("training", total=steps, completed=first_step, state="")

    def __enter__(self) -> Progress:
        if self.enabled:
            self._drop_after(self.first_step)
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def update(self, step: int, values: Mapping[str, Tensor], images: int, rate: float) -> None:
        """Add the losses of step number `step` (from 1), of `images` crops."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach()
        self.count += 1
        self.bar.update(self.task, completed=step)
        if step % LOG_EVERY:
            return
        now = time.perf_counter()
        sums = self.sums if self.mean is None else self.mean(self.sums, "mean")
        line = {name: float(total) / self.count for name, total in sums.items()}
        speed = self.count * images / (now - self.since)
        if self.enabled:
            self.write(step, {**line, "images_per_second": speed, "learning_rate": rate})
        self.bar.update(self.task, state=f"loss {next(iter(line.values())):.4f}  {speed:.0f} images/s")
        self.sums, self.count, self.since = {}, 0, now

    def _drop_after(self, step: int) -> None:
        """Drop what a killed run left: lines of steps that will be repeated, and a line cut short."""
        try:
            lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise OutputError(f"{self.log}: the log cannot be read ({error}).") from None
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) < len(lines):
            atomic_write(["".join(kept).encode()], self.log, force=True)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line to the log.

        Raises:
            OutputError: it cannot be written.
        """
        line = json.dumps({"step": step, **{name: float(f"{value:.5g}") for name, value in values.items()}})
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise OutputError(f"{self.log}: the log cannot be written ({error.strerror}).") from None


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return float("inf")
