"""How far a batch is: a bar on a terminal, else a line every half minute; both on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ucdir.cli.app import say

if TYPE_CHECKING:
    from ucdir.workflows.batch import Job, Outcome

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Progress over photos, and over the steps and patches of each; a context manager."""

    def __init__(self, photos: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.photos, self.clock = photos, clock
        self.seen = 0  # photos that are done with
        self.worked = 0  # those of them that took work
        self.part = 0.0  # of the photo that the networks see
        self.began = clock()
        self.said: float | None = None  # when the last line was printed
        self.bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            text = TextColumn("{task.description}", markup=False)
            self.bar = Bar(
                text, BarColumn(), TextColumn("{task.fields[left]}"), console=Console(stderr=True), transient=True,
                redirect_stdout=False, redirect_stderr=False, auto_refresh=False,
            )  # fmt: skip
            self.task = self.bar.add_task("", total=self.photos, left="")
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def watch(self, job: Job, passes: int, of: int, patches: int, of_patches: int) -> None:
        """As `workflows.batch.Watch`."""
        self.part = (passes + patches / of_patches) / of
        step = f"step {passes} of {of - 1}, " if passes else "prediction, " if of > 1 else ""
        self._show(self.seen + 1, f"{job.photo.name}: {step}patch {patches} of {of_patches}")

    def add(self, outcome: Outcome) -> None:
        """Count a photo."""
        self.seen += 1
        self.worked += outcome.status not in ("finished", "unchanged")
        self.part = 0.0
        self._show(self.seen, outcome.job.photo.name)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """For printing a line: without the bar."""
        if self.bar is not None:
            self.bar.stop()
        yield
        if self.bar is not None:
            self.bar.start()

    @property
    def left(self) -> str:
        """About how long it will take from now on, `0:02:30`; nothing before anything is known of it."""
        if self.worked + self.part == 0:
            return ""
        done = self.worked + self.part
        seconds = round((self.clock() - self.began) / done * (self.photos - self.seen - self.part))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"

    def _show(self, number: int, text: str) -> None:
        text = f"{number}/{self.photos} {text}"
        if self.bar is not None:
            printable = "".join(c if c.isprintable() else "?" for c in text)
            self.bar.update(
                self.task,
                description=printable,
                completed=self.seen + self.part,
                left=self.left,
                refresh=True,
            )
            return
        now = self.clock()
        if self.said is None:
            self.said = now
        elif now - self.said >= SECONDS_BETWEEN_LINES and self.seen < self.photos:
            self.said = now
            say(f"{text}, {self.left}", err=True)
