"""The page: files of a built folder, known before the first request, so that no path of a request is ever opened."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from ucdir.errors import ConfigError
from ucdir.images.paths import shown
from ucdir.server.guard import PAGE_POLICY
from ucdir.server.refusals import ProblemResponse

_TYPES: Final = {
    ".css": "text/css", ".html": "text/html", ".ico": "image/x-icon", ".js": "text/javascript",
    ".json": "application/json", ".mjs": "text/javascript", ".png": "image/png", ".svg": "image/svg+xml",
    ".txt": "text/plain", ".wasm": "application/wasm", ".webmanifest": "application/manifest+json",
    ".webp": "image/webp", ".woff2": "font/woff2",
}  # fmt: skip
"""By suffix; not the machine's own table, which differs from one to the next."""

WITHOUT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>ucdir</title>
<h1>ucdir serve</h1>
<p>This server restores photographs for programs: <a href="/openapi.json">openapi.json</a> describes how.</p>
<p>The page for people was not built into it. With Node.js, in the folder of the source:
<code>cd web &amp;&amp; npm ci &amp;&amp; npm run build</code>, then <code>ucdir serve --page web/dist</code>.</p>
"""


class Page:
    """Serves the files of a folder, or says that there are none; an ASGI application."""

    def __init__(self, folder: Path | None) -> None:
        """Find the files.

        Args:
            folder: with an index.html, or None.

        Raises:
            ConfigError: it has none.
        """
        self.files: dict[str, Path] = {}
        if folder is None:
            return
        if not (folder / "index.html").is_file():
            raise ConfigError(
                f"--page {shown(folder)}: holds no index.html; name the folder that `npm run build` wrote."
            )
        self.files = {f"/{f.relative_to(folder).as_posix()}": f for f in folder.rglob("*") if f.is_file()}
        self.files["/"] = self.files["/index.html"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        response = self._response(scope["path"], Headers(scope=scope))
        if response.status_code < 400 and scope["method"] not in ("GET", "HEAD"):
            response = ProblemResponse(405, "this address has other methods.", {"Allow": "GET, HEAD"})
        await response(scope, receive, send)

    def _response(self, path: str, headers: Headers) -> Response:
        if not self.files and path == "/":
            return HTMLResponse(WITHOUT)
        file = self.files.get(path)
        if file is None:
            return ProblemResponse(404, "there is no such address; see /openapi.json.")
        # what has a digest in its name never changes, and anything else may with each build
        lasting = "public, max-age=31536000, immutable" if path.startswith("/assets/") else "no-cache"
        sent = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": lasting}
        kind = _TYPES.get(file.suffix.lower(), "application/octet-stream")
        response = FileResponse(file, headers=sent, media_type=kind, stat_result=file.stat())
        if headers.get("if-none-match") == response.headers["etag"]:
            return Response(status_code=304, headers={**sent, "ETag": response.headers["etag"]})
        return response
