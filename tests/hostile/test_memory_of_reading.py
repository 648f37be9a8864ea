"""Reading asks for no more memory than a file's bytes justify, and says in one sentence when it gets none."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ucdir.errors import ImageError
from ucdir.images import read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures by Linux's /proc")

# path -> [outcome, address space in MB that reading it added to the highest before]
READ_EACH = """
import json, os, re, resource, sys
from pathlib import Path
from ucdir.errors import ImageError
from ucdir.images import read

def space(kind):
    return int(re.search(kind + r":\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

paths, limits = json.loads(sys.argv[1])
read(paths[0])  # libraries are loaded
for path in paths:
    for limit in limits:
        if child := os.fork():
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert status == 0, (path, limit, status)
            continue
        before = space("VmPeak")
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (space("VmSize") + limit * 10**6,) * 2)
        try:
            outcome = "read " + str(read(path).pixels.shape)
        except ImageError as error:
            outcome = str(error)
        print(json.dumps([path, limit, outcome, (space("VmPeak") - before) / 1e6]), flush=True)
        os._exit(0)
"""


def read_each(paths, limits=(0,)):
    done = subprocess.run(
        [sys.executable, "-c", READ_EACH, json.dumps([[*map(str, paths)], limits])],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def patched_png(content):
    import zlib

    header = b"IHDR" + (12_600).to_bytes(4, "big") * 2 + content[24:29]
    return content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]


def patched_jpeg(content):
    at = re.search(b"\xff[\xc0\xc2]\x00\x11", content).start()
    return content[: at + 5] + (12_600).to_bytes(2, "big") * 2 + content[at + 9 :]


def patched_webp(content):
    sizes = (12_600 - 1) | (12_600 - 1) << 14
    return content[:21] + sizes.to_bytes(4, "little") + content[25:]


def patched_gif(content):
    sizes = (12_600).to_bytes(2, "little") * 2
    at = content.index(b"\x2c\x00\x00\x00\x00")
    return content[:6] + sizes + content[10 : at + 5] + sizes + content[at + 9 :]


def patched_tiff(content):
    for tag in (256, 257):
        entry = tag.to_bytes(2, "little") + b"\x03\x00\x01\x00\x00\x00"
        at = content.index(entry) + 8
        content = content[:at] + (12_600).to_bytes(2, "little") + content[at + 2 :]
    return content


def patched_bmp(content):
    return content[:18] + (12_600).to_bytes(4, "little") * 2 + content[26:]


PATCHED = {
    "a.png": ({}, patched_png),
    "a.jpg": ({}, patched_jpeg),
    "progressive.jpg": ({"progressive": True}, patched_jpeg),
    "a.webp": ({"lossless": True}, patched_webp),
    "a.gif": ({}, patched_gif),
    "a.tif": ({"compression": "tiff_lzw"}, patched_tiff),
    "a.bmp": ({}, patched_bmp),
}


@pytest.fixture
def small(tmp_path):
    """A small picture in every format, and the same file that claims to be of 159 megapixels."""
    folders = {}
    for name, (options, patch) in PATCHED.items():
        content = np.tile(np.arange(64, dtype=np.uint8), (64, 3)).reshape(64, 64, 3)
        for folder in ("sound", "claims"):
            (tmp_path / folder).mkdir(exist_ok=True)
        sound = tmp_path / "sound" / name
        Image.fromarray(content).save(sound, **options)
        (tmp_path / "claims" / name).write_bytes(patch(sound.read_bytes()))
        folders[name] = sound, tmp_path / "claims" / name
    return folders


def test_small_files_get_little_address_space(small):
    results = read_each([sound for sound, _ in small.values()])
    assert len(results) == len(small)
    for path, _, outcome, megabytes in results:
        assert outcome == "read (64, 64, 3)", path
        assert megabytes < 90, path


def test_what_a_header_claims_is_weighed_against_the_file(small):
    results = read_each([small["a.png"][0], *(claims for _, claims in small.values())])[1:]
    assert len(results) == len(small)
    for path, _, outcome, megabytes in results:
        assert "is 12600 x 12600 pixels in a file of" in outcome, path
        assert outcome.endswith("get a complete copy of it, or save it smaller.")
        assert megabytes < 90, path


def test_without_memory_there_is_one_sentence(small):
    for path, limit, outcome, _ in read_each([sound for sound, _ in small.values()], limits=(1, 20, 120)):
        if limit == 120:
            assert outcome.startswith("read"), path
        else:
            assert (
                outcome == f"{path} does not fit into the memory; close other programs, or save it smaller."
            )


def test_a_memory_error_while_decoding_is_that_sentence_too(small, monkeypatch):
    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr("ucdir.images.decode._fetch", no_memory)
    with pytest.raises(ImageError, match=r"a\.png does not fit into the memory; close"):
        read(small["a.png"][0])


def test_control_a_large_picture_of_one_colour_is_read(tmp_path):
    Image.new("L", (6000, 6000)).save(tmp_path / "large.png")  # 1030 pixels a byte
    assert read(tmp_path / "large.png").pixels.shape == (6000, 6000, 1)
