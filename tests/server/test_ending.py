"""Ending a server: by signals, in the middle of work; and what does not start."""

import signal
import socket
import time

import pytest
from http_server import detail, form, photo, read_all

from ucdir import cli
from ucdir.server.settings import read_token

# under nohup servers ignore SIGHUP, as they should
IGNORED = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
HANGUP = signal.SIGTERM if IGNORED else signal.SIGHUP
LONG = {"image": photo(), "steps": 700}


def send(server, fields, length=None):
    """A connection that has sent a request, or the first bytes of one, and not waited for its answer."""
    body, kind = form(fields)
    sock = server.connect()
    head = (
        f"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    )
    sock.sendall(head.encode() + b"\r\n\r\n" + body[:length])
    return sock


def working(server):
    """Wait until a photo is being worked on."""
    until = time.monotonic() + 30
    while not [path for path in server.uploads if list(path.iterdir())]:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_sigterm_finishes_the_current_photo_and_answers_the_others_503(start):
    server = start()
    sockets = [send(server, {"image": photo(), "steps": 500})]
    working(server)
    sockets += [send(server, LONG), send(server, LONG, length=200)]
    server.wait_for("ucdir_jobs", 3)
    server.process.send_signal(signal.SIGTERM)
    answers = [read_all(sock) for sock in sockets]
    for sock in sockets:
        sock.close()
    assert [answer[:13] for answer in answers] == [b"HTTP/1.1 200 ", b"HTTP/1.1 503 ", b"HTTP/1.1 503 "]
    assert b"\r\nretry-after: " in answers[1].lower()
    assert server.process.wait(30) == 128 + signal.SIGTERM
    assert list(server.folder.glob("ucdir-serve-*/.*")) == []
    assert server.stderr == ""


def test_a_second_signal_ends_the_current_photo_too(start):
    server = start()
    with send(server, LONG) as sock:
        working(server)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert server.process.poll() is None  # it finishes the photo
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 128 + signal.SIGINT
        assert not read_all(sock).startswith(b"HTTP/1.1 200 ")
    assert list(server.folder.glob("ucdir-serve-*/.*")) == []
    assert "Traceback" not in server.stderr


def test_what_a_killed_server_left_is_removed_by_the_next_and_nothing_else(start):
    killed = start()
    with send(killed, LONG):
        working(killed)
        killed.stop(signal.SIGKILL)
    (left,) = killed.folder.glob("ucdir-serve-*/.*")
    assert list(left.glob("*/photo*"))  # the control: something was left
    living = start(folder=killed.folder, constants={"ucdir.server.uploads.STALL_SECONDS": 600.0})
    assert not left.exists()
    with send(living, LONG, length=200):  # whose rest never comes
        working(living)
        other = start(folder=killed.folder)
        assert len(list(killed.folder.glob("ucdir-serve-*/.*"))) == 2
        assert living.uploads
        assert other.stop(HANGUP) == 128 + HANGUP
        assert living.uploads  # it is another's


def test_a_server_whose_folder_is_gone_says_so(start):
    server = start()
    (own,) = server.folder.glob("ucdir-serve-*/.*")
    own.rmdir()
    answer = server.post("/v1/restore", {"image": photo()})
    assert answer[0] == 500
    assert detail(answer) == "the server cannot keep the photo (No such file or directory)."
    assert server.get("/healthz")[0] == 200
    assert server.stderr == "restore: the server cannot keep the photo (No such file or directory).\n"


def run(capfd, monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["ucdir", "serve", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capfd.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    return err


def test_what_does_not_start_says_why(tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("UCDIR_TOKEN", raising=False)
    (tmp_path / "short").write_text("short\n")
    (tmp_path / "odd").write_text("é" * 20)
    for host in ("0.0.0.0", "::", "192.168.1.1", "example.org"):  # noqa: S104
        assert "requests need a token" in run(capfd, monkeypatch, "--host", host)
    for name, words in [("none", "cannot be read"), ("short", "16 or more letters"), ("odd", "no token")]:
        assert words in run(capfd, monkeypatch, "--token", tmp_path / name)
    assert "is more than the 1,073,741,824 bytes" in run(capfd, monkeypatch, "--max-upload", "2GB")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "cannot be used (Address already in use)" in run(capfd, monkeypatch, "--port", port)
    temporary = ("--port", 0, "--temporary", tmp_path)
    assert "no index.html" in run(capfd, monkeypatch, *temporary, "--page", tmp_path, "--engine", "onnx")
    assert "there is no such folder" in run(capfd, monkeypatch, *temporary, "--model", tmp_path / "none")
    (own,) = tmp_path.glob("ucdir-serve-*")
    assert list(own.iterdir()) == []
    own.chmod(0o755)
    assert "others can read this folder" in run(capfd, monkeypatch, *temporary)
    own.rmdir()
    own.symlink_to(tmp_path)
    assert "others can read this folder" in run(capfd, monkeypatch, *temporary)
    assert "cannot hold uploads" in run(capfd, monkeypatch, "--port", 0, "--temporary", tmp_path / "none")


def test_the_token_of_a_file_comes_before_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("UCDIR_TOKEN", "of-the-environment-123")
    (tmp_path / "token").write_text("of-the-file-1234567890\n")
    assert read_token(tmp_path / "token") == "of-the-file-1234567890"
    assert read_token(None) == "of-the-environment-123"


def test_without_the_extra_one_is_told_how_to_install_it(capfd, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    assert "pip install 'ucdir[serve]'" in run(capfd, monkeypatch)
