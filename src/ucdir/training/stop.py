"""Early ends of a training run: a signal, a time that is over, and a loss that is not finite."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, NoReturn

from torch import Tensor

from ucdir.errors import ConfigError, UcdirError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the end that a system or a scheduler of jobs gives notice of, and a terminal that is closed."""


class Interruption:
    """Turns a signal into a request to stop after the current step; a second one stops at once.

    With several processes only the first one listens, so that all of them do the same steps. A signal that is ignored,
    as SIGHUP under nohup, stays so.
    """

    def __init__(self, *, listen: bool) -> None:
        self.number: int | None = None
        self.handler: Any = self._request if listen else signal.SIG_IGN
        self.before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether there was a signal."""
        return self.number is not None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self.before = {number: signal.signal(number, self.handler) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def end(self) -> NoReturn:
        """Do what the signal would have done without this class.

        Raises:
            KeyboardInterrupt: after Ctrl-C, or if that was nothing.
        """
        assert self.number is not None  # noqa: S101 (for the type checker)
        self.__exit__(None, None, None)
        signal.raise_signal(self.number)
        raise KeyboardInterrupt

    def _request(self, number: int, frame: FrameType | None) -> None:
        before, self.number = self.number, number
        if before is not None:
            self.end()


class Deadline:
    """Ends a training run after some minutes, with the learning rate at zero, as on a GPU that is lent for so long.

    How many steps are taken then depends on the machine, and so do the weights.
    """

    DECAY = 0.5
    """Share of the time over which the learning rate falls."""

    def __init__(self, minutes: float | None, processes: int = 1) -> None:
        if minutes is not None and not minutes > 0:  # nor NaN
            raise ConfigError(
                f"minutes {minutes:g} of training are not above 0; leave them out for all steps."
            )
        if minutes is not None and processes > 1:
            raise ConfigError("minutes are for one process: several would not agree on the last step.")
        self.seconds = math.inf if minutes is None else 60 * minutes
        self.began = time.monotonic()

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self.began >= self.seconds

    @property
    def factor(self) -> float:
        """Of the learning rate: 1, then falling linearly to 0."""
        if self.seconds == math.inf:
            return 1.0
        left = 1 - (time.monotonic() - self.began) / self.seconds
        return min(1.0, max(0.0, left) / self.DECAY)


def init_worker(worker: int) -> None:
    """Start of a data worker: outlive a signal to all processes, as the training still needs crops for its last step.

    A second SIGTERM ends it, and it exits if the training was just killed.
    Later on PyTorch's workers exit with their parent; but one whose parent died before this point would watch the
    process that adopted it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))
    parent = multiprocessing.parent_process()
    if parent is not None and (not parent.is_alive() or (os.getppid() == 1 and parent.pid != 1)):
        os._exit(1)


class FiniteCheck:
    """Stops training when loss or gradient is infinite or NaN.

    A value is checked when the next one is added: by then a GPU has computed it, and nothing has to wait.
    """

    def __init__(self) -> None:
        self.step = 0
        self.value: Tensor | None = None

    def add(self, step: int, value: Tensor) -> None:
        """Check the previous value, and store that of step number `step` (from 1)."""
        self.settle()
        self.step, self.value = step, value.detach()

    def settle(self) -> None:
        """Check the stored value; required before weights that depend on it are saved.

        Raises:
            UcdirError: naming the step.
        """
        number = 0.0 if self.value is None else float(self.value)
        self.value = None
        if not math.isfinite(number):
            raise UcdirError(
                f"training stopped: loss or gradient of step {self.step} is {number} and was not saved; "
                "start again in another output folder with a lower training.learning_rate."
            )
