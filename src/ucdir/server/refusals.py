"""What a request is answered that is refused: a status, and one sentence in JSON (RFC 9457)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from ucdir.errors import ConfigError, DeviceError, ExtraError, ImageError, OutputError, UcdirError, fault


class ProblemResponse(JSONResponse):
    """A problem as RFC 9457 describes it."""

    media_type = "application/problem+json"

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        title = HTTPStatus(status).phrase
        super().__init__({"status": status, "title": title, "detail": detail}, status, headers)


async def problem_response(_: Request, error: Exception) -> ProblemResponse:
    """The answer to a request whose handler raised `HTTPException`."""
    if not isinstance(error, HTTPException):
        raise error
    details = {404: "there is no such address; see /openapi.json.", 405: "this address has other methods."}
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:
        detail = details.get(error.status_code, detail)
    return ProblemResponse(error.status_code, detail, error.headers)


def refusal(error: Exception, names: Mapping[str, str]) -> HTTPException:
    """The answer to a request whose work failed.

    Args:
        error: what was raised.
        names: what stands in sentences, such as the path of an upload, and what the client is to read instead.
    """
    if isinstance(error, MemoryError):
        return HTTPException(503, "the memory of the server is full; try again later.")
    if isinstance(error, OSError) and not isinstance(error, UcdirError):  # while the photo was received
        return HTTPException(_status_of_disk(error), f"the server cannot keep the photo ({error.strerror}).")
    if not isinstance(error, UcdirError):
        return HTTPException(500, fault(error))
    return HTTPException(_status(error), renamed(str(error), names))


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A text in which the client reads `names` instead of what stands in it."""
    for path, name in names.items():
        text = text.replace(path, name)
    return text


def _status(error: UcdirError) -> int:
    if isinstance(error, (ImageError, ConfigError)):
        return 422
    if isinstance(error, OutputError):
        cause = error.__cause__
        if not isinstance(cause, OSError):
            return 422  # the format cannot hold the photo
        return _status_of_disk(cause)
    if isinstance(error, ExtraError):
        return 415
    return 503 if isinstance(error, DeviceError) else 500


def _status_of_disk(error: OSError) -> int:
    return 507 if error.errno in (errno.ENOSPC, errno.EDQUOT) else 500
