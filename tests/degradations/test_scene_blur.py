"""Scenes in motion: objects smear while walls do not, and nothing is shifted against the sharp image."""

import numpy as np
import pytest

from ucdir.degradations import (
    BlurGenerator,
    CameraEffects,
    MotionBlur,
    MovingObject,
    SceneBlur,
    mean_of_frames,
)
from ucdir.degradations.scene_blur import length_of, smooth_motion, soft_shape
from ucdir.errors import ConfigError, DataError
from ucdir.images.camera import srgb_to_linear
from ucdir.tasks.deblurring import Deblurring

STILL = np.zeros((9, 4))


def straight(column, length, frames=33):
    motion = np.zeros((frames, 4))
    motion[:, column] = np.linspace(-length / 2, length / 2, frames)
    motion[frames // 2] = 0
    return motion


def texture(height=64, width=80, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def point(row, column, side=65):
    picture = np.zeros((side, side, 3), np.uint8)
    picture[row, column] = 255
    return picture


def light(pixels):
    return srgb_to_linear(pixels[..., 0] / 255.0)


def test_a_still_scene_stays_as_it_is():
    sharp, blurred = SceneBlur(STILL)(texture())
    assert np.array_equal(sharp, texture())
    assert np.array_equal(blurred, texture())


@pytest.mark.parametrize(("column", "axis"), [(0, 0), (1, 1)])
def test_a_shift_smears_a_point_about_its_place(column, axis):
    _, blurred = SceneBlur(straight(column, 20))(point(32, 32))
    smeared = light(blurred)
    assert np.flatnonzero(smeared.sum(axis=1 - axis)).tolist() == [32]
    line = smeared.sum(axis=axis)
    assert line.sum() == pytest.approx(1, rel=0.1), "the light is all there"
    assert (line * np.arange(65)).sum() / line.sum() == pytest.approx(32, abs=0.1)
    assert 20 <= np.count_nonzero(line) <= 23


@pytest.mark.parametrize("column", [2, 3])
def test_roll_and_growth_blur_more_away_from_the_principal_point(column):
    blur = SceneBlur(straight(column, 0.2), offset=(32.0, 0.0))
    spread = [np.count_nonzero(light(blur(point(32, place))[1])) for place in (0, 20, 60)]
    assert spread[0] <= 6 < spread[1] < spread[2] - 5
    assert length_of(blur.camera, (32.0, 0.0)) == pytest.approx(0.2 * 32, rel=0.07)


def test_the_same_as_a_shaken_camera():
    """Yaw of a camera with a long lens is a shift."""
    turn = np.zeros((33, 3))
    turn[:, 0] = straight(0, 16)[:, 0] / 1e5
    shaken = MotionBlur(turn, focal_length=1e5)(texture())
    _, moved = SceneBlur(straight(0, 16))(texture())
    assert np.abs(shaken.astype(int) - moved).max() <= 1
    still = np.abs(texture().astype(int) - moved)
    assert still.max() > 50, "control: the blur is no small one"


def test_objects_move_in_front_of_a_wall_that_does_not():
    thing = MovingObject(straight(0, 24, 9), coverage=0.1, gain=1.0, seed=5)
    clean = texture(96, 96)
    sharp, blurred = SceneBlur(STILL, (thing,))(clean)
    opacity = soft_shape(np.random.default_rng(5), 96, 96, 0.1)
    swept = np.zeros((96, 96), bool)
    for shift in range(-13, 14):
        swept |= np.roll(opacity > 0, shift, axis=1)
    wall = ~swept
    assert 0.2 < wall.mean() < 0.95
    assert np.array_equal(sharp[wall], clean[wall])
    assert np.array_equal(blurred[wall], clean[wall]), "the wall is not smeared"
    inside = opacity == 1
    assert np.abs(sharp[inside].astype(int) - clean[inside]).mean() > 30, "the object is in the sharp image"
    assert np.abs(sharp[inside].astype(int) - blurred[inside]).mean() > 30, "and smeared in the blurred one"
    still = MovingObject(STILL, coverage=0.1, gain=1.0, seed=5)
    assert np.array_equal(*SceneBlur(STILL, (still,))(clean)), "control: an object that rests is sharp"


def test_what_an_object_uncovers_is_lit_for_as_long_as_it_is_seen():
    """A dark object that passes over a white wall: 9 frames, each of them covered or not."""
    thing = MovingObject(straight(0, 8, 9), coverage=0.05, gain=0.0, seed=3)
    wall = np.full((64, 64, 3), 255, np.uint8)
    _, blurred = SceneBlur(STILL, (thing,))(wall)
    opacity = soft_shape(np.random.default_rng(3), 64, 64, 0.05)
    seen = 1 - np.mean([np.roll(opacity, -shift, axis=1) for shift in range(-4, 5)], axis=0)
    middle = slice(5, -5)
    assert light(blurred)[:, middle] == pytest.approx(seen[:, middle], abs=0.01)


def test_drawn_scenes():
    generator = BlurGenerator(lengths=(0, 48), defocus_probability=0, scene_probability=1)
    drawn = [generator.draw(np.random.default_rng(n)) for n in range(300)]
    assert all(isinstance(blur, SceneBlur) for blur in drawn)
    counts = np.array([len(blur.objects) for blur in drawn])
    assert (counts > 0).mean() == pytest.approx(0.6, abs=0.08)
    lengths = np.array([length_of(blur.camera, blur.offset) for blur in drawn])
    assert lengths.max() == pytest.approx(48, abs=1.5)
    assert (lengths < 1e-9)[counts > 0].mean() == pytest.approx(0.3, abs=0.1), "a camera on a tripod"
    gammas = {blur.effects.gamma for blur in drawn}
    assert gammas == {None, 1.8, 2.0, 2.2, 2.4}
    again = generator.draw(np.random.default_rng(7))
    clean = texture()
    for one, other in zip(drawn[7](clean), again(clean), strict=True):
        assert np.array_equal(one, other)
    with_plain = [BlurGenerator().draw(np.random.default_rng(n)) for n in range(100)]
    assert 25 < sum(isinstance(blur, SceneBlur) for blur in with_plain) < 60


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (33, 18)])
def test_any_size(size):
    generator = BlurGenerator(
        lengths=(0, 48), defocus_probability=0, scene_probability=1, objects_probability=1
    )
    for seed in range(5):
        sharp, blurred = generator.draw(np.random.default_rng(seed))(texture(*size))
        assert sharp.shape == blurred.shape == (*size, 3)
        assert sharp.dtype == blurred.dtype == np.uint8


@pytest.mark.parametrize("share", [0, 1])
@pytest.mark.parametrize("scene", [0, 1])
def test_the_middle_alone_is_the_middle_of_the_whole(scene, share):
    generator = BlurGenerator(
        lengths=(0, 48), defocus_probability=share, scene_probability=scene,
        noise_probability=0, jpeg_probability=0,
    )  # fmt: skip
    clean = texture(90, 120)
    for seed in range(6):
        blur = generator.draw(np.random.default_rng(seed))
        whole, part = (np.array(blur(clean, *side)) for side in ((), (50,)))
        assert part.shape[-3:] == (50, 50, 3)
        # sums in another order may be rounded to a neighbour
        assert np.abs(whole[..., 20:70, 35:85, :].astype(int) - part).max() <= 1


def test_the_mean_of_frames_is_of_light():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert (mean_of_frames([black, white], CameraEffects()) == 188).all()
    assert (mean_of_frames([black, white], CameraEffects(gamma=2.2)) == round(255 * 0.5 ** (1 / 2.2))).all()
    three = [np.full((4, 4, 3), value, np.uint8) for value in (255, 255, 0)]
    plain, lamps = (mean_of_frames(three, CameraEffects(boost=boost)) for boost in (0.0, 1.0))
    assert (plain == 213).all()
    assert (lamps == 255).all(), "two frames of twice white are more than white"


def test_an_example_of_frames():
    frames = [texture(seed=seed) for seed in range(5)]
    example = Deblurring(BlurGenerator()).of_frames(frames, np.random.default_rng(0))
    assert np.array_equal(example.clean, frames[2])
    assert example.degraded.shape == frames[2].shape
    assert "blur_length" not in example.scalars


def test_a_smooth_motion_rests_in_the_middle():
    for seed in range(5):
        assert not smooth_motion(np.random.default_rng(seed), 9)[4].any()


def test_gamma_is_undone():
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    for gamma in (None, 1.8, 2.2, 2.4):
        effects = CameraEffects(gamma=gamma)
        assert np.array_equal(effects.around(lambda light: light, every), every)
    halves = CameraEffects(gamma=2.2).around(lambda light: light / 2, every)
    assert halves.reshape(-1, 3)[255, 0] == round(255 * 0.5 ** (1 / 2.2))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SceneBlur(np.zeros((4, 4))), "one odd T"),
        (lambda: SceneBlur(np.zeros((5, 3))), "one odd T"),
        (lambda: SceneBlur(np.zeros((5, 4)), (MovingObject(STILL, 0.1, 1.0, 0),)), "one odd T"),
        (lambda: SceneBlur(np.ones((5, 4))), "zero in the middle"),
        (lambda: SceneBlur(np.full((5, 4), np.nan)), "finite"),
        (lambda: CameraEffects(gamma=0.5), "gamma 0.5"),
    ],
)
def test_arguments_out_of_range(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_what_is_no_picture():
    with pytest.raises(DataError, match="a blur takes"):
        SceneBlur(STILL)(np.zeros((4, 4, 3)))
