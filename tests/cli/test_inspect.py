"""`ucdir inspect`: one photo after the other, in text and JSON; one that cannot be read does not stop the others."""

import json

import pytest
from skimage import data

from ucdir.degradations import JpegCompression
from ucdir.images import Photo, write


@pytest.fixture
def folder(tmp_path):
    pixels = data.coffee()[:300, :400].copy()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(JpegCompression(20).encode(pixels))
    write(Photo(pixels), tmp_path / "in" / "b.png")
    return tmp_path / "in"


def test_text(ucdir, folder):
    status, out, err = ucdir("inspect", folder)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{folder / 'a.jpg'}: a JPEG file of quality 20, ")
    assert lines[0].endswith(" sure -> jpeg restoration, jpeg quality 20")
    assert lines[1].startswith("  JPEG      quality 20 (100%)")
    assert lines[5].startswith(
        f"{folder / 'b.png'}: nothing wrong (no JPEG compression, hardly any blur or noise), "
    )
    assert len(lines) == 10


def test_json_and_failures(ucdir, folder, refused):
    (folder / "c.jpg").write_bytes(b"\xff\xd8\xff and so on")
    status, out, err = ucdir("inspect", folder / "c.jpg", folder / "a.jpg", "absent.png", "--json")
    assert status == 1
    first, second, third = (json.loads(line) for line in out.splitlines())
    assert (second["input"], second["verdict"], second["error"]) == (str(folder / "a.jpg"), "jpeg", None)
    assert second["scalars"] == {"jpeg_quality": 20.0}
    assert "c.jpg is a damaged" in first["error"]
    assert third["error"] == "absent.png does not exist; check the name."
    assert len(err.splitlines()) == 2
    refused(ucdir("inspect", "absent.png"), "absent.png does not exist")
    refused(ucdir("inspect"), "no photo is named")


def test_the_same_is_restored(ucdir, folder):
    _, out, _ = ucdir("restore", folder, "--dry-run", "--json", model=False)
    first, second = (json.loads(line) for line in out.splitlines())
    assert (first["status"], first["task"], first["reason"]) == (
        "planned",
        "jpeg_restoration",
        "a JPEG file of quality 20",
    )
    assert (second["status"], second["task"], second["output"]) == ("unchanged", None, None)
