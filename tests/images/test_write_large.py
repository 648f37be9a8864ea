"""Photographs that lie in a file: read from and written to files as `read` and `write` do in memory."""

import errno
import os
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from ucdir.errors import ImageError, OutputError
from ucdir.images import Photo, large, read, readers, write
from ucdir.images import write_large as module
from ucdir.images.density import Density
from ucdir.images.large import FileBytes, at_most, large_images
from ucdir.images.photo import Metadata
from ucdir.images.tiff import tiff_header
from ucdir.images.write_large import check_disk, write_large
from ucdir.memory import mapped_array, mapping
from ucdir.workflows.inspect import inspect

EXIF = b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x06\0\0\0\x1a\0\0\0\0\0\0\0Canon\0"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'


@pytest.fixture(autouse=True)
def _all_is_large(monkeypatch):
    monkeypatch.setattr(large, "STREAMED_PIXELS", 1000)
    monkeypatch.setattr(large, "LARGE_FILE_BYTES", 100)


def photo_of(folder, channels=3, dtype=np.uint8, alpha=False, height=300, width=210):
    """One whose samples lie in a file, with all metadata."""
    samples = mapped_array((height, width, channels + alpha), dtype, folder)
    ramp = np.linspace(0, np.iinfo(dtype).max, width * height).reshape(height, width)
    samples[:] = (ramp[..., None] * np.linspace(0.5, 1, channels + alpha)).astype(dtype)
    kept = Metadata(EXIF, None, XMP, None, Density(300, 300), (("Comment", "a note"),))
    return Photo(
        samples[..., :channels], samples[..., channels] if alpha else None, metadata=kept, format="PNG"
    )


KINDS = [
    (".png", 3, np.uint8, False), (".png", 1, np.uint16, True), (".png", 3, np.uint16, True),
    (".tif", 3, np.uint16, True), (".tif", 1, np.uint8, False),
    (".jpg", 3, np.uint8, False), (".jpg", 1, np.uint16, False), (".webp", 3, np.uint8, True),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "channels", "dtype", "alpha"), KINDS)
def test_what_is_written_is_what_write_writes(tmp_path, suffix, channels, dtype, alpha):
    photo = photo_of(tmp_path, channels, dtype, alpha)
    notes = write_large(photo, tmp_path / f"large{suffix}")
    usual = write(photo, tmp_path / f"usual{suffix}")
    assert [note.partition(": ")[2] for note in notes] == [note.partition(": ")[2] for note in usual]
    one, other = (read(tmp_path / f"{name}{suffix}") for name in ("large", "usual"))
    assert np.array_equal(one.pixels, other.pixels)
    assert one.pixels.dtype == other.pixels.dtype
    assert (one.alpha is None) == (other.alpha is None)
    assert one.alpha is None or np.array_equal(one.alpha, other.alpha)
    assert one.metadata == other.metadata
    assert one.metadata.exif is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"large{suffix}", f"usual{suffix}"]


def test_a_file_that_cannot_be_read_to_its_end_is_told_and_nothing_else_is_printed(
    tmp_path, monkeypatch, capfd
):
    write(photo_of(tmp_path), tmp_path / "photo.jpg")
    pread, reads = os.pread, []

    def failing(*arguments):
        reads.append(arguments)
        if len(reads) > allowed:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(*arguments)

    monkeypatch.setattr(os, "pread", failing)
    with large_images(tmp_path):
        allowed = 1000
        assert read(tmp_path / "photo.jpg").pixels.shape == (300, 210, 3), "control"
        for most in (0, len(reads) - 1):
            allowed = most
            reads.clear()
            with pytest.raises(ImageError, match="cannot be read|damaged or incomplete"):
                read(tmp_path / "photo.jpg")
    assert capfd.readouterr() == ("", "")


def test_a_disk_that_is_full_is_told_where_a_photo_is_only_looked_at(tmp_path, monkeypatch):
    write(photo_of(tmp_path), tmp_path / "photo.jpg")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert inspect(tmp_path / "photo.jpg").jpeg.quality is not None, "control"

    def full(descriptor, start, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="because the disk is full; free some space"):
        inspect(tmp_path / "photo.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_functions_that_libvips_calls_live_as_long_as_it_calls_them(tmp_path):
    """Of 16 bits written as 8 they did not, which ended the program now and then."""
    for level in range(20):
        photo = photo_of(tmp_path, 3, np.uint16)
        photo.pixels[:] = level
        write_large(photo, tmp_path / "large.jpg", force=True)
    assert read(tmp_path / "large.jpg").pixels.max() == 0


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_what_is_read_into_a_file_is_what_is_read_into_memory(tmp_path, suffix, orientation):
    photo = photo_of(tmp_path)
    turned = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + bytes(7)
    upright = Photo(np.ascontiguousarray(photo.pixels), metadata=Metadata(turned))
    write(upright, tmp_path / f"photo{suffix}")
    usual = read(tmp_path / f"photo{suffix}")
    with large_images(tmp_path):
        one = read(tmp_path / f"photo{suffix}")
    assert mapping(one.pixels) is not None
    assert mapping(usual.pixels) is None, "control"
    assert np.array_equal(one.pixels, usual.pixels)
    assert (one.metadata, one.jpeg_quality, one.warnings) == (
        usual.metadata,
        usual.jpeg_quality,
        usual.warnings,
    )
    assert [path.name for path in tmp_path.iterdir()] == [f"photo{suffix}"]


def test_a_damaged_large_file_is_refused(tmp_path):
    write(Photo(np.ascontiguousarray(photo_of(tmp_path).pixels)), tmp_path / "photo.png")
    whole = (tmp_path / "photo.png").read_bytes()
    for name, data in {
        "cut": whole[: len(whole) // 2],
        "changed": whole[:-60] + b"x" * 30 + whole[-30:],
    }.items():
        (tmp_path / f"{name}.png").write_bytes(data)
        with large_images(tmp_path), pytest.raises(ImageError, match="damaged or incomplete PNG"):
            read(tmp_path / f"{name}.png")


def test_limits_are_by_configuration_and_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_PIXELS_OF_ANY_FILE", 1000)
    flat = np.zeros((4000, 1000, 1), np.uint8)
    write(Photo(flat), tmp_path / "bomb.png")
    with large_images(tmp_path), pytest.raises(ImageError, match="or allow it with --max-pixels 4000000"):
        read(tmp_path / "bomb.png")
    with large_images(tmp_path, 4_000_000):
        assert read(tmp_path / "bomb.png").pixels.shape == flat.shape
    with large_images(tmp_path, 3_999_999), pytest.raises(ImageError, match="allow more with --max-pixels"):
        read(tmp_path / "bomb.png")
    monkeypatch.setenv("UCDIR_MAX_FILE_BYTES", "200")
    with large_images(tmp_path), pytest.raises(ImageError, match="more than the 200 that ucdir opens"):
        read(tmp_path / "bomb.png")


def test_a_server_takes_no_more_pixels_and_tells_its_clients_no_options(tmp_path, monkeypatch):
    write(Photo(np.zeros((40, 30, 1), np.uint8)), tmp_path / "photo.png")
    for limit in (None, 5000):
        with at_most(1199), large_images(tmp_path, limit), pytest.raises(ImageError) as error:
            read(tmp_path / "photo.png")
        assert "(1,199 in all" in str(error.value)
        assert "--max-pixels" not in str(error.value)
    with at_most(1200), large_images(tmp_path):
        assert read(tmp_path / "photo.png").pixels.shape == (40, 30, 1), "control"
    monkeypatch.setattr(readers, "MAX_PIXELS_OF_ANY_FILE", 0)
    monkeypatch.setattr(readers, "MAX_PIXELS_PER_BYTE", 0)
    with at_most(1200), large_images(tmp_path), pytest.raises(ImageError) as error:
        read(tmp_path / "photo.png")
    assert "--max-pixels" not in str(error.value)


def test_bytes_of_a_larger_image_are_told_of_the_way_from_file_to_file(tmp_path, monkeypatch):
    write(Photo(np.zeros((40, 30, 1), np.uint8)), tmp_path / "photo.png")
    data = (tmp_path / "photo.png").read_bytes()
    assert read(data).pixels.shape == (40, 30, 1), "control"
    monkeypatch.setattr(large, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(
        ImageError, match="more than ucdir opens .*; restore it from file to file with `ucdir restore`"
    ):
        read(data)
    with large_images(tmp_path):
        assert read(tmp_path / "photo.png").pixels.shape == (40, 30, 1)


def test_very_large_tiff_files_are_tiled_with_smaller_copies(tmp_path, monkeypatch):
    photo = photo_of(tmp_path, height=900, width=700)
    monkeypatch.setattr(module, "TILED_PIXELS", 500_000)
    (note,) = write_large(photo, tmp_path / "tiled.tif")
    assert "EXIF" in note
    found = read(tmp_path / "tiled.tif")
    assert np.array_equal(found.pixels, photo.pixels)
    assert (found.metadata.xmp, found.metadata.density, found.warnings) == (XMP, Density(300, 300), ())
    from PIL import Image

    with Image.open(tmp_path / "tiled.tif") as image:
        sizes = []
        for page in range(image.n_frames):
            image.seek(page)
            sizes.append(image.size)
    assert sizes == [(700, 900), (350, 450), (175, 225)]
    oblong = replace(photo, metadata=Metadata(density=Density(2, 1, absolute=False)))
    assert write_large(oblong, tmp_path / "oblong.tif") == (
        f"{tmp_path / 'oblong.tif'}: TIFF cannot hold the photograph's density.",
    )


def test_deep_zoom(tmp_path):
    photo = photo_of(tmp_path, height=600, width=500)
    (note,) = write_large(photo, tmp_path / "photo.dzi")
    assert "EXIF" in note
    assert "<Size" in (tmp_path / "photo.dzi").read_text()
    tile = read(tmp_path / "photo_files" / "10" / "0_0.jpg")
    assert np.abs(tile.pixels[:250, :250].astype(int) - photo.pixels[:250, :250]).max() < 12
    with pytest.raises(OutputError, match="exists already"):
        write_large(photo, tmp_path / "photo.dzi")
    write_large(photo, tmp_path / "photo.dzi", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.dzi", "photo_files"]


@pytest.mark.parametrize("before", [False, True])
def test_deep_zoom_that_fails_at_its_end_leaves_what_was_there(tmp_path, monkeypatch, before):
    photo = photo_of(tmp_path, height=600, width=500)
    if before:
        (tmp_path / "photo_files").mkdir()
        (tmp_path / "photo_files" / "mine").write_text("tiles")

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "move_into_place", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_large(photo, tmp_path / "photo.dzi", force=True)
    assert [path.name for path in tmp_path.rglob("*")] == (["photo_files", "mine"] if before else [])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_disk_that_fills_up_is_told_and_leaves_nothing(tmp_path, monkeypatch, suffix):
    photo = photo_of(tmp_path)

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "write_all", full)
    with pytest.raises(OutputError, match="because the disk is full; free some space"):
        write_large(photo, tmp_path / f"photo{suffix}")
    assert not list(tmp_path.iterdir())


def test_disk_space_is_asked_for(tmp_path):
    check_disk(tmp_path, 1000, tmp_path / "a.png")
    with pytest.raises(
        OutputError, match=r"up to 1000000.0 GB of disk space is needed in .*; free some space"
    ):
        check_disk(tmp_path, 10**15, tmp_path / "a.png")


def test_a_file_is_as_its_bytes(tmp_path):
    data = bytes(range(256)) * 9000
    (tmp_path / "file").write_bytes(data)
    file = FileBytes(os.open(tmp_path / "file", os.O_RDONLY))
    assert len(file) == len(data)
    assert bytes(file) == data
    assert (file[5:9], file[-3:], file[10**9 :]) == (data[5:9], data[-3:], b"")
    for wanted, start, stop in (
        (b"\xfe\xff\0", 0, None), (b"\xff\0", (1 << 20) - 1, None), (b"nothing", 0, None), (b"\5\6", 7, 100),
    ):  # fmt: skip
        found = data.find(wanted, start) if stop is None else data.find(wanted, start, stop)
        assert file.find(wanted, start, stop) == found
        assert (wanted in file) == (wanted in data)
    assert file.startswith(b"\0\1")
    changed = file.changed(7, b"ab").changed(len(data) - 2, b"cd")
    assert bytes(changed) == data[:7] + b"ab" + data[9:-2] + b"cd"
    for part in (slice(0, 8), slice(8, 20), slice(9, 20), slice(-1, None), slice(3, 5)):
        assert changed[part] == bytes(changed)[part]
    assert bytes(file) == data


def test_a_large_tiff_of_an_impossible_orientation_stays_in_its_file(tmp_path):
    samples = np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    tag = [(274, "H", 1, 99, True)]
    tifffile.imwrite(tmp_path / "photo.tif", samples, photometric="rgb", extratags=tag)
    file = FileBytes(os.open(tmp_path / "photo.tif", os.O_RDONLY))
    assert isinstance(tiff_header(file).data, FileBytes)
    with large_images(tmp_path):
        np.testing.assert_array_equal(read(tmp_path / "photo.tif").pixels, samples)
