"""What cannot be read is refused in one sentence that says what it is, where, and what to do."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ucdir import limits
from ucdir.errors import ImageError
from ucdir.images import read

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP")


def image_bytes(format: str, size: int = 64) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read(path)
    text = str(caught.value)
    assert text.endswith(".")
    assert text.isprintable()
    assert "Traceback" not in text
    assert "unable to call" not in text
    return text


def refusal_of(folder: Path, data: bytes, name: str = "photo") -> str:
    path = folder / name
    path.write_bytes(data)
    text = refusal(path)
    assert text.startswith(str(path))
    return text


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "is empty"),
        (b"hello", "not an image"),
        (bytes(4096), "not an image"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript document"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "an SVG drawing"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "damaged or incomplete HEIC file"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "a video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "damaged or incomplete RAW file"),
        (b"FUJIFILMCCD-RAW 0201", "damaged or incomplete RAW file"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(40), "damaged or incomplete RAW file"),
        (b"RIFF\0\0\0\0AVI LIST", "a video or sound file"),
        (b"\xff\x0a", "a JPEG XL image"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b\x08", "a gzip archive"),
    ],
)
def test_what_is_no_photograph_is_named(tmp_path, data, named):
    assert named in refusal_of(tmp_path, data, "photo.jpg")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.98])
def test_cut_off_files_are_refused(tmp_path, format, part):
    data = image_bytes(format)
    text = refusal_of(tmp_path, data[: int(len(data) * part)])
    assert "complete copy" in text or "not an image" in text or "empty" in text
    (tmp_path / "photo").write_bytes(data)
    assert read(tmp_path / "photo").pixels.shape == (64, 64, 3)


@pytest.mark.parametrize("format", FORMATS)
def test_any_damage_gives_a_photograph_or_a_refusal(tmp_path, format):
    data = image_bytes(format, 24)
    rng = np.random.default_rng(len(data))
    path = tmp_path / "photo"
    outcomes = set()
    for _ in range(120):
        broken = bytearray(
            data[: rng.integers(len(data) // 2, len(data) + 1)] if rng.random() < 0.3 else data
        )
        for place in (rng.random(rng.integers(1, 9)) ** 2 * len(broken)).astype(int):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(broken)
        try:
            outcomes.add(read(path).pixels.ndim)
        except ImageError as error:
            outcomes.add(str(error).isprintable())
    assert outcomes <= {3, True}
    assert True in outcomes


def test_png_data_with_a_wrong_checksum_is_refused(tmp_path):
    data = bytearray(image_bytes("PNG"))
    data[data.index(b"IDAT") + 40] ^= 1
    assert "is a damaged or incomplete PNG file" in refusal_of(tmp_path, bytes(data))


@pytest.mark.parametrize(("marker", "kind"), [(0xF7, "a JPEG-LS file"), (0xDE, "a hierarchical JPEG file")])
def test_jpeg_files_of_other_codings_are_not_called_damaged(tmp_path, marker, kind):
    data = image_bytes("JPEG")
    said = refusal_of(tmp_path, data.replace(b"\xff\xc0", bytes([0xFF, marker])))
    assert f"is {kind}, which ucdir does not read; convert it to a PNG first." in said
    assert "damaged" in refusal_of(tmp_path, data.replace(b"\xff\xc0", b"\xff\xc2")), "the control"


def test_tiff_samples_of_twelve_bits_are_refused_by_name(tmp_path):
    entries = [(256, 4), (257, 4), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4), (279, 24)]
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    data = b"II*\0" + struct.pack("<I", 32) + bytes(24) + struct.pack("<H", len(entries)) + fields + bytes(4)
    assert "stores samples of 12 bits" in refusal_of(tmp_path, data)


def test_a_camera_container_is_not_taken_for_its_thumbnail(tmp_path):
    data = image_bytes("TIFF")
    assert "RAW file of a camera or kind that LibRaw does not know" in refusal_of(tmp_path, data, "photo.NEF")
    (tmp_path / "photo.tif").write_bytes(data)
    assert read(tmp_path / "photo.tif").format == "TIFF"


def test_places_that_are_no_files(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "nothing.jpg")
    assert "cannot be opened" in refusal(tmp_path / ("x" * 300))
    assert "cannot be opened" in refusal(Path("a\0b"))
    assert "is a device or pipe" in refusal(Path("/dev/zero"))
    os.mkfifo(tmp_path / "pipe")
    assert "is a device or pipe" in refusal(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "cannot be opened" in refusal(tmp_path / "loop")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(tmp_path):
    (tmp_path / "photo.png").write_bytes(image_bytes("PNG"))
    (tmp_path / "photo.png").chmod(0)
    assert "may not be read" in refusal(tmp_path / "photo.png")


@pytest.mark.parametrize("name", ["http://example.com/a.png", "https://example.com/a.png", "fd:0", "-"])
def test_addresses_are_file_names(name):
    assert "does not exist" in refusal(Path(name))


def test_odd_names_stay_on_one_line(tmp_path):
    for name in ("a\nb\x1b[31m.jpg", os.fsdecode(b"\xff\xfe.jpg")):
        (tmp_path / name).write_bytes(b"no image")
        assert "not an image" in refusal(tmp_path / name)


def test_files_beyond_the_limit_are_not_opened(tmp_path):
    with (tmp_path / "photo.tif").open("wb") as file:
        file.truncate(limits.MAX_FILE_BYTES + 1)
    assert f"{limits.MAX_FILE_BYTES + 1:,} bytes long" in refusal(tmp_path / "photo.tif")


def bomb_png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [header, b"IDAT" + zlib.compress(bytes(1000)), b"IEND"]
    chunks = (struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_by_their_header(tmp_path, size):
    assert "more than ucdir opens" in refusal_of(tmp_path, bomb_png(*size))


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_minds_the_limit_of_pixels(tmp_path, monkeypatch, format):
    monkeypatch.setattr("ucdir.images.large.MAX_IMAGE_PIXELS", 64 * 64 - 1)
    assert "is 64 x 64 pixels, more than" in refusal_of(tmp_path, image_bytes(format))
    monkeypatch.setattr("ucdir.images.large.MAX_IMAGE_PIXELS", 64 * 64)
    assert read(tmp_path / "photo").pixels.shape == (64, 64, 3)


def test_jpeg_of_endless_scans_is_refused(tmp_path):
    data = image_bytes("JPEG")
    scan = data.index(b"\xff\xda")
    head = data[scan : scan + 14]
    assert f"{limits.MAX_JPEG_SCANS + 1} scans" in refusal_of(
        tmp_path, data[:-2] + head * limits.MAX_JPEG_SCANS
    )


def test_loaders_that_libvips_does_not_trust_are_off(tmp_path):
    import pyvips

    (tmp_path / "photo").write_bytes(image_bytes("PNG"))
    read(tmp_path / "photo")
    with pytest.raises(pyvips.Error, match="blocked"):
        pyvips.Image.svgload_buffer(b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>")


def test_decoders_print_nothing(tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    for format in FORMATS:
        data = image_bytes(format)
        (bad / f"{format}.cut").write_bytes(data[: len(data) // 2])
        (bad / format).write_bytes(data)
    tiff = bytearray(image_bytes("TIFF"))
    place = tiff.index(struct.pack("<HH", 284, 3))
    tiff[place : place + 2] = struct.pack("<H", 65_000)  # an unknown tag, out of order
    (bad / "odd.tif").write_bytes(tiff)
    script = (
        "import logging, pathlib, sys\n"
        "logging.basicConfig(level=logging.DEBUG)\n"
        "from ucdir.errors import ImageError\n"
        "from ucdir.images import read\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try: read(path)\n"
        "    except ImageError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", script, bad], capture_output=True, text=True, check=True)
    assert "VIPS" not in done.stderr
    assert "libtiff" not in done.stderr.lower()
    assert done.stdout == ""


def test_a_forked_process_reads_after_its_parent_did(tmp_path):
    for format in FORMATS:
        (tmp_path / f"photo.{format}").write_bytes(image_bytes(format, 256))
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "progressive", "JPEG", progressive=True)
    script = (
        "import os, pathlib, signal, sys\n"
        "from ucdir.images import read\n"
        "paths = [*pathlib.Path(sys.argv[1]).iterdir()]\n"
        "for path in paths: read(path)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.alarm(20)\n"
        "    for path in paths: read(path)\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitpid(child, 0)[1] != 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, tmp_path], check=False).returncode == 0


def test_importing_loads_no_heavy_library():
    script = "import sys, ucdir.images; print(*{'pyvips', 'PIL', 'torch', 'simplejpeg'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_twelve_megapixels_are_read_in_little_more_than_their_own_size(tmp_path):
    import tifffile

    pixels = np.zeros((3000, 4000, 3), np.uint16)
    tifffile.imwrite(tmp_path / "photo.tif", pixels, photometric="rgb", compression="zlib", rowsperstrip=16)
    script = (
        "import pathlib, resource, sys\n"
        "from ucdir.images import read\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "small, large = map(pathlib.Path, sys.argv[1:])\n"
        "read(small); before = peak()\n"
        "read(large); print(peak() - before)\n"
    )
    (tmp_path / "small.tif").write_bytes(image_bytes("TIFF"))
    command = [sys.executable, "-c", script, tmp_path / "small.tif", tmp_path / "photo.tif"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.6 * pixels.nbytes / 2**20
