"""What is wrong with a photo is found, and nothing where nothing is."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

import ucdir
from ucdir.data.documents import document
from ucdir.degradations import DefocusBlur, JpegCompression, LowLightGenerator, MotionBlur
from ucdir.errors import ConfigError, ImageError
from ucdir.images import Exposure, Photo
from ucdir.inspection import inspect
from ucdir.inspection.inspection import LEAST_NOISE
from ucdir.inspection.network import HEADS, weights
from ucdir.tasks import TASKS
from ucdir.tasks.scalars import check_scalars

CLEAN = {"astronaut": data.astronaut(), "coffee": data.coffee()}


def shaken(length, angle):
    """The blur of a camera that turns evenly, in degrees anticlockwise."""
    way = np.linspace(-0.5, 0.5, 41)[:, None] * length / 1000
    turn = np.radians(angle)
    return MotionBlur(way * [np.cos(turn), -np.sin(turn), 0], focal_length=1000.0)


def noisy(pixels, std, seed=0):
    noise = np.random.default_rng(seed).normal(0, std, pixels.shape)
    return np.rint(np.clip(pixels + noise, 0, 255)).astype(np.uint8)


def found(pixels, **fields):
    return inspect(Photo(np.ascontiguousarray(pixels), **fields))


@pytest.fixture(params=list(CLEAN))
def clean(request):
    return CLEAN[request.param]


def test_nothing_is_wrong_with_a_clean_photo(clean):
    result = found(clean)
    assert (result.verdict, result.task, result.scalars) == ("nothing wrong", None, {})
    assert result.confidence > 0.5
    assert (result.jpeg.quality, result.noise.std, result.blur.length) == (None, None, None)


def test_jpeg(clean):
    result = found(JpegCompression(20)(clean))
    assert (result.verdict, result.task, result.scalars) == (
        "jpeg",
        "jpeg_restoration",
        {"jpeg_quality": 20.0},
    )


@pytest.mark.parametrize("std", [8, 25])
def test_noise(clean, std):
    result = found(noisy(clean, std))
    assert (result.verdict, result.task) == ("noise", "low_light")
    assert result.scalars == {"noise_strength": pytest.approx(std, rel=0.3)}
    assert result.noise.correlated is False


def test_motion(clean):
    for length, angle in ((8, 20), (16, 110), (28, 65)):
        result = found(shaken(length, angle)(clean))
        assert (result.verdict, result.task, result.blur.kind) == ("blur", "deblurring", "motion")
        assert result.scalars == {"blur_type": 0.0, "blur_length": pytest.approx(length, rel=0.3)}
        assert abs((result.blur.angle - angle + 90) % 180 - 90) < 12


def test_direction_turns_and_mirrors_with_the_image():
    blurred = shaken(14, 30)(CLEAN["coffee"])
    for other, angle in (
        (blurred, 30),
        (np.rot90(blurred), 120),
        (blurred[:, ::-1], 150),
        (blurred[::-1], 150),
    ):
        assert abs((found(other).blur.angle - angle + 90) % 180 - 90) < 12


def test_out_of_focus(clean):
    result = found(DefocusBlur(radius=4.0)(clean))
    assert (result.verdict, result.task, result.blur.kind) == ("blur", "deblurring", "defocus")
    assert result.scalars == {"blur_type": 1.0, "blur_length": pytest.approx(8, rel=0.4)}
    assert result.blur.angle is None


def test_a_background_out_of_focus_is_no_fault():
    sharp = CLEAN["astronaut"]
    bokeh = DefocusBlur(radius=6.0)(sharp)
    assert found(bokeh).verdict == "blur", "control"
    bokeh[100:400, 100:400] = sharp[100:400, 100:400]
    assert found(bokeh).verdict == "nothing wrong"


def test_of_two_faults_the_worse_leads():
    sharp = CLEAN["astronaut"]
    assert found(JpegCompression(70)(noisy(sharp, 40))).verdict == "noise"
    assert found(JpegCompression(8)(noisy(sharp, 4))).verdict == "jpeg"


def test_towards_what_counts_as_a_fault_nothing_wrong_is_less_sure():
    sharp, sure = CLEAN["coffee"], {}
    for std in np.arange(0.5, 3.2, 0.1):
        result = found(noisy(sharp, std))
        if result.verdict == "nothing wrong":
            sure[result.noise.std or 0.0] = result.confidence
    weak, none = (
        [sure[std] for std in sure if low <= std < high] for low, high in ((2.2, LEAST_NOISE), (0, 1.5))
    )
    assert weak, "control"
    assert none, "control"
    assert max(weak) < 0.9 < max(none)


def test_a_strong_jpeg_leads_whatever_it_looks_like():
    few = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(few).resize((512, 384), Image.Resampling.BICUBIC))
    assert found(smooth).verdict == "blur"  # the control
    assert found(JpegCompression(10)(smooth), jpeg_quality=10, format="JPEG").task == "jpeg_restoration"


def test_pages_of_text_are_fine_unless_they_were_compressed():
    for seed in (0, 1, 2, 5, 6):
        page = document(np.random.default_rng(seed), 300)
        assert found(page).verdict == "nothing wrong"
        assert found(JpegCompression(15)(page)).verdict == "jpeg"


def test_the_same_in_grey_and_in_16_bits(clean):
    for degraded in (clean, noisy(clean, 20), JpegCompression(20)(clean)):
        verdict = found(degraded).verdict
        assert found(degraded[..., 1:2]).verdict == verdict
        assert found(degraded.astype(np.uint16) * 257).verdict == verdict


def test_what_is_transparent_does_not_count():
    pixels, alpha = CLEAN["astronaut"].copy(), np.full((512, 512), 255, np.uint8)
    pixels[:256] = noisy(pixels[:256], 40)
    alpha[:256] = 0
    assert found(pixels, alpha=alpha).verdict == "nothing wrong"
    assert found(pixels, alpha=255 - alpha).verdict == "noise"


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (47, 300)])
def test_of_tiny_images_nothing_is_said_but_what_the_file_tells(size):
    pixels = noisy(np.full((*size, 3), 128, np.uint8), 40)
    result = found(pixels)
    assert (result.verdict, result.confidence, result.jpeg.confidence) == ("nothing wrong", 0.0, 0.0)
    assert "too small" in result.reason


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_image(level):
    result = found(np.full((200, 300, 3), level, np.uint8))
    assert result.verdict == "nothing wrong"
    assert result.exposure.kind == {0: "dark", 128: "normal", 255: "bright"}[level]
    assert (result.exposure.black, result.exposure.white) == (float(level == 0), float(level == 255))


def test_a_large_image_is_sampled():
    large = np.broadcast_to(noisy(np.full((128, 128, 3), 128, np.uint8), 20), (200, 128, 128, 3))
    large = large.reshape(20, 10, 128, 128, 3).swapaxes(1, 2).reshape(2560, 1280, 3)
    assert found(large).noise.std == pytest.approx(20, rel=0.3)


def test_a_raw_file_and_what_is_to_be_brightened_are_of_low_light():
    result = found(CLEAN["coffee"], exposure=Exposure(100.0, gain=2.0), format="RAW")
    assert (result.task, result.scalars) == ("low_light", {"exposure_ratio": 100.0, "gain": 2.0})
    assert found(CLEAN["coffee"], exposure=Exposure(2.0)).reason == "to be brightened"


def test_noise_of_the_dark_is_told_apart():
    clean = CLEAN["coffee"]
    exposures = LowLightGenerator(srgb_probability=0, developed_probability=0)
    for seed in range(3):
        dark = found(exposures.draw(np.random.default_rng(seed))(clean))
        assert (dark.verdict, dark.noise.dark) == ("noise", True)
        assert dark.scalars["exposure_ratio"] > 1
    for std in (20, 50, 90):
        other = found(noisy(clean, std))
        assert (other.verdict, other.noise.dark) == ("noise", False)
        assert "exposure_ratio" not in other.scalars


def test_scalars_are_such_as_the_task_takes(clean):
    for degraded in (JpegCompression(5)(clean), noisy(clean, 100), DefocusBlur(radius=24.0)(clean)):
        result = found(degraded)
        assert result.task is not None
        check_scalars(result.scalars, TASKS[result.task].scalars)


def test_findings_are_json_and_lines(clean):
    result = found(shaken(12, 0)(clean))
    said = json.loads(json.dumps(result.as_dict()))
    assert said["blur"]["length"] == result.blur.length
    assert [line.split()[0] for line in result.lines()] == ["JPEG", "noise", "blur", "exposure"]


def test_images_in_memory(clean, tmp_path):
    degraded = JpegCompression(20)(clean)
    (tmp_path / "photo.jpg").write_bytes(JpegCompression(20).encode(clean))
    for image in (
        degraded,
        degraded / 255,
        (tmp_path / "photo.jpg").read_bytes(),
        str(tmp_path / "photo.jpg"),
    ):
        assert ucdir.inspect(image).verdict == "jpeg"
    with pytest.raises(ConfigError, match="2 images in a batch"):
        ucdir.inspect(np.stack([degraded, degraded]))
    with pytest.raises(ImageError, match=r"absent.png does not exist"):
        ucdir.inspect(tmp_path / "absent.png")


def test_the_network_is_small():
    arrays = weights()
    assert sum(array.size for array in arrays.values()) < 200_000
    assert all(np.isfinite(array).all() for array in arrays.values())
    for head, names in HEADS.items():
        last = max(name for name in arrays if name.startswith(head) and name.endswith(".bias"))
        assert arrays[last].shape[1] == len(names)
