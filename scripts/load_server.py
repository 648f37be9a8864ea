"""Load and faults: many clients ask a running `ucdir serve` for mixed good, bad, oversized, slow and broken things.

    python scripts/load_server.py --requests 2000 --clients 16

Prints a table: for each kind of request how many were made, and what was answered; who is answered 429, as the queue is
full, tries again. Ends with status 1 if an answer is not one that the kind may get, as no 5xx is; if the queue outgrew
its limit, memory grew by more than 100 MB once warm, or a file was left in the folder of uploads; and if the server,
told to end under load, does not finish one photo and answer 503 to the others.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import random
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SUPPORT = Path(__file__).resolve().parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

from http_server import Server, form, photo, read_all  # noqa: E402

QUEUE, MAX_UPLOAD, STALL_SECONDS = 8, 2_000_000, 3.0
GROWTH_BYTES = 100_000_000
GONE = 0
"""In place of a status: the connection was ended by us, or by the server after its answer."""
BUSY = {429}
"""What all that need a place in the queue may be answered, however often they try."""
TRIES = 12
PHOTOS = {side: photo(side) for side in (16, 32, 48, 64, 96)}


class Kinds:
    """One method for each kind of request: it gives the status of the answer."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def restore(self, rng: random.Random) -> int:
        """Good: a photo, in a format and with fields chosen at random."""
        fields = {
            "image": PHOTOS[rng.choice([16, 32, 48, 64, 96])], "seed": rng.randrange(2**31), "fidelity": rng.random()
        }  # fmt: skip
        accept = rng.choice(["image/png", "image/jpeg", "image/webp", "image/tiff", "image/avif", "*/*"])
        return self.server.post("/v1/restore", fields, Accept=accept)[0]

    def inspect(self, rng: random.Random) -> int:
        """Good: what is known of a photo."""
        return self.server.post("/v1/inspect", {"image": PHOTOS[rng.choice([16, 64, 96])]})[0]

    def ask(self, rng: random.Random) -> int:
        """Good: the other addresses."""
        return self.server.get(rng.choice(["/", "/v1/models", "/metrics", "/healthz", "/openapi.json"]))[0]

    def progress(self, _: random.Random) -> int:
        """Good: a photo, and how far it is, both at once."""
        name = f"load-{random.getrandbits(120):030x}"
        with ThreadPoolExecutor(1) as pool:
            events = pool.submit(self.server.get, f"/v1/progress/{name}")
            status = self.server.post("/v1/restore", {"image": PHOTOS[64]}, X_Request_ID=name)[0]
            told, _, body = events.result()
        if status == 200 and (told != 200 or b"event: done" not in body):
            return told if told != 200 else 599
        return status

    def foreign(self, rng: random.Random) -> int:
        """Bad: a file that is no photo."""
        return self.server.post("/v1/restore", {"image": b"%PDF" + rng.randbytes(3000)})[0]

    def damaged(self, rng: random.Random) -> int:
        """Bad: a photo that was cut off."""
        whole = PHOTOS[64]
        return self.server.post("/v1/restore", {"image": whole[: rng.randrange(20, len(whole) // 2)]})[0]

    def fields(self, rng: random.Random) -> int:
        """Bad: a field that is unknown or out of range."""
        wrong = rng.choice(
            [{"seed": -1}, {"task": "x"}, {"path": "/etc/passwd"}, {"fidelity": 2}, {"model": "../x"}]
        )
        return self.server.post("/v1/restore", {"image": PHOTOS[16], **wrong})[0]

    def malformed(self, rng: random.Random) -> int:
        """Bad: a form of random bytes, or without its end."""
        body, kind = form({"image": PHOTOS[16]})
        sent = rng.choice([rng.randbytes(500), body[: rng.randrange(10, len(body) - 10)]])
        return self.server.request("POST", "/v1/restore", sent, {"Content-Type": kind})[0]

    def address(self, rng: random.Random) -> int:
        """Bad: an address or method that is not there, or another host."""
        wanted: list[tuple[str, str, dict[str, str]]] = [
            ("GET", "/../etc/passwd", {}), ("PUT", "/v1/models", {}), ("GET", "/v1/models", {"Host": "evil.example"}),
            ("POST", "/v1/inspect", {"Origin": "https://evil.example"}),
        ]  # fmt: skip
        method, path, headers = rng.choice(wanted)
        return self.server.request(method, path, headers=headers)[0]

    def large(self, _: random.Random) -> int:
        """Oversized: a body that is really sent."""
        return self.server.post("/v1/restore", {"image": PHOTOS[16] + bytes(2 * MAX_UPLOAD)})[0]

    def large_claim(self, _: random.Random) -> int:
        """Oversized: a length that is only claimed."""
        head = b"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
        with self.server.connect() as sock:
            sock.sendall(head)
            return status_of(sock.recv(1 << 12))

    def large_chunked(self, _: random.Random) -> int:
        """Oversized: chunks without end."""
        body, kind = form({"image": PHOTOS[16]})
        head = f"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked"
        with self.server.connect() as sock, contextlib.suppress(ConnectionError):
            sock.sendall(head.encode() + f"\r\n\r\n{len(body) - 20:x}\r\n".encode() + body[:-20] + b"\r\n")
            for _ in range(60):
                sock.sendall(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
            return status_of(sock.recv(1 << 12))
        return GONE

    def slow_body(self, _: random.Random) -> int:
        """Slow: a body that stops coming."""
        with self._sending(PHOTOS[64], 200) as sock:
            return status_of(sock.recv(1 << 12))

    def slow_headers(self, _: random.Random) -> int:
        """Slow: headers that stop coming."""
        with self.server.connect() as sock:
            sock.sendall(b"GET /v1/models HTTP/1.1\r\nHos")
            return status_of(sock.recv(1 << 12))

    def slow_but_steady(self, _: random.Random) -> int:
        """Slow: a photo that comes in small pieces, in time."""
        body, kind = form({"image": PHOTOS[64]})
        head = f"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
        with self.server.connect(120) as sock:
            with contextlib.suppress(ConnectionError):  # it may be answered before all is sent
                sock.sendall(head.encode() + b"\r\nConnection: close\r\n\r\n")
                for at in range(0, len(body), len(body) // 8):
                    sock.sendall(body[at : at + len(body) // 8])
                    time.sleep(0.05)
            return status_of(read_all(sock))

    def slow_reader(self, _: random.Random) -> int:
        """Slow: an answer that is read a byte at a time."""
        with self._sending(PHOTOS[96], None) as sock:
            data = b"".join(sock.recv(1) for _ in range(20))
            time.sleep(0.2)
            return status_of(data)

    def aborted_sending(self, rng: random.Random) -> int:
        """Aborted: the client leaves while it sends."""
        self._sending(PHOTOS[64], rng.randrange(300)).close()
        return GONE

    def aborted_working(self, rng: random.Random) -> int:
        """Aborted: the client leaves while its photo waits or is worked on."""
        with self._sending(PHOTOS[96], None, samples=64) as sock:
            time.sleep(rng.random() / 2)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # without a farewell
        return GONE

    def aborted_reading(self, _: random.Random) -> int:
        """Aborted: the client leaves when the answer begins."""
        with self._sending(PHOTOS[64], None) as sock:
            return status_of(sock.recv(20))

    def _sending(self, image: bytes, length: int | None, **fields: object) -> socket.socket:
        """A connection that has sent a request, or the first bytes of its body."""
        body, kind = form({"image": image, **fields})
        head = f"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
        sock = self.server.connect(120)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(head.encode() + b"\r\n\r\n" + body[:length])
        return sock


EXPECTED: dict[str, tuple[int, set[int]]] = {
    "restore": (20, {200} | BUSY), "inspect": (8, {200} | BUSY), "ask": (12, {200}), "progress": (3, {200} | BUSY),
    "foreign": (6, {415} | BUSY), "damaged": (6, {422} | BUSY), "fields": (6, {422} | BUSY),
    "malformed": (6, {400} | BUSY), "address": (6, {403, 404, 405}),
    "large": (2, {413}), "large_claim": (3, {413}), "large_chunked": (2, {413, GONE} | BUSY),
    "slow_body": (2, {408} | BUSY), "slow_headers": (2, {408}), "slow_but_steady": (2, {200} | BUSY),
    "slow_reader": (2, {200} | BUSY), "aborted_sending": (4, {GONE}), "aborted_working": (4, {GONE}),
    "aborted_reading": (4, {200} | BUSY),
}  # fmt: skip
"""Of each hundred requests how many are of a kind, and what it may be answered."""


def status_of(data: bytes) -> int:
    """Of the beginning of an answer."""
    found = re.match(rb"HTTP/1.1 (\d{3}) ", data)
    return int(found[1]) if found else GONE


class Watch(threading.Thread):
    """Measures the server every 0.2 s."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server, self.over = server, threading.Event()
        self.memory: list[int] = []
        self.most_jobs = 0.0

    def run(self) -> None:
        """Until `over` is set."""
        while not self.over.wait(0.2):
            text = Path(f"/proc/{self.server.process.pid}/status").read_text(encoding="ascii")
            self.memory.append(int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) * 1024)
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.most_jobs = max(self.most_jobs, self.server.metric("ucdir_jobs"))


def asked(kinds: Kinds, name: str, seed: int) -> tuple[str, int, int, float]:
    """Make one request: its kind, its status, how often it was answered 429 before, and the seconds of the last try."""
    rng, busy = random.Random(seed), 0  # noqa: S311
    while True:
        began = time.monotonic()
        try:
            status = getattr(kinds, name)(rng)
        except (ConnectionError, http.client.HTTPException) as error:
            print(f"{name}: {error!r}", file=sys.stderr)
            status = -1
        if status != 429 or busy == TRIES:
            return name, status, busy, time.monotonic() - began
        busy += 1
        time.sleep(rng.uniform(0.1, 0.4))


def load(
    server: Server, count: int, clients: int, seed: int
) -> tuple[Counter[tuple[str, int]], Counter[str], dict[str, float]]:
    """Make the requests: the number of each kind and status; of each kind that of 429 before, and the longest time."""
    rng, kinds = random.Random(seed), Kinds(server)  # noqa: S311
    names = rng.choices(list(EXPECTED), [weight for weight, _ in EXPECTED.values()], k=count)
    statuses: Counter[tuple[str, int]] = Counter()
    busy: Counter[str] = Counter()
    longest: dict[str, float] = {}
    with ThreadPoolExecutor(clients) as pool:
        for name, status, before, seconds in pool.map(
            asked, [kinds] * count, names, range(seed, seed + count)
        ):
            statuses[name, status] += 1
            busy[name] += before
            longest[name] = max(longest.get(name, 0.0), seconds)
    return statuses, busy, longest


def stop_under_load(server: Server, clients: int) -> Counter[int]:
    """End the server while as many clients as there may be want photos; the statuses of their answers."""
    kinds = Kinds(server)
    sockets = [kinds._sending(PHOTOS[96], None, samples=64) for _ in range(clients)]
    until = time.monotonic() + 60
    while server.metric("ucdir_jobs") <= QUEUE and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)  # so that one is worked on
    server.process.send_signal(signal.SIGTERM)
    answers = Counter(status_of(read_all(sock)) for sock in sockets)
    for sock in sockets:
        sock.close()
    return answers


def main() -> int:
    """Load a server, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="onnx")
    asked_for = parser.parse_args()
    names = ("uploads.STALL_SECONDS", "connection.HEADER_SECONDS")
    wrong: list[str] = []

    def require(good: bool, text: str) -> None:
        print(text + ("" if good else "  <- WRONG"))
        wrong.extend([] if good else [text])

    with tempfile.TemporaryDirectory() as folder:
        server = Server(
            Path(folder), *("--engine", asked_for.engine, "--queue", QUEUE, "--max-upload", MAX_UPLOAD),
            constants={f"ucdir.server.{name}": STALL_SECONDS for name in names},
        )  # fmt: skip
        try:
            load(server, 100, asked_for.clients, asked_for.seed + 1_000_000)  # warm
            watch = Watch(server)
            watch.start()
            began = time.monotonic()
            statuses, busy, longest = load(server, asked_for.requests, asked_for.clients, asked_for.seed)
            seconds = time.monotonic() - began
            server.wait_for("ucdir_jobs", 0, 120)
            watch.over.set()
            watch.join()
            left = server.uploads
            answers = stop_under_load(server, asked_for.clients)
            status = server.process.wait(60)
            remains = list(Path(folder).glob("ucdir-serve-*/.*"))
        finally:
            server.stop(signal.SIGKILL)
        said = server.stderr
    print("| kind | requests | answers | 429 before | wrong | longest, s |\n|---|---|---|---|---|---|")
    for name, (_, expected) in EXPECTED.items():
        own = {code: n for (kind, code), n in sorted(statuses.items()) if kind == name}
        bad = sum(n for code, n in own.items() if code not in expected)
        shown = ", ".join(f"{n} × {code or 'left'}" for code, n in own.items())
        what = (getattr(Kinds, name).__doc__ or "").rstrip(".")
        seconds_most = longest.get(name, 0.0)
        print(f"| {what} | {sum(own.values())} | {shown} | {busy[name]} | {bad} | {seconds_most:.1f} |")
        wrong += [name] * bad
    memory = [size / 1e6 for size in watch.memory]
    first, most, last = memory[0], max(memory), memory[-1]
    print(
        f"\n{asked_for.requests} requests by {asked_for.clients} clients in {seconds:.0f} s, "
        f"and {busy.total()} tries that were answered 429"
    )
    require(
        (most - first) * 1e6 < GROWTH_BYTES,
        f"memory: {first:.0f} MB warm, {most:.0f} MB at most, {last:.0f} MB at the end",
    )
    require(
        watch.most_jobs <= QUEUE + 1, f"received, waiting or worked on at once: {watch.most_jobs:.0f} at most"
    )
    require(not left, f"left in the folder of uploads: {len(left)}")
    require(
        answers[200] == 1 and answers[503] == QUEUE,
        f"told to end under load, it answered {dict(sorted(answers.items()))}",
    )
    require(status == 143 and not remains, f"exit status {status}, folders left: {len(remains)}")
    require(not said, f"said on stderr: {said[:2000] or 'nothing'}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
