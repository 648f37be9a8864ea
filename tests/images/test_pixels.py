"""Conversions of pixels: every kind of image to the signal of the networks, and back to the same kind."""

import io
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ucdir.errors import ConfigError
from ucdir.images.pixels import from_signal, to_rgb8, to_signal, to_uint8

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
SIGNAL = PIXELS.transpose(2, 0, 1).astype(np.float32)[None] / 127.5 - 1
UNIT = torch.from_numpy(SIGNAL / 2 + 0.5)

IMAGES = {
    "PIL": Image.fromarray(PIXELS),
    "uint8": PIXELS,
    "uint16": PIXELS.astype(np.uint16) * 257,
    "float64": PIXELS / 255,
    "batch": PIXELS[None],
    "tensor": UNIT[0],
    "tensor batch": UNIT,
    "double tensor": UNIT.double(),
    "list": [PIXELS],
    "fortran": np.asfortranarray(PIXELS),
    "strided": np.repeat(PIXELS, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("kind", IMAGES)
def test_every_kind_of_image_is_the_same_signal_and_comes_back_as_it_was(kind):
    image = IMAGES[kind]
    signal = to_signal(image)
    assert signal.dtype == np.float32
    assert signal.flags.c_contiguous
    np.testing.assert_allclose(signal, SIGNAL, atol=3e-7)
    back = from_signal(signal, image)
    assert type(back) is type(image)
    for one, given in zip(back, image, strict=True) if kind == "list" else [(back, image)]:
        a, b = np.asarray(one), np.asarray(given)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, atol=3e-7 if a.dtype.kind == "f" else 0)
    np.testing.assert_allclose(signal, SIGNAL, atol=3e-7)  # left alone


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height", [5, 256, 300])
def test_pixels_of_files_there_and_back(dtype, channels, height):
    peak = np.iinfo(dtype).max
    pixels = np.random.default_rng(1).integers(0, peak, (height, 7, channels), dtype=dtype, endpoint=True)
    pixels[0, 0], pixels[0, 1] = 0, peak
    signal = to_signal(pixels)
    assert signal.shape == (1, 3, height, 7)
    assert (signal.min(), signal.max()) == (-1, 1)
    assert np.array_equal(from_signal(signal, pixels), pixels)


def test_the_signal_is_the_one_that_training_has_always_seen():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    expected = torch.from_numpy(levels[..., 0]).float().div_(127.5).sub_(1).numpy()
    np.testing.assert_array_equal(to_signal(levels)[0], np.stack([expected] * 3))


def test_several_images():
    assert np.array_equal(to_signal([PIXELS, Image.fromarray(PIXELS)]), np.concatenate([SIGNAL, SIGNAL]))
    batch = np.stack([PIXELS, 255 - PIXELS])
    assert np.array_equal(from_signal(to_signal(batch), batch), batch)


def test_grey_that_is_multiplied_by_its_alpha_is_taken_as_pil_divides_it():
    image = Image.fromarray(PIXELS).convert("LA")
    image.putalpha(100)
    multiplied = image.convert("La")
    assert np.array_equal(to_signal(multiplied), to_signal(multiplied.convert("LA")))
    assert from_signal(to_signal(multiplied), multiplied).mode == "L"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "CMYK", "YCbCr", "L"])
def test_modes_of_pil_with_8_bits(mode):
    image = Image.fromarray(PIXELS).convert(mode)
    signal = to_signal(image)
    assert np.array_equal(signal, to_signal(np.asarray(image.convert("RGB"))))
    back = from_signal(signal, image)
    assert back.mode == ("L" if mode in ("1", "L", "LA") else "RGB")
    assert back.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_images_of_pil_keep_their_exif_and_stay_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", exif=exif)
    image = Image.open(file)
    back = from_signal(to_signal(image), image)
    assert back.size == image.size
    assert back.getexif()[0x0112] == 6
    assert ImageOps.exif_transpose(back).size == image.size[::-1]


def test_images_of_pil_keep_their_profile():
    for mode, kept in (("RGB", True), ("RGBA", True), ("L", True), ("CMYK", False)):  # which becomes RGB
        image = Image.fromarray(PIXELS).convert(mode)
        assert "icc_profile" not in from_signal(SIGNAL, image).info
        image.info["icc_profile"] = b"a profile"
        assert from_signal(SIGNAL, image).info == ({"icc_profile": b"a profile"} if kept else {})


def test_values_beyond_the_range_are_clipped_and_floats_are_not_rounded():
    signal = np.full((1, 3, 2, 2), 0.3, np.float32)
    signal[..., 0, 0], signal[..., 1, 1] = -1.4, 1.2
    for like in (np.zeros((2, 2, 3)), np.zeros((1, 2, 2, 3), np.float16), torch.zeros(3, 2, 2).bfloat16()):
        back = from_signal(signal, like)
        assert (back.dtype, back.shape) == (like.dtype, like.shape)
        assert (float(back.min()), float(back.max())) == (0, 1)
        assert float(
            back.reshape(-1, 12)[0].sort()[0][6] if torch.is_tensor(back) else np.sort(back.flat)[6]
        ) == (pytest.approx(0.65, abs=2e-3))
    assert sorted(set(from_signal(signal, PIXELS).flat)) == [0, 166, 255]


@pytest.mark.parametrize("dtype", [np.float16, ">f4", ">f8", np.longdouble])
def test_floats_of_any_width_and_order(dtype):
    image = (PIXELS / 255).astype(dtype)
    assert np.allclose(to_signal(image), SIGNAL, atol=2e-3)
    assert from_signal(SIGNAL, image).dtype == image.dtype


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ([], "empty"),
        ("photo.png", "found str"),
        (None, "found NoneType"),
        (PIXELS[..., :2], r"found \[6, 9, 2\]"),
        (PIXELS[..., 0], r"found \[6, 9\]"),
        (PIXELS[:0], "at least one pixel"),
        (PIXELS.astype(np.int32), "found int32"),
        (PIXELS.astype(object), "found object"),
        (PIXELS > 3, "found bool"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "found torch.uint8"),
        (torch.zeros(1, 1, 4, 4), r"found \[1, 1, 4, 4\]"),
        (torch.zeros(4, 4, 3), r"\[3,H,W\] or \[B,3,H,W\], found \[4, 4, 3\]"),
        (torch.zeros(1, 3, 0, 4), "at least one pixel"),
        (Image.new("RGB", (0, 4)), r"at least one pixel, found \[0, 4\]"),
        ([PIXELS, PIXELS[:3]], "one size"),
        ([PIXELS, PIXELS[None].repeat(2, axis=0)], "single images"),
        (Image.fromarray(np.full((4, 4), 30_000, np.uint16)), "8 bits a sample, found mode 'I;16'"),
        (Image.fromarray(np.full((4, 4), 0.5, np.float32)), "8 bits a sample, found mode 'F'"),
        (PIXELS.astype(float), "values from 0 to 249 where .* divide"),
        (torch.full((3, 2, 2), 255.0), "to 255 where"),
        (np.full((2, 2, 3), np.nan), "values from nan"),
        (torch.full((3, 2, 2), float("nan")), "values from nan"),
        (np.full((2, 2, 3), -np.inf), "values from -inf"),
        (np.full((2, 2, 3), 1e300), "to inf where"),
        (torch.from_numpy(SIGNAL), r"values from -1 to .* where \[0,1\] is expected; convert \[-1,1\] by"),
    ],
)
def test_what_does_not_fit_is_named(image, words):
    with pytest.raises(ConfigError, match=words):
        to_signal(image)


def test_overshoot_of_resizing_is_let_through():
    to_signal(PIXELS / 255 * 1.2 - 0.1)


def test_the_callers_image_is_left_alone():
    for image in (
        PIXELS.copy(),
        (PIXELS / 255).astype(np.float32),
        UNIT.numpy().copy()[0].transpose(1, 2, 0),
    ):
        before = image.copy()
        to_signal(image)[...] = 9
        assert np.array_equal(image, before)
    tensor = torch.rand(1, 3, 4, 4)
    before = tensor.clone()
    to_signal(tensor)[...] = 9
    assert torch.equal(tensor, before)
    assert np.array_equal(to_signal(Image.fromarray(PIXELS[:1, :1])), SIGNAL[..., :1, :1])  # read-only


def test_little_more_memory_than_one_float_image(tmp_path):
    pixels = np.memmap(tmp_path / "pixels", np.uint16, "w+", shape=(1200, 1000, 3))
    tracemalloc.start()
    signal = to_signal(pixels)
    assert tracemalloc.get_traced_memory()[1] < signal.nbytes + 2**20
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    back = from_signal(signal, pixels)
    assert tracemalloc.get_traced_memory()[1] - before < back.nbytes + signal.nbytes // 2
    tracemalloc.stop()


def test_neither_pil_nor_torch_is_imported():
    script = (
        "import sys, numpy, ucdir.images.pixels as p\n"
        "like = numpy.zeros((2, 2, 3))\n"
        "p.from_signal(p.to_signal(like), like)\n"
        "print(*{'PIL', 'torch'} & sys.modules.keys())"
    )
    assert not subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_uint16_is_rounded_to_the_nearest_8_bit_level():
    samples = np.arange(65_536, dtype=np.uint16).reshape(256, 256, 1)
    assert np.array_equal(to_uint8(samples), np.floor(samples / 257 + 0.5))
    assert to_uint8(PIXELS) is PIXELS
    rgb = to_rgb8(samples)
    assert (rgb.shape, rgb.dtype, rgb.flags.c_contiguous) == ((256, 256, 3), np.uint8, True)
    assert np.array_equal(rgb[..., 2], to_uint8(samples)[..., 0])


def test_while_another_thread_imports_torch_arrays_are_understood(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", type(sys)("torch"))
    np.testing.assert_array_equal(to_signal(PIXELS), SIGNAL)
