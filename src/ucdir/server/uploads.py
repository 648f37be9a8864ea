"""Reading a form (RFC 7578) as it arrives: the photo goes to a file of our own name, fields stay in memory.

Nothing is read that need not be: a body that is too long is refused by its length, and a file that is no photo by its
first bytes. Slow bodies time out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Receive

from ucdir.errors import ImageError
from ucdir.images.paths import RAW_SUFFIXES
from ucdir.images.signatures import RawFile, kind_of
from ucdir.limits import MAX_FIELD_BYTES, MAX_FORM_BYTES, MAX_FORM_PARTS
from ucdir.server.fields import IMAGE

STALL_SECONDS: Final = 20.0
"""Longest time without a byte of a body."""
BYTES_PER_SECOND: Final = 16 << 10
"""Slowest rate of a body, on the average since its beginning and beyond `STALL_SECONDS`."""
_HEAD: Final = 256
"""First bytes of a file that say what it is."""


class ClientLeftError(Exception):
    """The client closed the connection before its request was whole."""


async def body(receive: Receive, most: int) -> AsyncIterator[bytes]:
    """The body of a request in pieces.

    Raises:
        HTTPException: it is longer than `most` bytes, or comes too slowly.
        ClientLeftError: the client left.
    """
    began, count, more = time.monotonic(), 0, True
    while more:
        slowest = STALL_SECONDS + count / BYTES_PER_SECOND - (time.monotonic() - began)
        try:
            message = await asyncio.wait_for(receive(), max(0.0, min(STALL_SECONDS, slowest)))
        except TimeoutError:
            text = f"the request came too slowly; send at least {BYTES_PER_SECOND >> 10} KiB a second."
            raise HTTPException(408, text, {"Connection": "close"}) from None
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        piece, more = message.get("body", b""), message.get("more_body", False)
        count += len(piece)
        if count > most:
            raise too_long(most)
        if piece:
            yield piece


def check_length(headers: Headers, most: int) -> None:
    """Refuse a body by the length that the request names, before any of it is read.

    Raises:
        HTTPException: it is longer than `most` bytes.
    """
    length = headers.get("content-length", "0")  # h11 lets only digits pass
    if int(length) > most:
        raise too_long(most)


def too_long(most: int) -> HTTPException:
    """The answer to a body that is longer than `most` bytes."""
    return HTTPException(
        413, f"the request is longer than the {most:,} bytes that this server takes; send less."
    )


class Form:
    """A form of which each piece is parsed as it comes; a context manager that closes the photo's file."""

    def __init__(self, headers: Headers, folder: Path) -> None:
        """Begin to read one.

        Args:
            headers: of the request.
            folder: for the photo.

        Raises:
            HTTPException: the request is no form.
        """
        kind, options = parse_options_header(headers.get("content-type"))
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise HTTPException(
                415,
                f"the request is no multipart/form-data with a boundary; send a form with a field {IMAGE}.",
            )
        self.values: dict[str, str] = {}
        self.photo: Path | None = None
        self.kind = ""  # of the photo, as in `images.signatures`
        self._folder = folder
        self._file: BinaryIO | None = None
        self._parts, self._small, self._whole = 0, 0, False
        self._part = _Part()
        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end")
        callbacks: Any = {
            f"on_{name}": getattr(self, f"_{name}") for name in (*names, "headers_finished", "end")
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _malformed() from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    async def read(self, pieces: AsyncIterator[bytes], count: Callable[[int], None]) -> None:
        """Read all of it.

        Args:
            pieces: of the body.
            count: called with the number of bytes of each.

        Raises:
            HTTPException: it is malformed, has no photo, a field twice or a long one, or what it has is no photo.
        """
        async for piece in pieces:
            count(len(piece))
            try:
                self._parser.write(piece)
            except FormParserError as error:
                raise _malformed() from error
        if not self._whole:
            raise HTTPException(400, "the form ends before its last boundary; send it whole.")
        if self.photo is None:
            raise HTTPException(422, f"the form has no field {IMAGE}; send a photo in it.")

    # --------------------------------------------------------------------------------------- called by the parser

    def _part_begin(self) -> None:
        self._part = _Part()
        self._parts += 1
        if self._parts > MAX_FORM_PARTS:
            raise HTTPException(422, f"the form has more than {MAX_FORM_PARTS} parts; leave some out.")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._take(end - start)
        self._part.header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._take(end - start)
        self._part.header_value += data[start:end]

    def _header_end(self) -> None:
        if self._part.header.lower() == b"content-disposition":
            self._part.disposition = bytes(self._part.header_value)
        self._part.header, self._part.header_value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._part.disposition.decode("latin-1"))
        if b"name" not in options:
            raise _malformed()
        self._part.name = options[b"name"].decode("utf-8", "replace")
        if self._part.name != IMAGE:
            return
        if self.photo is not None:
            raise HTTPException(422, f"the form has several fields {IMAGE}; send one photo a request.")
        # All that is taken of the name is which of our own suffixes it ends with: some RAW files begin like TIFF.
        name = options.get(b"filename", b"").decode("latin-1").lower()
        self._part.suffix = next((suffix for suffix in sorted(RAW_SUFFIXES) if name.endswith(suffix)), "")
        self.photo = self._folder / f"photo{self._part.suffix}"
        self._file = self.photo.open("xb")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part.name != IMAGE:
            self._take(end - start)
            part.value += data[start:end]
            if len(part.value) > MAX_FIELD_BYTES:
                raise HTTPException(
                    422, f"field {part.name!r:.80} is longer than {MAX_FIELD_BYTES} bytes; shorten it."
                )
            return
        assert self._file is not None  # noqa: S101 (for the type checker)
        self._file.write(memoryview(data)[start:end])
        if not self.kind and len(part.value) < _HEAD:
            part.value += data[start : min(end, start + _HEAD)]
            if len(part.value) >= _HEAD:
                self.kind = _kind(bytes(part.value), part.suffix)

    def _part_end(self) -> None:
        part = self._part
        if part.name == IMAGE:
            assert self._file is not None  # noqa: S101 (for the type checker)
            self._file.close()
            self.kind = self.kind or _kind(bytes(part.value), part.suffix)
            return
        if part.name in self.values:
            raise HTTPException(422, f"field {part.name!r:.80} is there twice; leave one out.")
        try:
            self.values[part.name] = part.value.decode()
        except UnicodeDecodeError:
            raise HTTPException(422, f"field {part.name!r:.80} is not UTF-8 text.") from None

    def _end(self) -> None:
        self._whole = True

    def _take(self, count: int) -> None:
        self._small += count
        if self._small > MAX_FORM_BYTES:
            raise HTTPException(
                413, f"the form holds more than {MAX_FORM_BYTES:,} bytes beside its photo; send less."
            )


class _Part:
    """What is known of the part that is being read."""

    def __init__(self) -> None:
        self.header, self.header_value, self.value = bytearray(), bytearray(), bytearray()
        self.disposition = b""
        self.name = self.suffix = ""


def _kind(head: bytes, suffix: str) -> str:
    if not head:
        raise HTTPException(422, "the image is empty; send a complete file.")
    try:
        return kind_of(head, suffix)
    except RawFile:
        return "RAW"
    except ImageError as error:
        raise HTTPException(415, f"the image {error}") from error


def _malformed() -> HTTPException:
    return HTTPException(400, "the form is malformed; send multipart/form-data as RFC 7578 describes it.")
