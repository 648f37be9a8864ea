"""The same networks on several devices, as one engine whose forward passes run at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ucdir.engines.engine import Engine, Planes


class SeveralEngines:
    """An `Engine` of engines that hold the same networks; a forward pass runs on one that is free.

    It may be called by several threads: the patches of one image, or those of several, are shared out as devices get
    free. Each engine runs in a thread of its own, as what PyTorch caches in a session belongs to a thread.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = engines
        self._threads = [ThreadPoolExecutor(1, thread_name_prefix="device") for _ in engines]
        self._free: SimpleQueue[int] = SimpleQueue()
        for number in range(len(engines)):
            self._free.put(number)
        self._lock = threading.Lock()
        self._users = 0  # of the session that is open
        self._session = ExitStack()

    @property
    def workers(self) -> int:
        """How many forward passes run at once."""
        return len(self.engines)

    @property
    def receptive_field(self) -> int:
        """See `Engine.receptive_field`."""
        return self.engines[0].receptive_field

    @property
    def multiple_of(self) -> int:
        """See `Engine.multiple_of`."""
        return self.engines[0].multiple_of

    @property
    def bytes_per_pixel(self) -> int:
        """Of all forward passes at once."""
        return sum(engine.bytes_per_pixel for engine in self.engines)

    @property
    def scalars(self) -> tuple[str, ...]:
        """See `Engine.scalars`."""
        return self.engines[0].scalars

    @property
    def prediction(self) -> str:
        """See `Engine.prediction`."""
        return self.engines[0].prediction

    @property
    def device(self) -> str:
        """All devices."""
        return ",".join(str(engine.device) for engine in self.engines)

    @contextmanager
    def session(self, forward_passes: int) -> Iterator[None]:
        """See `Engine.session`; those of several threads are one, which lasts as long as any of them."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._open(forward_passes)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._session.close()

    def _open(self, forward_passes: int) -> None:
        for engine, thread in zip(self.engines, self._threads, strict=True):
            session = engine.session(forward_passes)
            thread.submit(session.__enter__).result()
            self._session.callback(_close, session, thread)

    def predict(self, degraded: Planes) -> Planes:
        """See `Engine.predict`."""
        return self._run("predict", degraded)

    def denoise(
        self,
        noisy: Planes,
        degraded: Planes,
        guidance: Planes,
        *,
        level: float,
        scalars: Mapping[str, NDArray[np.float32]],
    ) -> Planes:
        """See `Engine.denoise`."""
        return self._run("denoise", noisy, degraded, guidance, level=level, scalars=scalars)

    def _run(self, name: str, *images: Planes, **conditions: Any) -> Planes:
        number = self._free.get()
        try:
            forward: Callable[..., Planes] = getattr(self.engines[number], name)
            return self._threads[number].submit(forward, *images, **conditions).result()
        finally:
            self._free.put(number)


def _close(session: AbstractContextManager[None], thread: ThreadPoolExecutor) -> None:
    thread.submit(session.__exit__, None, None, None).result()
