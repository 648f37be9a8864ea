"""Why a training stops before its end: somebody wants it to, or its numbers are no numbers any more."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from torch import Tensor

from ucdir.errors import UcdirError


class Interruption:
    """Turns Ctrl-C into a wish to stop after the step that is under way; a second Ctrl-C stops at once.

    With several processes only the first one listens, so that all do the same steps.
    """

    def __init__(self, *, listen: bool) -> None:
        self.wanted = False
        self.handler: Any = self._wish if listen else signal.SIG_IGN
        self.before: Any = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self.handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self.before)

    def _wish(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True


def begin_worker(worker: int) -> None:
    """In a data worker: leave Ctrl-C to the training, which still needs crops, and end if it was just killed.

    From here on PyTorch looks after its workers, but it would take whoever inherited them for their parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None and (not parent.is_alive() or (os.getppid() == 1 and parent.pid != 1)):
        os._exit(1)


class FiniteCheck:
    """Stops a training whose loss or gradient is infinite or NaN.

    A value is looked at when the next one comes: a GPU has finished it by then, and nobody waits.
    """

    def __init__(self) -> None:
        self.step = 0
        self.value: Tensor | None = None

    def add(self, step: int, value: Tensor) -> None:
        """Check the value before, and keep this one, of step number `step` (from 1)."""
        self.settle()
        self.step, self.value = step, value.detach()

    def settle(self) -> None:
        """Check the value that is kept; needed before anything made with it is stored.

        Raises:
            UcdirError: naming the step.
        """
        number = 0.0 if self.value is None else float(self.value)
        self.value = None
        if not math.isfinite(number):
            raise UcdirError(
                f"training stopped: loss or gradient of step {self.step} is {number} and was not saved; "
                "start anew in another output folder with a lower training.learning_rate."
            )
