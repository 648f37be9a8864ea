"""Blur in light: points become lines and discs of the right size, and nothing else changes."""

import copy

import numpy as np
import pytest
from pydantic import ValidationError

from ucdir.degradations import BlurGenerator, CameraEffects, DefocusBlur, MotionBlur
from ucdir.degradations.motion_blur import MAX_ANGLE
from ucdir.errors import ConfigError, DataError
from ucdir.images.camera import srgb_to_linear


def point(side=65, value=255):
    picture = np.zeros((side, side, 3), np.uint8)
    picture[side // 2, side // 2] = value
    return picture


def turning(axis, radians, count=41):
    path = np.zeros((count, 3))
    path[:, axis] = np.linspace(-radians / 2, radians / 2, count)
    return path


def light(pixels):
    return srgb_to_linear(pixels / 255.0)


def texture(height=40, width=56, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("blur", [MotionBlur(np.zeros((5, 3))), DefocusBlur(0.0)])
def test_no_blur_changes_nothing(blur):
    assert blur.blur_length == 0
    assert np.array_equal(blur(texture()), texture())


def test_a_yaw_smears_a_point_into_a_level_line():
    blur = MotionBlur(turning(0, 0.02), focal_length=1000.0)
    assert blur.blur_length == pytest.approx(20, rel=0.06)
    smeared = light(blur(point()))[..., 0]
    assert np.flatnonzero(smeared.sum(axis=1)).tolist() == [32]
    columns = np.flatnonzero(smeared[32])
    assert 20 <= columns[-1] - columns[0] + 1 <= 22
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(32, abs=0.5)
    assert smeared.sum() == pytest.approx(1.0, rel=0.05), "the light is all there"


def test_a_pitch_smears_it_upright():
    smeared = light(MotionBlur(turning(1, 0.02), focal_length=1000.0)(point()))[..., 0]
    assert np.flatnonzero(smeared.sum(axis=0)).tolist() == [32]


def test_a_roll_blurs_more_with_the_distance_from_the_principal_point():
    clean = np.zeros((129, 129, 3), np.uint8)
    for place in (64, 84, 124):
        clean[64, place] = 255
    smeared = light(MotionBlur(turning(2, 0.2), focal_length=1000.0)(clean))[..., 0]
    heights = [np.count_nonzero(smeared[:, place - 1 : place + 2].sum(axis=1)) for place in (64, 84, 124)]
    assert heights[0] <= 3 < heights[1] < heights[2]
    assert heights[2] == pytest.approx(0.2 * 60 + 2, abs=2)
    yaw = light(MotionBlur(turning(0, 0.005), focal_length=1000.0)(clean))[64, :, 0]
    spread = [np.count_nonzero(yaw[place - 8 : place + 9]) for place in (84, 124)]
    assert abs(spread[0] - spread[1]) <= 1, "control: a yaw blurs all places alike"


def test_a_crop_in_the_corner_feels_the_roll():
    path = turning(2, 0.02)
    assert MotionBlur(path).blur_length == pytest.approx(0, abs=1e-9)
    assert MotionBlur(path, offset=(500.0, 0.0)).blur_length == pytest.approx(10, rel=0.06)


@pytest.mark.parametrize("radius", [1.0, 3.5, 8.0])
def test_defocus_is_a_disc(radius):
    blur = DefocusBlur(radius)
    assert blur.blur_length == 2 * radius
    kernel = blur.kernel()
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert 1 / kernel.max() == pytest.approx(np.pi * radius**2, rel=0.06)
    y, x = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
    assert (kernel[np.hypot(x, y) > radius + 0.75] == 0).all()
    smeared = light(blur(point(value=255)))[..., 1]
    assert smeared.sum() == pytest.approx(1.0, rel=0.1)
    assert np.array_equal(kernel, kernel[::-1])
    assert np.array_equal(kernel, kernel.T)


def test_light_is_averaged_and_not_pixels():
    stripes = np.zeros((20, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    blurred = MotionBlur(turning(0, 0.0401, 401), focal_length=1000.0)(stripes)[10, 30:34]
    assert blurred.mean() == pytest.approx(188, abs=3), "half the light is 188; half of 255 would be 128"


def test_saturated_lamps_leave_streaks():
    clean = np.full((65, 65, 3), 20, np.uint8)
    clean[30:35, 30:35] = 255
    turn = turning(0, 0.02)
    plain = MotionBlur(turn)(clean)
    streak = MotionBlur(turn, effects=CameraEffects(boost=3.0))(clean)
    assert int(streak[32, 32, 0]) > int(plain[32, 32, 0]) + 30
    assert np.array_equal(streak[5], plain[5]), "control: dark places stay as they are"


def test_noise_has_the_variance_given():
    effects = CameraEffects(shot=4e-4, read=1e-4, seed=1)
    grey = np.full((200, 200, 3), 188, np.uint8)
    noisy = light(DefocusBlur(0.0, effects)(grey))
    assert noisy.var() == pytest.approx(4e-4 * light(np.array(188)) + 1e-4, rel=0.05)
    other = DefocusBlur(0.0, CameraEffects(shot=4e-4, read=1e-4, seed=2))(grey)
    assert not np.array_equal(DefocusBlur(0.0, effects)(grey), other)


def test_a_function_of_what_was_drawn():
    generator, clean = BlurGenerator(), texture()
    before = clean.copy()
    state = np.random.get_state()[1].copy()
    for seed in range(6):
        blur = generator.draw(np.random.default_rng(seed))
        again = generator.draw(np.random.default_rng(seed))
        assert np.array_equal(blur(clean), blur(clean))
        assert np.array_equal(blur(clean), again(clean))
        assert np.array_equal(blur(clean), copy.deepcopy(blur)(clean))
    assert np.array_equal(clean, before)
    assert np.array_equal(np.random.get_state()[1], state)


def test_what_is_drawn():
    drawn = [BlurGenerator(scene_probability=0).draw(np.random.default_rng(n)) for n in range(400)]
    kinds = np.array([d.blur_type for d in drawn])
    lengths = np.array([d.blur_length for d in drawn])
    assert 0.1 < kinds.mean() < 0.2
    assert lengths.min() == 0
    assert 30 < lengths.max() <= 32.01
    assert np.histogram(lengths, 4, (0, 32))[0].min() > 60
    assert 0.01 < (lengths == 0).mean() < 0.07
    for blur in drawn[:50]:
        if isinstance(blur, MotionBlur):
            assert np.abs(blur.rotations.mean(axis=0)).max() < 1e-9, "truth and picture lie on each other"


@pytest.mark.parametrize("length", [1.0, 9.0, 40.0])
def test_a_length_that_was_asked_for(length):
    generator = BlurGenerator(lengths=(length, length), defocus_probability=0.0, scene_probability=0.0)
    for seed in range(10):
        blur = generator.draw(np.random.default_rng(seed))
        assert isinstance(blur, MotionBlur)
        assert blur.blur_length == pytest.approx(length, rel=1e-3)


def test_a_camera_that_only_rolls_about_the_middle_is_not_turned_over(monkeypatch):
    """Such a path, which is rare, would need any angle for a long blur in the middle, and ended the training."""

    def roll(rng, samples, trembling):
        return np.linspace(-1, 1, samples)[:, None] * np.array([0.0, 0.0, 1.0])

    monkeypatch.setattr("ucdir.degradations.motion_blur.camera_path", roll)
    generator = BlurGenerator(lengths=(48.0, 48.0), defocus_probability=0.0, scene_probability=0.0)
    drawn = [generator.draw(np.random.default_rng(seed)) for seed in range(500)]
    largest = max(np.abs(blur.rotations).max() for blur in drawn)
    assert 0.49 < largest < MAX_ANGLE, "some are cut"
    assert np.median([blur.blur_length for blur in drawn]) == pytest.approx(48, rel=1e-3), "most are not"


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (33, 18)])
@pytest.mark.parametrize("blur", [MotionBlur(turning(0, 0.01)), DefocusBlur(5.0)])
def test_any_size(blur, size):
    result = blur(texture(*size))
    assert result.shape == (*size, 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MotionBlur(np.zeros((3, 2))), r"\[T,3\]"),
        (lambda: MotionBlur(np.full((2, 3), 0.6)), "below 0.5"),
        (lambda: MotionBlur(np.full((2, 3), np.nan)), "below 0.5"),
        (lambda: MotionBlur(np.zeros((2, 3)), focal_length=0.0), "focal_length 0.0"),
        (lambda: DefocusBlur(-1.0), "radius -1.0"),
        (lambda: CameraEffects(shot=-1.0), "shot -1.0"),
    ],
)
def test_arguments_out_of_range(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize(
    "arguments",
    [{"lengths": (9.0, 3.0)}, {"lengths": (0.0, 49.0)}, {"jpeg_probability": 2.0}, {"frames": (9, 3)}],
)
def test_generators_out_of_range(arguments):
    with pytest.raises(ValidationError, match=next(iter(arguments))):
        BlurGenerator(**arguments)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), "x"]
)
def test_what_is_no_picture(bad):
    with pytest.raises(DataError, match="a blur takes"):
        DefocusBlur(1.0)(bad)
