"""What a caller may hand in as images, and what comes back."""

import numpy as np
import pytest
import torch
from PIL import Image

from ucdir.errors import ConfigError
from ucdir.inputs import from_tensor, sample_seeds, to_tensor

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_every_kind_of_image_is_the_same_tensor():
    expected = torch.from_numpy(PIXELS.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1)[None]
    kinds = [
        Image.fromarray(PIXELS),
        PIXELS,
        PIXELS / 255,
        PIXELS[None],
        expected,
        expected[0],
        [PIXELS],
        expected.double(),
    ]
    for kind in kinds:
        tensor = to_tensor(kind)
        assert tensor.dtype == torch.float32
        assert torch.allclose(tensor, expected, atol=1e-6)
    assert torch.equal(to_tensor([PIXELS, Image.fromarray(PIXELS)]), to_tensor(PIXELS).repeat(2, 1, 1, 1))
    grey = Image.fromarray(PIXELS[..., 0])
    assert to_tensor(grey).shape == (1, 3, 6, 9)


@pytest.mark.parametrize("kind", ["pil", "np", "pt"])
def test_there_and_back(kind):
    back = from_tensor(to_tensor(PIXELS), kind)
    assert np.array_equal(np.asarray(to_tensor(back).add(1).mul(127.5).round()[0].permute(1, 2, 0)), PIXELS)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ([], "empty"),
        ("photo.png", "found str"),
        (PIXELS[..., :2], r"found \[6, 9, 2\]"),
        (PIXELS.astype(np.int32), "found int32"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "found torch.uint8"),
        (torch.zeros(1, 1, 4, 4), r"found shape \[1, 1, 4, 4\]"),
        (torch.zeros(1, 3, 0, 4), "at least one pixel"),
        ([PIXELS, PIXELS[:3]], "one size"),
    ],
)
def test_what_does_not_fit_is_named(image, words):
    with pytest.raises(ConfigError, match=words):
        to_tensor(image)
    with pytest.raises(ConfigError, match="'jpeg' is unknown"):
        from_tensor(torch.zeros(1, 3, 2, 2), "jpeg")


def test_seeds():
    def generator(seed):
        return torch.Generator().manual_seed(seed)

    assert sample_seeds(None, 7, 3) == [7, 7, 7]
    one = sample_seeds(generator(1), 0, 2)
    assert one == sample_seeds(generator(1), 0, 2)
    assert one[0] != one[1]
    assert sample_seeds([generator(1), generator(1)], 0, 2) == [one[0], one[0]]
    for seed in (-1, 2**63, 1.5, True):
        with pytest.raises(ConfigError, match="seed"):
            sample_seeds(None, seed, 1)
    with pytest.raises(ConfigError, match="1 generators for 2 images"):
        sample_seeds([generator(1)], 0, 2)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "CMYK", "YCbCr", "L"])
def test_modes_of_pil_of_8_bits_are_taken(mode):
    image = Image.fromarray(PIXELS).convert(mode)
    assert torch.equal(to_tensor(image), to_tensor(np.asarray(image.convert("RGB"))))


@pytest.mark.parametrize("pixels", [np.full((4, 4), 30_000, np.uint16), np.full((4, 4), 0.5, np.float32)])
def test_modes_of_pil_of_more_bits_are_refused_rather_than_cut_off(pixels):
    with pytest.raises(ConfigError, match="8 bits a sample, found mode '(I;16|F)'"):
        to_tensor(Image.fromarray(pixels))


def test_an_image_of_one_pixel():
    dot = Image.fromarray(PIXELS[:1, :1])  # an array of it cannot be written to
    assert torch.equal(to_tensor(dot), to_tensor(PIXELS[:1, :1]))


@pytest.mark.parametrize("dtype", [np.float16, ">f4", ">f8", np.longdouble])
def test_floats_of_any_width_and_order(dtype):
    assert torch.allclose(to_tensor((PIXELS / 255).astype(dtype)), to_tensor(PIXELS), atol=2e-3)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (PIXELS.astype(float), "values from -1 to [45]"),
        (np.full((2, 2, 3), np.nan), "values from nan"),
        (np.full((2, 2, 3), -np.inf), "values from -inf"),
        (torch.full((3, 2, 2), 255.0), "to 255 where"),
        (PIXELS.astype(object), "found object"),
        (PIXELS > 3, "found bool"),
    ],
)
def test_values_of_another_range_are_refused_rather_than_cut_off(image, words):
    with pytest.raises(ConfigError, match=words):
        to_tensor(image)
    to_tensor(PIXELS / 255 * 1.2 - 0.1)  # what resizing with a sharp filter leaves


def test_the_callers_image_is_left_alone():
    for image in (PIXELS.copy(), (PIXELS / 255).astype(np.float32), np.zeros((1, 1, 3), np.float32)):
        before = image.copy()
        to_tensor(image).fill_(9)
        assert np.array_equal(image, before)


def test_seeds_of_numpy():
    assert sample_seeds(None, np.int64(5), 1) == sample_seeds(None, 5, 1)
    assert sample_seeds(None, 2**63 - 1, 1) == [2**63 - 1]
