"""`ucdir serve` in a process of its own, and requests to it that a browser or curl would not send, too."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ucdir.degradations import JpegCompression

PROGRAM = """
import sys
log = open({log!r}, "a", buffering=1)
started = []
def watch(event, arguments):
    if started and event in ("open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo"):
        log.write(event + " " + repr(arguments[0] if event != "socket.connect" else arguments[1]) + chr(10))
sys.addaudithook(watch)
from ucdir.cli import main
import importlib
for name, value in {constants!r}.items():
    module, _, attribute = name.rpartition(".")
    getattr(importlib.import_module(module), attribute)  # it is there
    setattr(importlib.import_module(module), attribute, value)
command = sys.modules["ucdir.cli.serve"]
say = command.say
command.say = lambda *words, **options: (started.append(1), say(*words, **options))
main()
"""
"""The program, which writes down each file and address that Python opens once it takes requests."""


class Server:
    """A server that has been started, and takes requests."""

    def __init__(
        self,
        folder: Path,
        *options: object,
        environment: Mapping[str, str] | None = None,
        constants: Mapping[str, float] | None = None,
    ) -> None:
        """Start it; `constants` of its modules get other values."""
        self.folder, self.log = folder, folder / "opened.txt"
        folder.mkdir(parents=True, exist_ok=True)
        program = PROGRAM.format(log=str(self.log), constants=dict(constants or {}))
        words = ["serve", "--port", "0", "--temporary", folder, "--device", "cpu", *options]
        with (folder / "stderr.txt").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", program, *map(str, words)],
                stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            )  # fmt: skip
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 60)[0], "the server does not start"
        line = self.process.stdout.readline()
        if not line.startswith("http://"):
            self.stop(signal.SIGKILL)
            raise AssertionError(line + self.stderr)
        self.host, _, port = line.split()[0].removeprefix("http://").rpartition(":")
        self.port = int(port)

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr.txt").read_text()

    @property
    def uploads(self) -> list[Path]:
        """What lies in the folder of uploads, beside the servers' own folders."""
        return list(self.folder.rglob("ucdir-serve-*/.ucdir-*.tmp/*"))

    def connect(self, timeout: float = 30) -> socket.socket:
        return socket.create_connection((self.host.strip("[]"), self.port), timeout)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.request("GET", path, headers={n.replace("_", "-"): v for n, v in headers.items()})

    def post(
        self, path: str, fields: Mapping[str, object], **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        body, kind = form(fields)
        sent = {n.replace("_", "-"): v for n, v in headers.items()}
        return self.request("POST", path, body, {"Content-Type": kind, **sent})

    def raw(self, data: bytes, timeout: float = 30) -> bytes:
        """All that is answered to these bytes, until the connection is closed."""
        with self.connect(timeout) as sock:
            sock.sendall(data)
            return read_all(sock)

    def metric(self, line: str) -> float:
        """The value of a line of /metrics; 0 if there is none."""
        text = self.get("/metrics")[2].decode()
        return next(
            (float(one.rpartition(" ")[2]) for one in text.splitlines() if one.startswith(line + " ")), 0.0
        )

    def wait_for(self, line: str, value: float, seconds: float = 30) -> None:
        """Until a line of /metrics has a value."""
        until = time.monotonic() + seconds
        while (now := self.metric(line)) != value:
            assert time.monotonic() < until, f"{line} is {now}, not {value}"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """End it; the exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.stdout.close()  # type: ignore[union-attr]


def read_all(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1 << 16):
            data += piece
    return data


def form(fields: Mapping[str, object], boundary: str = "b0undary") -> tuple[bytes, str]:
    """A form's body and type; a value is text, bytes of a file, or (its name, bytes)."""
    body = io.BytesIO()
    for name, value in fields.items():
        body.write(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode())
        file, content = value if isinstance(value, tuple) else ("photo", value)
        if isinstance(content, bytes):
            body.write(b'; filename="' + file.encode().replace(b'"', b"%22") + b'"')
        body.write(b"\r\n\r\n" + (content if isinstance(content, bytes) else str(content).encode()) + b"\r\n")
    body.write(f"--{boundary}--\r\n".encode())
    return body.getvalue(), f"multipart/form-data; boundary={boundary}"


def detail(answer: tuple[int, dict[str, str], bytes]) -> str:
    """The sentence of a refusal, whose form is checked."""
    status, headers, body = answer
    assert headers["content-type"] == "application/problem+json", body
    problem = json.loads(body)
    assert problem.keys() == {"status", "title", "detail"}
    assert problem["status"] == status
    assert problem["detail"].endswith((".", ")"))
    return problem["detail"]


def pixels(side: int = 64) -> np.ndarray:
    blocks = np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


def photo(side: int = 64, quality: int = 20) -> bytes:
    """A JPEG file."""
    return JpegCompression(quality).encode(pixels(side))
