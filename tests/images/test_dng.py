"""DNG out: other programs see the colours of the PNG, and all that a RAW file said; what is no RAW file is refused."""

import errno
import os
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rawpy
import tifffile
from PIL import Image, TiffImagePlugin
from tiny_tiff import shorts, tiny_tiff

from ucdir.errors import OutputError
from ucdir.images import Metadata, Photo, check_writable, read, write
from ucdir.images.camera import Camera, camera_to_srgb
from ucdir.images.density import Density

XYZ_TO_CAMERA = ((0.6629, -0.1900, -0.0483), (-0.4618, 1.2349, 0.2550), (-0.0622, 0.1381, 0.6514))
CAMERA = Camera(
    np.array([2.0, 1.0, 1.6], np.float32),
    camera_to_srgb(XYZ_TO_CAMERA),
    np.array([2.2, 1.0, 1.5], np.float32),
)
PATCH = 24


def chart() -> np.ndarray:
    """24 patches whose colours are within what the camera and sRGB have, and black and white: uint16 [H,W,3]."""
    srgb = np.random.default_rng(0).uniform(0.25, 0.75, (4, 6, 3))
    srgb[0, :2] = [[0] * 3, [1] * 3]
    return np.rint(srgb.repeat(PATCH, axis=0).repeat(PATCH, axis=1) * 65535).astype(np.uint16)


def exif() -> bytes:
    block = Image.Exif()
    block[0x010F], block[0x0110] = "Maker", "Model 1"
    block.get_ifd(0x8769).update({0x8827: 6400, 0x829A: TiffImagePlugin.IFDRational(1, 20), 0xA434: "A lens"})
    return block.tobytes().removeprefix(b"Exif\0\0")


XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta><?xpacket end="w"?>'
)
PHOTO = Photo(chart(), metadata=Metadata(exif(), xmp=XMP, density=Density(300, 300)), camera=CAMERA)


def write_linear_dng(path: Path, light: np.ndarray, orientation: int = 1) -> None:
    """What `CAMERA` sees, in [0,1], as another program writes it."""
    tags = {
        274: shorts(orientation), 50706: (1, 4, bytes((1, 4, 0, 0))), 50714: shorts(512, 512, 512),
        50717: shorts(16383, 16383, 16383), 50721: fractions(10, CAMERA.xyz_to_camera),
        50728: fractions(5, 1 / CAMERA.white_balance), 50778: shorts(21),
    }  # fmt: skip
    samples = np.rint(512 + light.clip(0, 1) * (16383 - 512)).astype("<u2")
    path.write_bytes(tiny_tiff(light.shape[1], light.shape[0], 34892, (16,) * 3, samples.tobytes(), tags))


def fractions(kind: int, numbers: np.ndarray):
    parts = [part for number in np.ravel(numbers) for part in (round(float(number) * 10_000), 10_000)]
    return kind, len(parts) // 2, struct.pack(f"<{len(parts)}i", *parts)


def patches(pixels: np.ndarray) -> np.ndarray:
    """Mean colours, [4,6,3], of the middle of each patch, in 8-bit levels."""
    levels = pixels.astype(np.float64) * (255 / np.iinfo(pixels.dtype).max)
    return levels.reshape(4, PATCH, 6, PATCH, 3)[:, 6:-6, :, 6:-6].mean(axis=(1, 3))


@pytest.fixture
def written(tmp_path) -> Path:
    assert write(PHOTO, tmp_path / "a.dng") == ()
    assert [file.name for file in tmp_path.iterdir()] == ["a.dng"]
    return tmp_path / "a.dng"


def test_libraw_sees_the_colours_of_the_png(written):
    write(PHOTO, written.with_suffix(".png"))
    with rawpy.imread(str(written)) as raw:
        assert raw.raw_type == rawpy.RawType.Stack
        np.testing.assert_allclose(raw.color_matrix[:, :3], CAMERA.to_srgb, atol=1e-4)
        usual = {"no_auto_bright": True, "output_bps": 16, "gamma": (2.4, 12.92), "adjust_maximum_thr": 0}
        developed = raw.postprocess(use_camera_wb=True, **usual)
    expected = patches(read(written.with_suffix(".png")).pixels)
    assert np.abs(patches(developed) - expected).max() < 0.3
    other = rawpy.imread(str(written)).postprocess(user_wb=[1, 1, 1, 1], no_auto_bright=True)
    assert np.abs(patches(other) - expected).max() > 20, "control: another white balance"


def test_it_is_read_again_as_it_was(written):
    back = read(written, exposure_ratio=1.0, raw_size="full")
    assert np.abs(back.pixels.astype(int) - PHOTO.pixels).max() < 80  # of 65535
    np.testing.assert_allclose(back.camera.to_srgb, CAMERA.to_srgb, atol=1e-4)
    assert back.metadata.xmp == XMP
    assert back.metadata.density == PHOTO.metadata.density


def test_what_it_says(written):
    with tifffile.TiffFile(written) as file:
        main = file.pages[0]
        (light,) = main.pages
        assert (main.subfiletype, light.subfiletype) == (1, 0), "the preview comes first"
        assert main.shape == (96, 144, 3)
        assert light.shape == (96, 144, 3)
        assert light.photometric == 34892
        tags = {tag.name: tag.value for tag in main.tags}
        assert tags["UniqueCameraModel"] == "Maker Model 1"
        assert tags["Orientation"] == 1
        assert bytes(tags["DNGVersion"]) == bytes((1, 4, 0, 0))
        assert tags["AsShotNeutral"][2:4] == (1_000_000, 1_000_000)
        preview = main.asarray()
    assert np.abs(patches(preview) - patches(PHOTO.pixels)).max() < 1
    with Image.open(written) as image:
        inner = image.getexif().get_ifd(0x8769)
    assert (inner[0x8827], inner[0x829A], inner[0xA434]) == (6400, 0.05, "A lens")


def test_colours_outside_of_srgb_are_kept_and_their_noise_is_not(tmp_path):
    """What networks are given is clipped to sRGB; the DNG has the camera's own colours again."""
    rng = np.random.default_rng(0)
    balanced = rng.uniform(0.02, 0.9, (4, 6, 3))
    balanced[:2] *= 0.02 + 0.98 * np.eye(3)[rng.integers(3, size=(2, 6))]  # deep colours
    light = (balanced / CAMERA.white_balance).repeat(PATCH, axis=0).repeat(PATCH, axis=1)
    noise = rng.normal(0, 0.01, light.shape)
    write_linear_dng(tmp_path / "raw.dng", light + noise)
    photo = read(tmp_path / "raw.dng", exposure_ratio=1.0, raw_size="full", outside=True)
    restored = patches(photo.pixels).repeat(PATCH, axis=0).repeat(PATCH, axis=1) * 257
    photo = replace(photo, pixels=np.rint(restored).astype(np.uint16))
    errors, roughness = {}, {}
    for name, one in (("with", photo), ("without", replace(photo, outside=None))):
        write(one, tmp_path / f"{name}.dng")
        with tifffile.TiffFile(tmp_path / f"{name}.dng") as file:
            found = file.pages[0].pages[0].asarray() / 65535
        middles = (found * CAMERA.white_balance).reshape(4, PATCH, 6, PATCH, 3)[:, 8:-8, :, 8:-8]
        errors[name] = np.abs(middles.mean(axis=(1, 3)) - balanced).max()
        roughness[name] = middles.std(axis=(1, 3)).max()
    assert errors["without"] > 0.1, "control"
    assert errors["with"] < 0.02
    assert roughness["with"] < 0.005, "half of the noise, which is 0.01 to 0.02 in balanced light"


def test_turned_with_the_photo(tmp_path):
    light = np.full((48, 64, 3), 0.3)
    light[:8, :8] = (0.45, 0.01, 0.01)
    for orientation in (1, 6):
        write_linear_dng(tmp_path / "raw.dng", light, orientation=orientation)
        photo = read(tmp_path / "raw.dng", exposure_ratio=1.0, raw_size="full", outside=True)
        assert photo.outside.shape == photo.pixels.shape
        most = np.unravel_index(
            np.abs(photo.outside.astype(float)).sum(axis=2).argmax(), photo.outside.shape[:2]
        )
        corner = {1: (0, 0), 6: (0, 47)}[orientation]
        assert np.abs(np.subtract(most, corner)).max() < 10


@pytest.mark.parametrize("order", ["II", "MM"])
def test_both_byte_orders(tmp_path, order):
    block = Image.Exif()
    block.endian = ">" if order == "MM" else "<"
    block[0x0110] = "Model"
    data = block.tobytes().removeprefix(b"Exif\0\0")
    assert data[:2] == order.encode()
    write(Photo(chart(), metadata=Metadata(data), camera=CAMERA), tmp_path / "a.dng")
    assert (tmp_path / "a.dng").read_bytes()[:2] == order.encode()
    back = read(tmp_path / "a.dng", exposure_ratio=1.0, raw_size="full")
    assert np.abs(patches(back.pixels) - patches(PHOTO.pixels)).max() < 0.3


@pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool (libimage-exiftool-perl) is not installed"
)
def test_exiftool_finds_nothing_wrong(written):
    command = ["exiftool", "-validate", "-warning", "-error", "-a", written]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.split(":")[1].strip() == "OK", said.stdout


DEVELOPERS = {
    "rawtherapee-cli": ["-o", "OUT", "-b16", "-t", "-Y", "-c", "IN"],
    "darktable-cli": [
        *("IN", "OUT", "--icc-type", "SRGB", "--apply-custom-presets", "0"),
        *("--core", "--library", ":memory:", "--configdir", "FOLDER"),
        *("--conf", "plugins/imageio/format/tiff/bpp=16"),
        *(
            "--conf",
            "plugins/darkroom/workflow=none",
            "--conf",
            "plugins/darkroom/chromatic-adaptation=legacy",
        ),
    ],
}
"""Programs of Debian that develop RAW files, without adornment."""


@pytest.mark.parametrize("program", DEVELOPERS)
def test_other_programs_see_the_colours_of_the_png(written, program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    names = {"IN": written, "OUT": written.with_suffix(".tif"), "FOLDER": written.parent / "settings"}
    arguments = [names.get(word, word) for word in DEVELOPERS[program]]
    subprocess.run([program, *arguments], check=True, capture_output=True)
    difference = np.abs(patches(read(written.with_suffix(".tif")).pixels) - patches(PHOTO.pixels))
    assert difference[0, 1].max() < 3, "white, where programs reconstruct what is blown out"
    difference[0, 1] = 0
    assert difference.max() < 1


def test_what_is_no_raw_file_is_refused(tmp_path):
    for act in (write, lambda photo, path: check_writable(path, photo=photo)):
        with pytest.raises(
            OutputError, match="a.dng cannot hold .* a DNG is for the light .* choose .png or .tif"
        ):
            act(Photo(chart()), tmp_path / "a.dng")
    assert not [*tmp_path.iterdir()]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "old.dng").write_bytes(b"of before")
    monkeypatch.setattr(os, "fsync", fail)
    for name, force in (("new.dng", False), ("old.dng", True)):
        with pytest.raises(OutputError, match=rf"{name}.* the disk is full"):
            write(PHOTO, tmp_path / name, force=force)
    assert [file.name for file in tmp_path.iterdir()] == ["old.dng"]
    assert (tmp_path / "old.dng").read_bytes() == b"of before"


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "a.dng", tmp_path / "absent" / "a.dng"):
        with pytest.raises(OutputError, match=re.escape(str(path.parent))):
            write(PHOTO, path)
