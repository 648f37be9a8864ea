"""The addresses of `ucdir serve`, asked as programs ask them."""

import dataclasses
import io
import json
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from http_server import detail, form, photo, pixels, read_all
from PIL import Image

import ucdir
from ucdir.images import read
from ucdir.images.png import png_chunk
from ucdir.inspection import Inspection

LONG = {"image": photo(), "steps": 700}
"""A restoration that takes seconds."""


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def jpeg_with_metadata():
    image = Image.fromarray(pixels())
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    file = io.BytesIO()
    image.save(file, "JPEG", quality=20, exif=exif, comment=b"a comment")
    return file.getvalue()


# ---------------------------------------------------------------------------------------------------------- restore


def test_a_photo_is_restored_as_the_workflow_restores_it(server, model_folder, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photo())
    model = ucdir.load(model_folder, device="cpu")
    ucdir.restore(tmp_path / "photo.jpg", tmp_path / "a.png", seed=3, fidelity=0.25, pipeline=model)
    status, headers, body = server.post(
        "/v1/restore", {"image": photo(), "seed": 3, "fidelity": 0.25}, Accept="image/png"
    )
    assert (status, headers["content-type"]) == (200, "image/png")
    (tmp_path / "b.png").write_bytes(body)
    assert np.abs(read(tmp_path / "a.png").pixels.astype(int) - read(tmp_path / "b.png").pixels).max() <= 1
    said = json.loads(headers["x-ucdir-result"])
    assert said["task"] == "jpeg_restoration"
    assert said["scalars"] == {"jpeg_quality": 20.0}
    assert (said["width"], said["height"], said["steps"]) == (64, 64, 3)


def test_a_photo_that_nothing_is_wrong_with_comes_back_as_it_is(server):
    status, headers, body = server.post("/v1/restore", {"image": png(pixels(40))}, Accept="image/png")
    assert (status, headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(body)) as image:
        assert np.array_equal(np.asarray(image), pixels(40))
    said = json.loads(headers["x-ucdir-result"])
    assert (said["task"], said["scalars"], said["steps"]) == (None, {}, 0)
    assert "the image: nothing is wrong with it" in said["notes"][-1]
    assert "choose a task in the field task (jpeg_restoration" in said["notes"][-1]


def test_a_jpeg_file_that_nothing_is_wrong_with_is_not_compressed_again(server):
    file = io.BytesIO()
    Image.fromarray(pixels(40)).save(file, "JPEG", quality=97, subsampling=0)
    status, headers, body = server.post("/v1/restore", {"image": file.getvalue()})
    assert (status, json.loads(headers["x-ucdir-result"])["task"]) == (200, None)
    assert body == file.getvalue()


def test_an_image_of_more_pixels_than_models_tells_is_refused(server):
    side = 12_700
    rows = zlib.compress(bytes((side // 8 + 2) * side), 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"tEXt", b"Comment\0" + bytes(200_000)), (b"IDAT", rows), (b"IEND", b"")
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
    answer = server.post("/v1/restore", {"image": data, "task": "jpeg_restoration"})
    assert answer[0] == 422
    assert "is 12700 x 12700 pixels, more than ucdir opens (160,000,000 in all" in detail(answer)
    assert "--max-pixels" not in detail(answer)


def test_other_seeds_give_other_detail(server):
    first, again, other = (
        server.post("/v1/restore", {"image": photo(), "seed": seed})[2] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_metadata_are_kept_and_the_format_is_the_same(server):
    status, headers, body = server.post("/v1/restore", {"image": jpeg_with_metadata()})
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(body)) as image:
        assert image.getexif()[0x010F] == "Maker"
        assert image.info["comment"] == b"a comment"


def test_accept_chooses_the_format(server):
    for accept, kind in [
        ("image/png", "PNG"),
        ("text/html, image/webp;q=0.9, */*;q=0.1", "WEBP"),
        ("image/tiff", "TIFF"),
        ("image/avif,image/webp,*/*;q=0.8", "AVIF"),
        ("*/*", "JPEG"),
    ]:
        status, headers, body = server.post("/v1/restore", {"image": photo()}, Accept=accept)
        with Image.open(io.BytesIO(body)) as image:
            assert (status, image.format) == (200, kind)
            assert headers["content-type"] == Image.MIME[kind]
        assert headers["content-disposition"].startswith('attachment; filename="restored.')
    answer = server.post("/v1/restore", {"image": photo()}, Accept="text/html, image/gif")
    assert answer[0] == 406
    assert "image/png" in detail(answer)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"image": b"%PDF-1.7 and so on"}, 415, "the image is a PDF document"),
        ({"image": b"<html>"}, 415, "the image is a web page"),
        ({"image": b""}, 422, "the image is empty"),
        ({"image": photo()[:600]}, 422, "the image is"),
        ({"seed": 1}, 422, "no field image"),
        ({"image": photo(), "task": "colouring"}, 422, "field task: 'colouring' is none of auto, jpeg_restoration"),
        ({"image": photo(), "task": "deblurring", "model": "random"}, 422, "the model was made for jpeg_restoration"),
        ({"image": photo(), "model": "./random"}, 422, "field model"),
        ({"image": photo(), "seed": "-1"}, 422, "field seed: '-1' is not a whole number from 0"),
        ({"image": photo(), "seed": "1_0"}, 422, "field seed"),
        ({"image": photo(), "seed": 2**63}, 422, "field seed"),
        ({"image": photo(), "fidelity": "nan"}, 422, "field fidelity: 'nan' is not a number from 0 to 1"),
        ({"image": photo(), "fidelity": "1e400"}, 422, "field fidelity"),
        ({"image": photo(), "steps": "0"}, 422, "field steps"),
        ({"image": photo(), "samples": "65"}, 422, "field samples"),
        ({"image": photo(), "consistent": "yes"}, 422, "field consistent: 'yes' is neither true nor false"),
        ({"image": photo(), "brighten": "0.5"}, 422, "nor auto, nor file"),
        ({"image": photo(), "exposure_ratio": "0.5"}, 422, "field exposure_ratio: '0.5' is not a number from 1"),
        ({"image": photo(), "jpeg_quality": "101"}, 422, "field jpeg_quality: '101' is not a number from 1 to 100"),
        ({"image": photo(), "blur_length": "5"}, 422, "knows nothing of blur_length"),
        ({"image": photo(), "patch_size": "64"}, 422, "field 'patch_size' is unknown"),
        ({"image": photo(), "task": "x" * 201}, 422, "longer than 200 bytes"),
        ({"image": photo(), **{f"field{n}": "" for n in range(40)}}, 422, "more than 40 parts"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_sentence(server, fields, status, words):
    if "blur_length" in fields:
        fields = {**fields, "model": "random"}
    answer = server.post("/v1/restore", fields)
    assert answer[0] == status, answer
    assert words in detail(answer)
    assert str(server.folder) not in answer[2].decode()


def test_what_a_format_cannot_hold_is_refused(server):
    transparent = np.dstack([pixels(), np.full((64, 64), 100, np.uint8)])
    fields = {"image": png(transparent), "task": "jpeg_restoration"}
    answer = server.post("/v1/restore", fields, Accept="image/jpeg")
    assert answer[0] == 422
    assert "the result cannot hold the photograph's transparency as JPEG" in detail(answer)
    assert server.post("/v1/restore", fields, Accept="image/png")[0] == 200
    for accept, kind in [
        ("image/jpeg, image/bmp;q=0.9, image/webp;q=0.5, image/png;q=0.1", "image/webp"),
        ("image/x-adobe-dng, image/*;q=0.1", "image/png"),
    ]:
        status, headers, body = server.post("/v1/restore", fields, Accept=accept)
        assert (status, headers["content-type"]) == (200, kind), accept
        with Image.open(io.BytesIO(body)) as image:
            assert image.mode == "RGBA"
            assert image.get_format_mimetype() == kind


def test_malformed_forms(server):
    body, kind = form({"image": photo()})
    for sent, header, status in [
        (body, "image/jpeg", 415),
        (body, "multipart/form-data", 415),
        (body, f"multipart/form-data; boundary={'b' * 300}", 400),
        (body, "multipart/form-data; boundary=other", 400),
        (body[:-8], kind, 400),
        (b"", kind, 400),
        (body.replace(b'; name="image"', b""), kind, 400),
        (body.replace(b"image", b"\xff\xfe"), kind, 422),
        (body.replace(b"--b0undary--", b"") + body, kind, 422),
        (body.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", 1), kind, 400),
    ]:
        answer = server.request("POST", "/v1/restore", sent, {"Content-Type": header})
        assert answer[0] == status, (header, sent[:80], answer)
        assert detail(answer)


def test_nothing_is_left_of_good_and_bad_requests(server):
    server.wait_for("ucdir_jobs", 0)
    assert server.uploads == []
    (own,) = server.folder.glob("ucdir-serve-*/.ucdir-*.tmp")
    assert {path.stat().st_mode & 0o777 for path in (own, own.parent)} == {0o700}
    assert server.stderr == ""


# ------------------------------------------------------------------------------------------------ what is known


def test_inspect(server):
    status, _, body = server.post("/v1/inspect", {"image": jpeg_with_metadata()})
    assert status == 200
    said = json.loads(body)
    inspection = said.pop("inspection")
    assert said == {
        "format": "JPEG", "width": 64, "height": 64, "channels": 3, "bits": 8, "alpha": False,
        "jpeg_quality": {"tables": 20, "pixels": None}, "metadata": ["EXIF", "texts"],
        "plan": {
            "task": "jpeg_restoration", "model": "random", "reason": "a JPEG file of quality 20",
            "scalars": {"jpeg_quality": 20.0},
        },
        "notes": [],
    }  # fmt: skip
    assert (inspection["verdict"], inspection["task"]) == ("jpeg", "jpeg_restoration")
    assert (inspection["jpeg"]["quality"], inspection["jpeg"]["tables"]) == (20, 20)
    assert set(inspection) == {field.name for field in dataclasses.fields(Inspection)}
    plan = json.loads(server.post("/v1/inspect", {"image": png(pixels(40))})[2])["plan"]
    assert plan["task"] is None
    assert "the image: nothing is wrong with it" in plan["reason"]
    fields = {"image": png(pixels()), "model": "low_light", "noise_strength": 8}
    plan = json.loads(server.post("/v1/inspect", fields)[2])["plan"]
    assert (plan["task"], plan["model"], plan["scalars"]) == (
        "low_light",
        "low_light",
        {"noise_strength": 8.0},
    )
    fields = {"image": png(pixels()), "task": "low_light", "exposure_ratio": 100}
    assert json.loads(server.post("/v1/inspect", fields)[2])["plan"]["model"] == "low_light"
    assert server.post("/v1/inspect", {"image": photo()[:600]})[0] == 422


def test_models(server):
    said = json.loads(server.get("/v1/models")[2])
    assert [(m["name"], m["default"]) for m in said["models"] if m["task"] == "jpeg_restoration"] == [
        ("random", True), ("jpeg_restoration", False), ("jpeg_restoration_eq1", False),
        ("jpeg_restoration_small", False),
    ]  # fmt: skip
    assert said["scalars"]["jpeg_quality"]["maximum"] == 100
    assert said["formats"][0] == "image/png"


def test_health_and_metrics(server):
    assert server.get("/healthz")[2] == b'{"status":"ok"}'
    before = server.metric('ucdir_requests_total{path="/v1/models",method="GET",status="200"}')
    server.get("/v1/models")
    for made_up in ("/a", "/b"):
        assert server.get(made_up)[0] == 404
    status, headers, body = server.get("/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = body.decode().splitlines()
    assert f'ucdir_requests_total{{path="/v1/models",method="GET",status="200"}} {before + 1:g}' in lines
    assert not [line for line in lines if '"/a"' in line]
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    values = {line.partition("{")[0].split()[0] for line in lines if not line.startswith("#")}
    assert {
        name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in values
    } <= named


def test_methods_and_addresses(server):
    for method, path, status in [
        ("GET", "/v1/restore", 405), ("DELETE", "/v1/models", 405), ("POST", "/", 405), ("OPTIONS", "/v1/restore", 405),
        ("GET", "/v1/other", 404), ("GET", "/v1/progress/short", 404), ("FOO", "/healthz", 405),
    ]:  # fmt: skip
        answer = server.request(method, path)
        assert answer[0] == status, (method, path)
        assert detail(answer)
        if status == 405:
            assert answer[1]["allow"]
    status, _, body = server.request("HEAD", "/healthz")
    assert (status, body) == (200, b"")


def test_every_answer_has_the_headers_of_safety(server):
    for answer in (
        server.get("/"),
        server.get("/v1/models"),
        server.get("/none"),
        server.post("/v1/restore", {}),
    ):
        headers = answer[1]
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert not {"set-cookie", "access-control-allow-origin", "server"} & headers.keys()


def test_without_a_page_one_is_told_how_to_build_it(server):
    status, headers, body = server.get("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"/openapi.json" in body
    assert b"npm run build" in body


# ------------------------------------------------------------------------------------------- progress, cancelling


def events(server, name, seen):
    status, _, body = server.get(f"/v1/progress/{name}")
    assert status == 200, body
    for block in body.decode().split("\n\n"):
        if block.startswith("event: "):
            kind, data = block.splitlines()
            seen.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))


def test_progress_is_told(server):
    name, seen = "progress-" + "a" * 20, []
    listener = threading.Thread(target=events, args=(server, name, seen))
    listener.start()  # before the request is there
    status, headers, _ = server.post("/v1/restore", {"image": photo(), "steps": 300}, X_Request_ID=name)
    listener.join(30)
    assert (status, headers["x-request-id"]) == (200, name)
    working = [data for kind, data in seen if data["state"] == "working" and "step" in data]
    assert [data["step"] for data in working] == sorted(data["step"] for data in working)
    assert working[-1]["steps"] == 300
    assert 0 < working[0]["fraction"] < 1
    kind, data = seen[-1]
    assert (kind, data["task"], data["notes"]) == ("done", "jpeg_restoration", [])
    late = []
    events(server, name, late)
    assert [kind for kind, _ in late] == ["done"]
    assert server.post("/v1/restore", {"image": photo()}, X_Request_ID=name)[0] == 409
    assert server.post("/v1/restore", {"image": photo()}, X_Request_ID="short")[0] == 400


def test_progress_of_a_refused_request(server):
    name, seen = "refused-" + "b" * 20, []
    server.post("/v1/restore", {"image": photo(), "jpeg_quality": "900"}, X_Request_ID=name)
    events(server, name, seen)
    assert [(kind, data["status"]) for kind, data in seen] == [("failed", 422)]


def send(server, fields, path="/v1/restore"):
    """A connection that has sent a request and not waited for its answer."""
    body, kind = form(fields)
    sock = server.connect()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body)
    return sock


def test_work_ends_when_the_client_leaves(server):
    cancelled = 'ucdir_jobs_total{work="restore",outcome="cancelled"}'
    before = server.metric(cancelled)
    with send(server, LONG):
        server.wait_for("ucdir_jobs", 1)
        time.sleep(0.3)  # so that it is worked on
    server.wait_for(cancelled, before + 1, seconds=5)
    server.wait_for("ucdir_jobs", 0, seconds=5)
    assert server.uploads == []
    assert server.post("/v1/restore", {"image": photo()})[0] == 200


def test_who_leaves_while_waiting_is_forgotten(server):
    with send(server, LONG):
        with send(server, LONG):
            server.wait_for("ucdir_jobs", 2)
        server.wait_for("ucdir_jobs", 1, seconds=5)
    server.wait_for("ucdir_jobs", 0, seconds=5)


def test_who_leaves_while_sending_is_forgotten(server):
    with server.connect() as sock:
        sock.sendall(b"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n")
        sock.sendall(b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n")
        server.wait_for("ucdir_jobs", 1)
    server.wait_for("ucdir_jobs", 0, seconds=5)
    assert server.uploads == []


# ------------------------------------------------------------------------------------------------------- limits


@pytest.fixture(scope="module")
def small_server(start):
    return start("--queue", 1, "--max-upload", "300kB", "--time-limit", 1)


def test_a_full_queue_is_429(small_server):
    with send(small_server, LONG), send(small_server, LONG):
        small_server.wait_for("ucdir_jobs", 2)
        answer = small_server.post("/v1/restore", {"image": photo()})
        assert answer[0] == 429
        assert int(answer[1]["retry-after"]) > 0
        assert "1 requests are waiting" in detail(answer)
    small_server.wait_for("ucdir_jobs", 0, seconds=5)


def test_what_takes_too_long_is_ended(small_server):
    answer = small_server.post("/v1/restore", {**LONG, "samples": 64})
    assert answer[0] == 422
    assert "longer than 1 s" in detail(answer)


def test_a_long_body_is_refused_by_its_length_alone(small_server):
    head = b"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n"
    with small_server.connect() as sock:
        sock.sendall(head + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n")
        answer = sock.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 413 ")
    with small_server.connect() as sock:  # who asks first is not told to go on
        sock.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 413 ")


def test_a_long_body_of_unknown_length_is_refused_on_the_way(small_server):
    received = small_server.metric("ucdir_received_bytes_total")
    body, kind = form({"image": photo() + bytes(3_000_000)})
    with small_server.connect() as sock:
        head = f"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        sock.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 50_000):
            piece = body[at : at + 50_000]
            sock.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        sock.sendall(b"0\r\n\r\n")
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 413 ")
    assert small_server.metric("ucdir_received_bytes_total") - received < 500_000


def test_a_client_that_sends_a_long_body_reads_why_it_is_refused(small_server):
    answer = small_server.post("/v1/restore", {"image": bytes(20_000_000)})
    assert answer[0] == 413
    assert "bytes that this server takes" in detail(answer)


def test_a_file_that_is_no_photo_is_refused_by_its_first_bytes(small_server):
    body, kind = form({"image": b"%PDF" + bytes(1000)})
    head = f"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 200000\r\n\r\n"
    with small_server.connect() as sock:
        sock.sendall(head.encode() + body[:-20])
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 415 ")


def test_bytes_that_are_no_http(small_server):
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n\r\n", b"A" * 200_000):
        assert small_server.raw(data + b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    smuggled = (
        b"POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
    )
    assert small_server.raw(smuggled).startswith(b"HTTP/1.1 400 ")
    assert small_server.get("/healthz")[0] == 200
    assert "Traceback" not in small_server.stderr


def test_a_client_that_reads_only_half_does_not_stop_the_others(small_server):
    with send(small_server, {"image": photo()}) as sock:
        assert sock.recv(10)
        assert small_server.post("/v1/restore", {"image": photo()})[0] == 200
        assert read_all  # the rest is never read
