"""Several photos at once: threads read and write them, and the networks run in the main thread, one photo at a time.

So the networks see what they would see without threads, and a signal, which Python gives to the main thread, stops
them as it would then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


class Stopped(BaseException):
    """Raised in a thread whose result nobody waits for any more."""


class Relay:
    """Has functions called by the main thread."""

    def __init__(self, *, threaded: bool = False) -> None:
        self.threaded = threaded
        self.messages: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.owner = threading.current_thread()
        self.stopped = False

    def call(self, function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """The function's result; in the main thread at once, in another one when `in_order` gets to it."""
        if threading.current_thread() is self.owner:
            return function(*arguments, **options)
        future: Future[Result] = Future()

        def run() -> None:
            if self.stopped:
                future.set_exception(Stopped())
                return
            try:
                result = function(*arguments, **options)
            except Exception as error:  # noqa: BLE001 (raised again in the thread that asked)
                future.set_exception(error)
            except BaseException:  # Ctrl-C: the thread that asked ends, too
                future.set_exception(Stopped())
                raise
            else:
                future.set_result(result)

        self.messages.put(run)
        return future.result()


def in_order(
    work: Callable[[Work], Result],
    things: Sequence[Work],
    threads: int,
    report: Callable[[Result], None],
    relay: Relay,
) -> None:
    """Report `work(thing)` of each thing, in their order.

    Args:
        work: does not raise but what should end it all; called in `threads` threads, or in this one if it is 1.
        things: to be worked on.
        threads: how many are worked on at once.
        report: called in this thread.
        relay: through which `work` has called what must be called by this thread.
    """
    if threads == 1:
        for thing in things:
            report(work(thing))
        return
    left, lock = iter(enumerate(things)), threading.Lock()
    results: dict[int, Result] = {}
    failures: list[BaseException] = []

    def worker() -> None:
        while True:
            with lock:
                number, thing = next(left, (-1, None))
            if thing is None or relay.stopped:
                return
            try:
                results[number] = work(thing)
            except BaseException as error:  # noqa: BLE001 (raised in the main thread)
                failures.append(error)
            relay.messages.put(lambda: None)  # wakes the main thread

    workers = [threading.Thread(target=worker, daemon=True) for _ in range(min(threads, len(things)))]
    for thread in workers:
        thread.start()
    try:
        for number in range(len(things)):
            while number not in results:
                relay.messages.get()()
                if failures:
                    raise failures[0]
            report(results.pop(number))
    finally:
        relay.stopped = True
        while any(thread.is_alive() for thread in workers):  # those that write finish it
            relay.messages.put(lambda: None)
            relay.messages.get()()
            for thread in workers:
                thread.join(timeout=0.02)
