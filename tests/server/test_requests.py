"""Requests of strangers: paths and URLs that are not opened, pages of other sites, tokens, slow clients."""

import re
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from http_server import detail, form, photo, read_all

TOKEN = "a-token-of-letters-0123456789"  # noqa: S105


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>the page")
    (folder / "assets" / "a-1234.js").write_text("let a")
    (folder / "ort.wasm").write_bytes(b"\0asm")
    (folder / "large.onnx").write_bytes(bytes(20_000_000))
    (folder.parent / "secret.txt").write_text("CANARY")
    return folder


@pytest.fixture(scope="module")
def server(start, page):
    return start("--page", page, "--allowed-host", "photos.example.org")


@pytest.fixture(scope="module")
def guarded(start):
    return start("--host", "0.0.0.0", environment={"UCDIR_TOKEN": TOKEN})  # noqa: S104


@pytest.fixture(scope="module")
def impatient(start, page):
    seconds = (
        *("uploads.STALL_SECONDS", "connection.HEADER_SECONDS", "connection.WRITE_SECONDS"),
        "run.KEEP_ALIVE_SECONDS",
    )
    constants = {f"ucdir.server.{name}": 0.7 for name in seconds}
    return start("--page", page, constants=constants | {"ucdir.server.connection.MAX_CONNECTIONS": 6})


# ------------------------------------------------------------------------------------------------ hostile strings


def strings(folder):
    return [
        line
        for name in ("path_traversal.txt", "ssrf_urls.txt")
        for line in (folder / "requests" / name).read_text(encoding="utf-8").splitlines()
    ]


def opened(server):
    """What Python opened since the server takes requests: (event, path or address)."""
    lines = [line.split(" ", 1) for line in server.log.read_text(encoding="utf-8").splitlines()]
    return [(event, name.strip("'\"").removeprefix("b'")) for event, name in lines if not name.isdigit()]


def test_no_path_or_url_of_a_client_is_opened(server, test_data, root):
    """Each string of the corpus as a target, name of a file, field, its name, photo, header and name of a request."""
    assert (
        server.post("/v1/restore", {"image": photo()})[0] == 200
    )  # the model is loaded, and opens what it needs
    before = len(opened(server))
    for text in strings(test_data):
        raw = text.encode()
        for target in (
            b"/" + raw,
            raw,
            quote(text).encode(),
            b"/" + quote(text, safe="").encode(),
            b"/assets/" + raw,
        ):
            answer = server.raw(
                b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            assert answer[:13] in (b"HTTP/1.1 404 ", b"HTTP/1.1 400 "), (target, answer[:80])
            assert b"CANARY" not in answer
        for field in ({"model": text}, {"task": text}, {text: "1"}):
            answer = server.post("/v1/inspect", {"image": photo(), **field})
            assert (answer[0], bool(detail(answer))) == (422, True)
        assert server.post("/v1/inspect", {"image": raw})[0] == 415
        assert server.post("/v1/inspect", {"image": (text, photo())})[0] == 200
        body, kind = form({"image": photo()})
        for name in ("X-Request-ID", "Host", "Origin"):
            lines = [b"POST /v1/inspect HTTP/1.1", b"Content-Type: " + kind.encode(), b"Connection: close"]
            lines += [] if name == "Host" else [b"Host: localhost"]
            lines += [f"Content-Length: {len(body)}".encode(), name.encode() + b": " + raw]
            answer = server.raw(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            assert answer[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 403 "), (name, text, answer[:80])
        assert server.get(f"/v1/progress/{quote(text, safe='')}")[0] == 404
    assert server.post("/v1/restore", {"image": ("../../etc/passwd", photo())})[0] == 200
    server.wait_for("ucdir_jobs", 0)
    own = [str(server.folder), "/proc/", "/sys/fs/cgroup", str(root / "src"), sys.prefix, sys.base_prefix]
    found = opened(server)[before:]
    assert any(name.startswith(str(server.folder)) for _, name in found)  # the control: uploads are
    assert [one for one in found if not one[1].startswith(tuple(own))] == []
    assert [one for one in found if one[1].startswith("/proc/self/") and "environ" in one[1]] == []
    assert not list(Path("/tmp").glob("CANARY*"))  # noqa: S108
    assert server.uploads == []
    assert server.stderr == ""


def test_the_suffix_of_a_raw_file_is_known_from_the_name(server, test_data):
    """It is one of a list; what stands before it never becomes part of a path."""
    tiff = next((test_data / "raw").glob("*.tif*"), None) or b"II*\0" + bytes(300)
    data = tiff if isinstance(tiff, bytes) else tiff.read_bytes()
    answers = [server.post("/v1/inspect", {"image": (name, data)})[2] for name in ("x.tif", "/../x.DNG")]
    assert answers[0] != answers[1]
    assert b"RAW" in answers[1]


# ----------------------------------------------------------------------------------------------- who may ask


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("127.0.0.1:8080", 200), ("[::1]:8080", 200), ("LOCALHOST:80", 200), ("localhost.", 200),
        ("photos.example.org", 200), ("evil.example", 403), ("127.0.0.1.nip.io", 403), ("localhost.evil.example", 403),
        ("localhost:evil.example", 403), ("evil.example:8080", 403), ("", 403),
    ],
)  # fmt: skip
def test_other_names_are_refused(server, host, status):
    for path in ("/", "/v1/models", "/healthz"):
        assert server.get(path, Host=host)[0] == status


def test_a_request_without_a_host_is_refused(server):
    assert server.raw(b"GET /v1/models HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 ")


def test_pages_of_other_sites_are_refused(server):
    own = f"http://localhost:{server.port}"
    for headers, status in [
        ({}, 200),
        ({"Origin": own}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
    ]:
        for answer in (
            server.get("/v1/models", Host=f"localhost:{server.port}", **headers),
            server.post("/v1/inspect", {"image": photo()}, Host=f"localhost:{server.port}", **headers),
        ):
            assert answer[0] == status, headers
            assert not [name for name in answer[1] if name.startswith("access-control-")]
    link = server.get("/", Sec_Fetch_Site="cross-site")  # somebody follows a link
    assert link[0] == 200
    asked = server.request(
        "OPTIONS", "/v1/restore", headers={"Origin": own, "Access-Control-Request-Method": "POST"}
    )
    assert asked[0] in (403, 405)
    assert "access-control-allow-origin" not in asked[1]


def test_the_token(guarded):
    right = {"Authorization": f"Bearer {TOKEN}"}
    for headers in (
        {}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": f"Bearer {TOKEN}x"}, {"Cookie": f"token={TOKEN}"},
        {"Authorization": "Bearer \xe9"},
    ):  # fmt: skip
        for path in ("/v1/models", f"/v1/models?token={TOKEN}", "/metrics", "/v1/progress/" + "a" * 20):
            answer = guarded.get(path, **headers)
            assert answer[0] == 401
            assert answer[1]["www-authenticate"].startswith("Bearer")
            assert TOKEN not in detail(answer)
        assert guarded.post("/v1/restore", {"image": photo()}, **headers)[0] == 401
    assert guarded.get("/v1/models", **right)[0] == 200
    assert guarded.get("/metrics", Authorization=f"bearer {TOKEN}")[0] == 200
    assert guarded.post("/v1/restore", {"image": photo()}, **right)[0] == 200
    for path in ("/", "/healthz", "/openapi.json"):
        assert guarded.get(path)[0] == 200
    assert guarded.get("/v1/models", Host="another.name", **right)[0] == 200


# ----------------------------------------------------------------------------------------------- the page


def test_the_page(server):
    for path, kind, lasting in [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/index.html", "text/html; charset=utf-8", "no-cache"),
        ("/assets/a-1234.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/ort.wasm", "application/wasm", "no-cache"),
    ]:
        status, headers, body = server.get(path)
        assert (status, headers["content-type"], headers["cache-control"]) == (200, kind, lasting)
        assert body
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        policy = headers["content-security-policy"]
        assert "script-src 'self' 'wasm-unsafe-eval'" in policy
        assert "worker-src 'self' blob:" in policy
        assert not re.search(r"script-src[^;]*'unsafe-inline'|https?:|\*", policy)
        again = server.get(path, If_None_Match=headers["etag"])
        assert (again[0], again[2]) == (304, b"")
        assert again[1]["etag"] == headers["etag"]
    for path in (
        "/secret.txt",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets",
        "/assets/",
        "/Index.html",
        "//",
    ):
        assert server.get(path)[0] == 404
    assert server.request("PUT", "/index.html", b"mine")[0] == 405
    assert server.request("HEAD", "/")[0] == 200


# ----------------------------------------------------------------------------------------------- slow clients

HEAD = b"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nHost: local", b"HTTP/1.1 408 "),
        (HEAD + b"Content-Length: 5000\r\n\r\n", b"HTTP/1.1 408 "),
        (HEAD + b"Content-Length: 5000\r\n\r\n--b\r\nContent-Dis", b"HTTP/1.1 408 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n--b", b"HTTP/1.1 408 "),
        (HEAD + b"Content-Length: 999999999999\r\n\r\n", b"HTTP/1.1 413 "),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET ", b"HTTP/1.1 200 "),
    ],
)
def test_who_sends_nothing_more_is_answered_and_let_go(impatient, sent, answer):
    assert impatient.raw(sent, timeout=20).startswith(answer)
    assert impatient.uploads == []


def test_who_sends_a_byte_at_a_time_is_let_go(impatient):
    """Each byte comes in time; all of them do not."""
    with impatient.connect(20) as sock:
        sock.sendall(HEAD + b"Content-Length: 5000\r\n\r\n")
        answered = False
        for _ in range(200):
            try:
                sock.sendall(b"\n")
                sock.settimeout(0.1)
                answered = sock.recv(100).startswith(b"HTTP/1.1 408 ")
                break
            except TimeoutError:
                continue
        assert answered


def test_who_reads_nothing_of_an_answer_is_let_go(impatient):
    with impatient.connect(20) as sock:
        sock.sendall(b"GET /large.onnx HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(2)
        assert 0 < len(read_all(sock)) < 20_000_000
    assert len(impatient.get("/large.onnx")[2]) == 20_000_000  # the control


def test_too_many_connections_are_refused(impatient):
    sockets = [impatient.connect(20) for _ in range(9)]
    try:
        answers = [read_all(sock) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()
    assert {answer[:13] for answer in answers} == {b"HTTP/1.1 408 ", b"HTTP/1.1 429 "}
    assert impatient.get("/healthz")[0] == 200
