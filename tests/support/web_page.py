"""The page of web/, built, and served as a static host does; and the programs that this needs."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
NODE = (20, 19)
"""The oldest Node.js that Vite runs on."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


def missing() -> str | None:
    """What is not here to build the page and to drive a browser; None if everything is."""
    node = shutil.which("node")
    version = "" if node is None else subprocess.check_output([node, "--version"], text=True)
    found = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    if found < NODE:
        return f"needs Node.js {NODE[0]}.{NODE[1]} or later, found {version.strip() or 'none'}"
    if not (WEB / "node_modules").is_dir():
        return "needs what `npm ci` installs in web/"
    if chromium() is None:
        return "needs chromium"
    return None


def chromium() -> str | None:
    """The browser."""
    return next((found for name in CHROMIUM if (found := shutil.which(name))), None)


def build(folder: Path, *models: str) -> None:
    """Build the page with some models into a folder."""
    vite = [WEB / "node_modules" / ".bin" / "vite", "build", "--outDir", folder, "--logLevel", "error"]
    subprocess.run(vite, cwd=WEB, check=True)
    shutil.rmtree(folder / "models", ignore_errors=True)
    script = ROOT / "scripts" / "make_web_models.py"
    subprocess.run([sys.executable, script, folder / "models", "--model", *models], check=True)


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm",
    }  # fmt: skip

    def end_headers(self) -> None:
        for name, value in self.server.headers.items():  # type: ignore[attr-defined]
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        self.server.requests.append(self.path)  # type: ignore[attr-defined]


@contextmanager
def static_host(folder: Path, *, isolated: bool) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder: its address, and the paths that were asked for; `isolated`: with the headers for threads."""
    handler = functools.partial(_Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.headers, server.requests = ISOLATION if isolated else {}, []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", server.requests  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
