"""Blur of a scene in motion: a camera that moves in all six axes, and objects that move on their own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from ucdir.degradations.camera_effects import CameraEffects, Light
from ucdir.errors import ConfigError
from ucdir.images.pixels import check_rgb8

if TYPE_CHECKING:
    from torch import Tensor

Motion = npt.NDArray[np.float64]
"""How the image of something moves, at equal intervals of the exposure, [T,4]: shift to the right and down in pixels,
turn in radians, growth (0.01: one hundredth). T is odd, and the row in the middle is zero."""

FRAMES = (5, 33)
"""Fewest and most frames that an exposure is made of; one a pixel of the longest blur in between."""

AT_ONCE = 4
"""Frames that are warped together, so that they stay in a core's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class MovingObject:
    """Something in front of the scene, with a texture taken from elsewhere in the image.

    Args:
        motion: of its image, with turn and growth about its own middle.
        coverage: share of the image that it hides, about.
        gain: that its light is multiplied by.
        seed: of its shape, its place and its texture.
    """

    motion: Motion
    coverage: float
    gain: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class SceneBlur:
    r"""The mean of the frames of an exposure in which the camera and objects move:

        scene_t = A_t L,  then for each object in turn  (1 - m_t) scene_t + m_t o_t        L' = 1/T Σ_t scene_t

    with the warps A_t of the camera's motion, and each object's opacity m_t and light o_t by its own. The frame in the
    middle, in which nothing has moved, is the sharp image. Beyond its borders the image is mirrored.

    To first order, all six axes of a camera come to a `Motion`: yaw, pitch and shifts of the camera shift the image
    (the camera's own shifts the more, the nearer a thing is), roll turns it, and a step forwards makes it grow.

    Args:
        camera: how the image of the background moves.
        objects: from the farthest to the nearest.
        offset: of the image's centre from the point that the background turns and grows about, (x, y) in pixels.
        effects: of the camera around the blur.

    Raises:
        ConfigError: an argument is out of range.
    """

    blur_type: ClassVar[float] = 0.0

    camera: Motion
    objects: tuple[MovingObject, ...] = ()
    offset: tuple[float, float] = (0.0, 0.0)
    effects: CameraEffects = field(default_factory=CameraEffects)

    def __post_init__(self) -> None:
        for motion in (self.camera, *(thing.motion for thing in self.objects)):
            if motion.shape != self.camera.shape or motion.shape[1:] != (4,) or len(motion) % 2 == 0:
                raise ConfigError(
                    f"motions of a scene are [T,4] with one odd T, found shape {list(motion.shape)}."
                )
            if not np.abs(motion).max() < math.inf or motion[len(motion) // 2].any():
                raise ConfigError("motions of a scene are finite, and zero in the middle of the exposure.")

    @property
    def blur_length(self) -> float:
        """Length of the background's blur at the image's centre, as `MotionBlur.blur_length`; NaN with objects."""
        return math.nan if self.objects else length_of(self.camera, self.offset)

    def __call__(self, clean: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """uint8 [H,W,3] -> the sharp image, which is `clean` with the objects in it, and the blurred one, both new.

        Raises:
            DataError: `clean` is of another type or shape, or empty.
        """
        check_rgb8(clean, "a blur")
        blurred = self.effects.around(lambda light: self._mean(light, slice(None)), clean)
        if not self.objects:
            return clean.copy(), blurred
        middle = len(self.camera) // 2
        sharp = CameraEffects(gamma=self.effects.gamma)
        return sharp.around(lambda light: self._mean(light, slice(middle, middle + 1)), clean), blurred

    def _mean(self, light: Light, times: slice) -> Light:
        """The mean of these frames."""
        import torch

        height, width = light.shape[:2]
        camera = self.camera[times]
        x, y = self.offset
        middle = ((width - 1) / 2 - x, (height - 1) / 2 - y)
        reach = _reach(camera, middle, (0, 0, height, width))
        framed = np.pad(light, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
        background = _Layer(_planes(framed), (-reach, -reach), middle, camera, (0, 0, height, width))
        objects = [_object_layer(light, thing, times) for thing in self.objects]
        frames = [background.frames(), *(layer.frames() for layer in objects)]
        total = torch.zeros(3, height, width)
        for scene, *things in zip(*frames, strict=True):
            for layer, thing in zip(objects, things, strict=True):
                top, left, high, wide = layer.box
                part = scene[:, :, top : top + high, left : left + wide]
                part.mul_(1 - thing[:, 3:]).add_(thing[:, :3])
            total += scene.sum(dim=0)
        mean: Light = (total / len(camera)).permute(1, 2, 0).contiguous().numpy()
        return mean


def length_of(motion: Motion, offset: tuple[float, float] = (0.0, 0.0)) -> float:
    """Length in pixels of the straight even blur of an image's centre that spreads as widely as this motion's."""
    x, y = offset
    right, down, turn, growth = motion.T
    moved = np.stack([right + growth * x - turn * y, down + turn * x + growth * y])
    return float(np.sqrt(12 * moved.var(axis=1).sum()))


def smooth_motion(rng: np.random.Generator, frames: int) -> npt.NDArray[np.float64]:
    """A random smooth curve in five dimensions, [frames,5] in no unit, zero in the middle: mostly straight and even."""
    t = np.linspace(-1, 1, frames)[:, None]
    speed, bend, change, wave = rng.standard_normal((4, 5)) * np.array([[1.0], [0.35], [0.25], [0.15]])
    phase = rng.uniform(0, 2 * np.pi, 5)
    shake = np.sin(2 * np.pi * t + phase) - np.sin(phase)
    curve: npt.NDArray[np.float64] = speed * t + bend * t**2 + change * t**3 + wave * shake
    return curve


def draw_scene(
    rng: np.random.Generator,
    length: float,
    lengths: tuple[float, float],
    objects_probability: float,
    effects: CameraEffects,
) -> SceneBlur:
    """A scene whose background is blurred by `length` pixels, often with objects, each by its own length."""
    count = int(rng.integers(1, 4)) if rng.random() < objects_probability else 0
    own_lengths = rng.uniform(*lengths, count)
    if count and lengths[0] == 0 and rng.random() < 0.3:  # a camera on a tripod
        length = 0.0
    longest = max(length, *own_lengths, 0.0)
    frames = min(FRAMES[1], max(FRAMES[0], math.ceil(longest) + 2)) | 1
    offset = (float(rng.uniform(-640, 640)), float(rng.uniform(-360, 360)))
    turning = rng.random() ** 2  # how much roll and growth move a place, beside shifts
    moving = rng.random()  # how much of the shift is the camera's place and not its direction
    axes = smooth_motion(rng, frames), smooth_motion(rng, frames)
    direction, place = axes[0][:, :2] * (1 - moving), axes[0][:, 2:4] * moving
    turn, growth = axes[1][:, 0] * turning / 300, axes[1][:, 1] * turning / 300
    camera = np.column_stack([direction + place, turn, growth])
    scale = length / max(length_of(camera, offset), 1e-9)
    objects = []
    for own in own_lengths:
        motion = smooth_motion(rng, frames)
        motion = np.column_stack(
            [motion[:, :2], motion[:, 2] * rng.random() / 100, motion[:, 3] * rng.random() / 300]
        )
        motion *= own / max(length_of(motion), 1e-9)
        nearness = math.exp(rng.uniform(0, 1))  # the background's distance over the object's
        motion += scale * np.column_stack([direction + nearness * place, turn, growth])
        objects.append(
            MovingObject(
                motion,
                coverage=0.02 * math.exp(rng.uniform(0, math.log(20))),
                gain=math.exp(rng.uniform(-0.7, 0.3)),
                seed=int(rng.integers(2**63)),
            )
        )
    return SceneBlur(camera * scale, tuple(objects), offset, effects)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """Something that moves in front of what lies below."""

    planes: Tensor
    """[C,h,w]; nothing (0) beyond."""
    corner: tuple[int, int]
    """Place of its first pixel in the image, (row, column)."""
    centre: tuple[float, float]
    """That it turns and grows about, (x, y) in the image."""
    motion: Motion
    box: tuple[int, int, int, int]
    """Part of the image that it is seen in: top, left, height, width."""

    def frames(self) -> Iterator[Tensor]:
        """What is seen in the box, [n,C,height,width] for some frames at a time; bilinear."""
        import torch
        import torch.nn.functional as F

        top, left, height, width = self.box
        x = torch.arange(left, left + width, dtype=torch.float32) - self.centre[0]
        y = torch.arange(top, top + height, dtype=torch.float32) - self.centre[1]
        high, wide = self.planes.shape[1:]
        # grid_sample counts from -1 to 1, from edge to edge
        scale_x, scale_y = 2 / wide, 2 / high
        start_x = (self.centre[0] - self.corner[1] + 0.5) * scale_x - 1
        start_y = (self.centre[1] - self.corner[0] + 0.5) * scale_y - 1
        steps = torch.from_numpy(self.motion.astype(np.float32))
        for some in torch.split(steps, AT_ONCE):
            right, down, turn, growth = some[:, :, None].unbind(dim=1)
            grid = torch.empty(len(some), height, width, 2)
            along = ((1 + growth) * x + right) * scale_x + start_x
            across = ((1 + growth) * y + down) * scale_y + start_y
            torch.add(along[:, None], (-scale_x * turn * y)[:, :, None], out=grid[..., 0])
            torch.add((scale_y * turn * x)[:, None], across[:, :, None], out=grid[..., 1])
            yield F.grid_sample(
                self.planes.expand(len(some), -1, -1, -1), grid, padding_mode="zeros", align_corners=False
            )


def _planes(light: Light) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(light.transpose(2, 0, 1)))


def _reach(motion: Motion, centre: tuple[float, float], box: tuple[int, int, int, int]) -> int:
    """Pixels by which nothing in the box is moved farther; the corners move the most."""
    top, left, height, width = box
    corners_x = np.array([left, left + width - 1]) - centre[0]
    corners_y = np.array([top, top + height - 1]) - centre[1]
    right, down, turn, growth = np.abs(motion).max(axis=0)
    x, y = np.abs(corners_x).max(), np.abs(corners_y).max()
    farthest = float(max(right + growth * x + turn * y, down + growth * y + turn * x))
    return math.ceil(farthest) + 1 if farthest else 0


def _object_layer(light: Light, thing: MovingObject, times: slice) -> _Layer:
    """The object's light, dimmed by its opacity, and the opacity: [4,h,w]."""
    height, width = light.shape[:2]
    rng = np.random.default_rng(thing.seed)
    opacity = soft_shape(rng, height, width, thing.coverage)
    rows, columns = np.flatnonzero(opacity.any(axis=1)), np.flatnonzero(opacity.any(axis=0))
    top, left, bottom, end = (
        (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1) if len(rows) else (0, 0, 1, 1)
    )
    high, wide = int(bottom - top), int(end - left)
    # the texture comes from another place, the other way round
    from_top, from_left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
    texture = light[::-1, ::-1][from_top : from_top + high, from_left : from_left + wide]
    alpha = opacity[top:bottom, left:end, None]
    rgba = np.concatenate([texture * (np.float32(thing.gain) * alpha), alpha], axis=2)
    centre = ((left + end - 1) / 2, (top + bottom - 1) / 2)
    motion = thing.motion[times]
    reach = _reach(motion, centre, (int(top), int(left), high, wide))
    up, back = max(0, int(top) - reach), max(0, int(left) - reach)
    box = (up, back, min(height, int(bottom) + reach) - up, min(width, int(end) + reach) - back)
    return _Layer(_planes(rgba), (int(top), int(left)), centre, motion, box)


def soft_shape(rng: np.random.Generator, height: int, width: int, coverage: float) -> npt.NDArray[np.float32]:
    """The opacity of a random round shape with an uneven soft edge, [height,width] in [0,1]."""
    radius = math.sqrt(coverage * height * width / math.pi)
    slender = math.exp(rng.uniform(-0.7, 0.7))
    turned = rng.uniform(0, math.pi)
    x = (np.arange(width, dtype=np.float32) - np.float32(rng.uniform(0, width)))[None]
    y = (np.arange(height, dtype=np.float32) - np.float32(rng.uniform(0, height)))[:, None]
    along = (math.cos(turned) * x + math.sin(turned) * y) * (slender / radius)
    across = (math.cos(turned) * y - math.sin(turned) * x) / (slender * radius)
    distance = np.sqrt(along**2 + across**2)
    for waves in (1, 2, 4):  # an outline with bays and capes
        toward = rng.uniform(0, 2 * math.pi)
        step = waves * 2.2 / radius
        wave = math.cos(toward) * step * x + (math.sin(toward) * step * y + rng.uniform(0, 2 * math.pi))
        distance += np.sin(wave) * (0.25 / waves)
    softness = math.exp(rng.uniform(math.log(1.0), math.log(4.0)))  # pixels, about
    shape: npt.NDArray[np.float32] = np.clip((1 - distance) * (radius / softness) + 0.5, 0, 1)
    return shape
