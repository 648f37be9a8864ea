"""What stands before every request: who may ask, and which headers every answer carries.

A page of another site cannot use a server on this machine: names that are not this machine's are refused (DNS
rebinding), so are requests that a browser says come from elsewhere, and no answer allows another origin to read it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ucdir.server.metrics import Metrics
from ucdir.server.refusals import ProblemResponse
from ucdir.server.settings import Settings

API_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "connect-src 'self' blob: data:",
        "img-src 'self' blob: data:",
        "style-src 'self'",
        *("object-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    )
)
"""Content security policies of answers of the API, and of the page with its WebAssembly and workers."""

_ALWAYS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
PATHS: Final = (
    *("/", "/healthz", "/metrics", "/openapi.json"),
    *("/v1/inspect", "/v1/models", "/v1/progress/{id}", "/v1/restore"),
)
"""Addresses that requests are counted by."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})


class Guard:
    """Middleware: refuses requests from elsewhere or without the token, and completes the headers of answers."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics
        self.hosts = settings.hosts
        self.token = None if settings.token is None else settings.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_api = scope["path"].startswith(("/v1/", "/metrics"))

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", API_POLICY)
                if is_api:
                    headers["Cache-Control"] = "no-store"
                self._count(scope, message["status"])
            await send(message)

        try:
            self._check(Headers(scope=scope), is_api)
        except HTTPException as error:
            await ProblemResponse(error.status_code, error.detail, error.headers)(scope, receive, complete)
            return
        await self.app(scope, receive, complete)

    def _check(self, headers: Headers, is_api: bool) -> None:
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            raise HTTPException(
                403, f"this server does not answer to the name {host!r:.80}; see --allowed-host."
            )
        if not is_api:
            return
        origin = headers.get("origin")
        elsewhere = origin is not None and origin not in (f"http://{host}", f"https://{host}")
        if elsewhere or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise HTTPException(HTTPStatus.FORBIDDEN, "pages of other sites may not use this server.")
        if self.token is None:
            return
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self.token):
            raise HTTPException(
                401, "this server needs its token; send the header Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": 'Bearer realm="ucdir"'},
            )  # fmt: skip

    def _count(self, scope: Scope, status: int) -> None:
        path = scope["path"]
        if path.startswith("/v1/progress/"):
            path = "/v1/progress/{id}"
        path = path if path in PATHS else "other"  # or a client could make up as many as it likes
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.requests[path, method, status] += 1


def _name(host: str) -> str:
    """The host that a request names, without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower().rstrip(".")
