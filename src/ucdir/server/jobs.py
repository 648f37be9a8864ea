"""Requests that want the one worker thread: a bounded queue, how far each is, and stopping them."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, TypeVar

from starlette.exceptions import HTTPException

from ucdir.server.metrics import Metrics

State = Literal["receiving", "waiting", "working", "done", "failed", "cancelled"]
KEPT: Final = 256
"""How many finished jobs are remembered, for those who ask for their progress late."""
RETRY_SECONDS: Final = 5
Result = TypeVar("Result")


class StoppedError(Exception):
    """Raised in the worker thread, to end what nobody waits for, or what took too long."""


class Job:
    """One request: from its first byte until it is answered.

    Attributes:
        name: by which its progress can be asked for.
        state: what is being done.
        outcome: what its progress says at the end: what was done, or why it failed.
    """

    def __init__(self, name: str, time_limit: float) -> None:
        self.name, self.time_limit = name, time_limit
        self.state: State = "receiving"
        self.outcome: dict[str, Any] = {}
        self.stopped = self.late = False  # read by the worker thread
        self.place = 0  # in the queue: those of lower numbers come first
        self.began = 0.0  # when the worker took it
        self.patch: tuple[int, int, int, int, float] | None = (
            None  # as `Watch`, and when; by the worker thread
        )
        self.left = asyncio.Event()  # set when it is to be stopped

    def watch(self, passes: int, of: int, patches: int, of_patches: int) -> None:
        """As `Watch`: called by the worker thread after each patch.

        Raises:
            StoppedError: it is to end.
        """
        self.patch = passes, of, patches, of_patches, time.monotonic()
        self.check()

    def check(self) -> None:
        """End here if it is to end.

        Raises:
            StoppedError: it is.
        """
        self.late = time.monotonic() - self.began > self.time_limit
        if self.stopped or self.late:
            raise StoppedError

    def stop(self) -> None:
        """Have it end at its next patch, or not begin."""
        self.stopped = True
        self.left.set()

    @property
    def is_over(self) -> bool:
        """Whether it is answered, or never will be."""
        return self.state in ("done", "failed", "cancelled")

    def progress(self, before: int) -> dict[str, Any]:
        """What is said of it; `before` is how many are to be done before it."""
        said: dict[str, Any] = {"state": self.state}
        if self.state == "waiting":
            said["before"] = before
        if self.state == "working" and self.patch is not None:
            passes, of, patches, of_patches, now = self.patch
            share = (passes + patches / of_patches) / of
            seconds = now - self.began
            said |= {
                "step": passes, "steps": of - 1, "tile": patches, "tiles": of_patches,
                "fraction": round(share, 4), "seconds_left": round(seconds / share * (1 - share), 1),
            }  # fmt: skip
        return said | self.outcome


class Jobs:
    """All jobs; used in the event loop's thread alone."""

    def __init__(self, queue: int, time_limit: float, metrics: Metrics) -> None:
        self.queue, self.time_limit, self.metrics = queue, time_limit, metrics
        self.stopping = False
        self._jobs: dict[str, Job] = {}  # in the order of their beginning
        self._over: dict[str, Job] = {}
        self._places = itertools.count(1)
        self._turn = asyncio.Lock()  # first come, first served
        self._worker = ThreadPoolExecutor(1, "ucdir-worker")

    def __len__(self) -> int:
        return len(self._jobs)

    def enter(self, name: str | None) -> Job:
        """A new job.

        Raises:
            HTTPException: there are too many, its name is taken, or the server is stopping.
        """
        self.refuse_if_stopping()
        if name is not None and (name in self._jobs or name in self._over):
            raise HTTPException(409, "this X-Request-ID was used before; choose another.")
        if len(self._jobs) > self.queue:
            text = f"{self.queue} requests are waiting already; try again later."
            raise HTTPException(429, text, {"Retry-After": str(RETRY_SECONDS)})
        job = Job(name or secrets.token_hex(16), self.time_limit)
        self._jobs[job.name] = job
        return job

    def leave(self, job: Job) -> None:
        """A job is answered."""
        del self._jobs[job.name]
        if not job.is_over:
            job.state = "cancelled"
        self._over[job.name] = job
        while len(self._over) > KEPT:
            del self._over[next(iter(self._over))]

    def find(self, name: str) -> Job | None:
        """The job of a name, over or not."""
        return self._jobs.get(name) or self._over.get(name)

    def before(self, job: Job) -> int:
        """How many jobs are to be done before one that waits."""
        others = (one for one in self._jobs.values() if one.state in ("waiting", "working"))
        return sum(one.place < job.place for one in others)

    async def receive(self, job: Job, reading: Coroutine[Any, Any, Result]) -> Result:
        """The result of reading a request, given up once the server stops.

        Raises:
            HTTPException: the server stops.
        """
        task = asyncio.ensure_future(reading)
        stopping = asyncio.ensure_future(job.left.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.refuse_if_stopping()
            return await task
        finally:
            # cancelled just as the client leaves, it may still end with that, which nobody waits for any more
            task.add_done_callback(lambda over: over.cancelled() or over.exception())
            task.cancel()
            stopping.cancel()

    async def run(
        self, job: Job, work: Callable[[], Result], client_left: Coroutine[Any, Any, None]
    ) -> Result:
        """The result of `work`, called by the worker thread when it is this job's turn.

        Raises:
            StoppedError: the client left, or the server stops, and the worker is done with it.
        """
        job.state, job.place = "waiting", next(self._places)
        leaving = asyncio.ensure_future(client_left)
        stopping = asyncio.ensure_future(job.left.wait())
        running = asyncio.ensure_future(self._in_turn(job, work))
        try:
            await asyncio.wait({leaving, stopping, running}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                job.stop()
                if job.state == "waiting":
                    running.cancel()
                await asyncio.wait({running})
            if running.cancelled():
                raise StoppedError
            return running.result()
        finally:
            job.stop()
            leaving.cancel()
            stopping.cancel()

    async def _in_turn(self, job: Job, work: Callable[[], Result]) -> Result:
        async with self._turn:
            job.state = "working"
            job.began = time.monotonic()
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def refuse_if_stopping(self) -> None:
        """Refuse what is not being worked on, once the server is stopping.

        Raises:
            HTTPException: it is.
        """
        if self.stopping:
            headers = {"Retry-After": str(RETRY_SECONDS), "Connection": "close"}
            raise HTTPException(503, "the server is stopping; try again later.", headers)

    def stop(self) -> None:
        """Finish what is being worked on, and nothing else."""
        self.stopping = True
        for job in self._jobs.values():
            if job.state in ("receiving", "waiting"):
                job.stop()

    def cancel(self) -> None:
        """Stop what is being worked on, too."""
        self.stopping = True
        for job in self._jobs.values():
            job.stop()

    def close(self) -> None:
        """End the worker thread."""
        self._worker.shutdown(wait=True)
