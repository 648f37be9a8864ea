"""Runs the server until a signal ends it: what is being worked on is finished, the others are answered 503."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import uvicorn

from ucdir.errors import ConfigError
from ucdir.server.app import App
from ucdir.server.connection import Connection
from ucdir.server.folder import server_folder
from ucdir.server.models import Models
from ucdir.server.settings import Settings

BACKLOG: Final = 128
KEEP_ALIVE_SECONDS: Final = 5
"""How long a connection is kept for a further request."""


def serve(settings: Settings, ready: Callable[[str], object]) -> int | None:
    """Run the server; it ends by a signal.

    Args:
        settings: how.
        ready: called with the server's address once it takes requests.

    Returns:
        the signal that ended it.

    Raises:
        UcdirError: it cannot be started: the address is taken, or a model or folder missing.
    """
    with _socket(settings) as listening, server_folder(settings.temporary) as folder:
        models = Models(
            settings.models, device=settings.device, precision=settings.precision, engine=settings.engine,
            max_memory=settings.max_memory,
        )  # fmt: skip
        models.import_engines()
        for library in ("uvicorn.error", "python_multipart"):
            logging.getLogger(library).setLevel(logging.ERROR)  # warnings are of what clients send
        app = App(settings, models, folder)
        config = uvicorn.Config(
            app.asgi, http=Connection, ws="none", loop="asyncio", lifespan="off", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, backlog=BACKLOG, timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )  # fmt: skip
        server = _Server(config, app, lambda: ready(_address(settings, listening)))
        try:
            server.run([listening])
        finally:
            app.jobs.cancel()
            app.jobs.close()
        return server.ended_by


class _Server(uvicorn.Server):
    """One that tells its jobs of signals."""

    def __init__(self, config: uvicorn.Config, app: App, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self.app, self.ready = app, ready
        self.ended_by: int | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in numbers}
        caught = [number for number in numbers if before[number] is not signal.SIG_IGN]
        for number in caught:
            signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number in caught:
                signal.signal(number, before[number])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends it when the current job is done, the second when its current patch is."""
        again, self.should_exit = self.should_exit, True
        self.ended_by = self.ended_by or sig
        jobs = self.app.jobs
        if self.loop is not None:
            self.loop.call_soon_threadsafe(jobs.cancel if again else jobs.stop)


def _socket(settings: Settings) -> socket.socket:
    """A socket at the address.

    Raises:
        ConfigError: the address is none of this machine's, or taken.
    """
    where = f"--host {settings.host:.80} --port {settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError, OverflowError) as error:
        raise ConfigError(f"{where}: is no address ({error}); choose another.") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(f"{where}: cannot be used ({error.strerror}); choose another.") from error
    return listening


def _address(settings: Settings, listening: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listening.getsockname()[1]}"
