"""A connection of uvicorn that does not wait for ever: for headers, the rest of a refused body, or a slow reader."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from ucdir.limits import MAX_CONNECTIONS

HEADER_SECONDS: Final = 20.0
"""Longest time for the headers of a request, and for what is left of a body when the answer is sent."""
WRITE_SECONDS: Final = 30.0
"""Longest time that a client may read nothing while an answer waits for it."""


class Connection(H11Protocol):
    """Adds deadlines, and a limit of connections; bodies have deadlines of their own, in `uploads.py`."""

    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, if there are not too many connections."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._end(b"429 Too Many Requests\r\nRetry-After: 5")
            return
        self._reading = self.loop.call_later(HEADER_SECONDS, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest, if it is not part of a body that is being received."""
        super().data_received(data)
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            _cancel(self._reading)
            self._reading = None
        elif self._reading is None and not self.transport.is_closing():
            # uvicorn's own deadline ends with the first byte
            self._reading = self.loop.call_later(HEADER_SECONDS, self._late)

    def pause_writing(self) -> None:
        """Wait until the client has read something."""
        super().pause_writing()
        self._writing = self._writing or self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It has."""
        super().resume_writing()
        _cancel(self._writing)
        self._writing = None

    def timeout_keep_alive_handler(self) -> None:
        """No further request came."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # closing would wait until it is read
            return
        super().timeout_keep_alive_handler()

    def _late(self) -> None:
        self._reading = None
        if self.cycle is None or self.cycle.response_complete:
            self._end(b"408 Request Timeout" if self.cycle is None else b"")

    def _end(self, status: bytes) -> None:
        if status and not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            )
        self.transport.close()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
