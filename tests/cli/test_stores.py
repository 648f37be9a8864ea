"""Photos from and results to object stores, here fsspec's in memory; `scripts/cluster.py` does the same with S3."""

import errno
import importlib.util
import io
import json
import os
import tempfile
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from ucdir.degradations import JpegCompression
from ucdir.workflows import stores

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("upath", reason="universal-pathlib is not installed")


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


@pytest.fixture
def put(memory, pixels):
    """A function: names -> small JPEG files of these names in the store, each with other pixels."""

    def make(*names):
        for number, name in enumerate(names):
            memory.pipe(f"/{name}", JpegCompression(20).encode(np.roll(pixels, number, axis=0)))

    return make


@pytest.fixture
def google(monkeypatch):
    """What stands for Google's store, under its names, without its client."""
    from fsspec.implementations.memory import MemoryFileSystem
    from fsspec.registry import _registry

    class Google(MemoryFileSystem):
        protocol = ("gs", "gcs")
        store: ClassVar[dict[str, object]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]
        cachable = False
        root_marker = ""

        @classmethod
        def _strip_protocol(cls, path):
            return str(path).removeprefix("gs://").strip("/")  # names begin with the bucket's

    monkeypatch.setitem(_registry, "gs", Google)
    return Google()


def objects(memory, folder):
    return sorted(path for path in memory.find(folder) if "/.ucdir/" not in path)


def test_names_of_googles_store_lead_to_its_client(ucdir, google, pixels):
    google.pipe("bucket/in/a.jpg", JpegCompression(20).encode(pixels))
    status, out, err = ucdir("restore", "gs://bucket/in", "-o", "gs://bucket/out")
    assert status == 0, err
    assert "gs://bucket/out/a.restored.png" in out
    assert [path for path in google.find("bucket/out") if "/.ucdir/" not in path] == [
        "bucket/out/a.restored.png"
    ]
    assert Image.open(io.BytesIO(google.cat("bucket/out/a.restored.png"))).size == pixels.shape[1::-1]
    assert "finished already" in ucdir("restore", "gs://bucket/in", "-o", "gs://bucket/out")[1]


def test_without_googles_client_its_extra_is_named(ucdir):
    if importlib.util.find_spec("gcsfs"):
        pytest.skip("gcsfs is installed")
    status, _, err = ucdir("restore", "gs://bucket/in", "-o", "gs://bucket/out")
    assert status == 2
    assert "pip install 'ucdir[gs]'" in err


def test_a_folder_of_a_store_is_mirrored_and_finished_results_are_skipped(
    ucdir, memory, put, tmp_path, model_folder
):
    put(
        "in/a.jpg",
        "in/sub/b #1?.JPG",
        "in/sub/c.restored.jpg",
        "in/.trash/d.jpg",
        "in/._e.jpg",
        "in/notes.txt",
    )
    status, out, err = ucdir("restore", "memory://in", "-o", "memory://out", "--json")
    assert (status, err.count("left out")) == (0, 1), err
    assert objects(memory, "/out") == ["/out/a.restored.png", "/out/sub/b #1?.restored.png"]
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["output"] for line in lines] == [
        "memory://out/a.restored.png", "memory://out/sub/b #1?.restored.png",
    ]  # fmt: skip
    assert "ucdir-" not in out, "no temporary file is named"

    memory.get("/in/a.jpg", str(tmp_path / "a.jpg"))
    assert ucdir("restore", tmp_path / "a.jpg")[0] == 0
    assert memory.cat("/out/a.restored.png") == (tmp_path / "a.restored.png").read_bytes()

    before = {path: memory.info(path)["created"] for path in memory.find("/out")}
    status, out, _ = ucdir("restore", "memory://in", "-o", "memory://out")
    assert (status, out.count("finished already")) == (0, 2)
    assert {path: memory.info(path)["created"] for path in memory.find("/out")} == before
    put("in/a.jpg", "in/a.jpg")  # the second is another photo
    status, _, err = ucdir("restore", "memory://in", "-o", "memory://out")
    assert status == 1
    assert "memory://out/a.restored.png is the result of another photo, or of this one before" in err
    assert ucdir("restore", "memory://in", "-o", "memory://out", "--overwrite", "--resume")[0] == 0


def test_between_a_store_and_files(ucdir, memory, put, tmp_path):
    put("in/a.jpg", "in/b.jpg")
    assert ucdir("restore", "memory://in/a.jpg", "-o", tmp_path / "a.png")[0] == 0
    assert ucdir("restore", "memory://in/*.jpg", "-o", tmp_path / "out", "--jobs", 2)[0] == 0
    assert sorted(file.name for file in (tmp_path / "out").glob("*.png")) == [
        "a.restored.png",
        "b.restored.png",
    ]
    (tmp_path / "c.jpg").write_bytes(memory.cat("/in/b.jpg"))
    status, out, _ = ucdir("restore", tmp_path / "c.jpg", "-o", "memory://one/c.webp")
    assert status == 0
    assert out.endswith("-> memory://one/c.webp\n")
    assert Image.open(io.BytesIO(memory.cat("/one/c.webp"))).format == "WEBP"
    status, out, _ = ucdir("restore", "memory://in", "-o", "memory://planned", "--dry-run")
    assert (status, out.count("would be restored")) == (0, 2)
    assert memory.find("/planned") == []
    assert ucdir("restore", "memory://in/a.jpg")[0] == 0
    assert memory.exists("/in/a.restored.png"), "without -o beside the photo"
    url = f"file://{tmp_path}/c.jpg"
    assert ucdir("restore", url)[0] == 0
    assert (tmp_path / "c.restored.png").exists()


def test_a_folder_of_tiles_is_refused_of_which_a_store_would_get_one_file(ucdir, memory, put):
    put("in/a.jpg")
    status, out, err = ucdir("restore", "memory://in/a.jpg", "-o", "memory://out/a.dzi")
    assert (status, out) == (2, "")
    assert err == (
        "ucdir: memory://out/a.dzi: a DeepZoom folder is written to disks only; name a file there, or choose .tif.\n"
    )
    assert memory.find("/out") == []


def test_what_was_put_before_a_kill_counts(ucdir, memory, put):
    """A result is put whole after the line that begins it, so it is finished; without that line it is a stranger."""
    put("in/a.jpg")
    assert ucdir("restore", "memory://in", "-o", "memory://out")[0] == 0
    record = "/out/.ucdir/a.restored.png.json"
    entry = json.loads(memory.cat(record))
    del entry["result"]
    memory.pipe(record, json.dumps({**entry, "replaces": None}).encode())
    assert "finished already" in ucdir("restore", "memory://in", "-o", "memory://out")[1]
    memory.rm(record)
    status, _, err = ucdir("restore", "memory://in", "-o", "memory://out")
    assert status == 2
    assert "memory://out/a.restored.png exists already" in err


def test_one_that_fails_stops_no_other_and_leaves_nothing(ucdir, memory, put, monkeypatch):
    put("in/a.jpg", "in/c.jpg")
    memory.pipe("/in/b.jpg", b"junk")
    status, _, err = ucdir("restore", "memory://in", "-o", "memory://out")
    assert status == 1
    assert "ucdir: memory://in/b.jpg is not an image" in err
    assert tempfile.gettempdir() not in err
    assert objects(memory, "/out") == ["/out/a.restored.png", "/out/c.restored.png"]

    def no_room(self, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "get_file", no_room)
        status, _, err = ucdir("restore", "memory://in/a.jpg", "-o", "memory://full/a.png")
        assert status == 2
        assert (
            f"a.jpg: cannot be read (the disk of {tempfile.gettempdir()} is full; make room, or name" in err
        )

    def full(self, *_, **__):
        raise OSError("the bucket is full")

    monkeypatch.setattr(type(memory), "put_file", full)
    status, _, err = ucdir("restore", "memory://in/a.jpg", "-o", "memory://full/a.png")
    assert status == 2
    assert err == "ucdir: memory://full/a.png: cannot be written (the bucket is full; check its name).\n"
    assert objects(memory, "/full") == []


class NoCredentialsError(Exception):
    """As botocore's."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError("Unable to locate credentials"), "no credentials were found; for s3:// set AWS_"),
        (PermissionError("Access Denied"), "access is denied; check the credentials"),
        (FileNotFoundError("The specified bucket does not exist"), "there is no such object or bucket"),
        (
            ConnectionError("Could not connect to the endpoint"),
            "the store cannot be reached: Could not connect",
        ),
    ],
)
def test_a_store_that_cannot_be_written_is_one_sentence(ucdir, memory, put, monkeypatch, error, words):
    put("in/a.jpg", "in/b.jpg")

    def refuse(self, *_, **__):
        raise error

    monkeypatch.setattr(type(memory), "pipe_file", refuse)
    status, out, err = ucdir("restore", "memory://in", "-o", "memory://out")
    assert (status, out) == (2, "")
    assert err.startswith("ucdir: memory://out: cannot be written (")
    assert words in err
    assert len(err.splitlines()) == 1
    assert memory.find("/out") == []


def unreachable(*_, **__):
    raise ConnectionError("Could not connect to the endpoint")


def test_stores_and_names_that_are_not_there(ucdir, memory, put, tmp_path, monkeypatch):
    put("in/a.jpg")
    for name, words in {
        "memory://nowhere": "memory://nowhere: cannot be read (there is no such object or bucket",
        "memory://in/*.tif": "memory://in/*.tif: there is no photo; check the name.",
        "nope://in/a.jpg": "this kind of store is not known",
    }.items():
        status, _, err = ucdir("restore", name, "-o", f"{tmp_path}/out/")
        assert status == 2
        assert words in err
        assert len(err.splitlines()) == 1
    status, _, err = ucdir("restore", "memory://in", "-o", "memory://out", "--keep-times")
    assert (status, err) == (
        2,
        "ucdir: --keep-times: objects in a store have no times to keep; leave it out.\n",
    )
    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "isdir", unreachable)
        status, _, err = ucdir("restore", "memory://in", "-o", "memory://out")
        assert status == 2
        assert "cannot be looked for (the store cannot be reached: Could not connect to the endpoint; " in err
        assert len(err.splitlines()) == 1
    monkeypatch.setattr(stores, "optional_module", lambda *_: fake)

    class fake:  # noqa: N801
        @staticmethod
        def UPath(*_, **__):  # noqa: N802
            raise ImportError("Install s3fs to access S3")

    status, _, err = ucdir("restore", "s3://bucket/a.jpg", "-o", tmp_path / "out")
    assert status == 2
    assert "s3:// needs the package s3fs, which is not installed; run: pip install 'ucdir[s3]'" in err
    monkeypatch.chdir(tmp_path)
    os.makedirs("s3:")  # noqa: PTH103
    assert not stores.is_url("s3:")
