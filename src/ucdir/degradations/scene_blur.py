"""Blur of a scene in motion: a camera that moves in all six axes, and objects that move on their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from ucdir.degradations.camera_effects import CameraEffects, Light
from ucdir.degradations.warp import AT_ONCE, Box, middle_box, mirrored_planes, sampled, to_light, to_planes
from ucdir.errors import ConfigError
from ucdir.extras import optional_module

if TYPE_CHECKING:
    from torch import Tensor

Motion = npt.NDArray[np.float64]
"""How the image of something moves, at equal intervals of the exposure, [T,4]: shift to the right and down in pixels,
turn in radians, growth (0.01: one hundredth). T is odd, and the row in the middle is zero."""

FRAMES = (5, 33)
"""Fewest and most frames that an exposure is made of: about one for each pixel of the longest blur."""


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

    def __call__(
        self, clean: npt.NDArray[np.uint8], side: int | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """The sharp image, which is `clean` with the objects in it, and the blurred one.

        Args:
            clean: uint8 [H,W,3].
            side: at most so many pixels a side of the middle are made; None for all.

        Returns:
            two new arrays, uint8 [h,w,3] each.

        Raises:
            DataError: `clean` is of another type or shape, or empty.
        """
        light = self.effects.light(clean)
        box = middle_box(light, side)
        shapes = {
            thing: shape
            for thing in self.objects
            if (shape := _Shape.of(thing, *clean.shape[:2])) is not None
        }
        blurred = self.effects.pixels(self._blurred(light, shapes, box))
        if shapes:  # lamps brighter than white are blurred so, but white in the sharp image
            plain = CameraEffects(gamma=self.effects.gamma)
            clean = plain.pixels(_with_objects(plain.light(clean), [*shapes.values()]))
        top, left, height, width = box
        return clean[top : top + height, left : left + width].copy(), blurred

    def _blurred(self, light: Light, shapes: Mapping[MovingObject, _Shape], box: Box) -> Light:
        torch = optional_module("torch", "torch", "blurring")

        top, left, height, width = box
        x, y = self.offset
        centre = ((light.shape[1] - 1) / 2 - x, (light.shape[0] - 1) / 2 - y)
        reach = _reach(self.camera, centre, box)
        planes = mirrored_planes(light, box, reach)
        background = _Layer(planes, (top - reach, left - reach), centre, self.camera, box)
        layers = (_layer(light, thing, shape, box) for thing, shape in shapes.items())
        objects = [layer for layer in layers if layer is not None]
        total = torch.zeros(3, height, width)
        for first in range(0, len(self.camera), AT_ONCE):
            times = slice(first, first + AT_ONCE)
            # a camera on a tripod sees one background
            scene = background.frames(times) if reach else planes.repeat(len(self.camera[times]), 1, 1, 1)
            for thing in objects:
                up, back, high, wide = thing.box
                part = scene[:, :, up - top : up - top + high, back - left : back - left + wide]
                seen = thing.frames(times)
                part.addcmul_(part, seen[:, 3:], value=-1).add_(seen[:, :3])
            total += scene.sum(dim=0)
        return to_light(total / len(self.camera))


def length_of(motion: Motion, offset: tuple[float, float] = (0.0, 0.0)) -> float:
    """Length in pixels of the straight even blur of an image's centre that spreads as widely as this motion's."""
    x, y = offset
    right, down, turn, growth = motion.T
    moved = np.stack([right + growth * x - turn * y, down + turn * x + growth * y])
    return float(np.sqrt(12 * moved.var(axis=1).sum()))


def smooth_motion(rng: np.random.Generator, frames: int) -> npt.NDArray[np.float64]:
    """A random smooth curve in four dimensions, [frames,4] in no unit, zero in the middle: mostly straight and even."""
    t = np.linspace(-1, 1, frames)[:, None]
    speed, bend, change, wave = rng.standard_normal((4, 4)) * np.array([[1.0], [0.35], [0.25], [0.15]])
    phase = rng.uniform(0, 2 * np.pi, 4)
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
    if rng.random() < 0.2:  # seen in steps, as where the frames of a film were averaged
        frames = min(frames, int(rng.integers(3, 7)) * 2 + 1)
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
class _Shape:
    """An object's opacity in the middle of the exposure, and where its texture comes from."""

    top: int
    left: int
    opacity: Light
    """[h,w,1], the smallest rectangle with all that is not 0."""
    texture: tuple[int, int]
    """Row and column in the image turned by half a circle."""
    gain: np.float32

    @classmethod
    def of(cls, thing: MovingObject, height: int, width: int) -> _Shape | None:
        """Its shape in an image of this size; None where nothing of it can be seen."""
        rng = np.random.default_rng(thing.seed)
        opacity = soft_shape(rng, height, width, thing.coverage)
        rows, columns = np.flatnonzero(opacity.any(axis=1)), np.flatnonzero(opacity.any(axis=0))
        if not len(rows):
            return None
        top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
        texture = rng.integers(height - bottom + top + 1), rng.integers(width - right + left + 1)
        return cls(
            top,
            left,
            opacity[top:bottom, left:right, None],
            (int(texture[0]), int(texture[1])),
            np.float32(thing.gain),
        )

    def light(self, light: Light) -> Light:
        """Its light, dimmed by its opacity: [h,w,3]."""
        (height, width, _), (top, left) = self.opacity.shape, self.texture
        texture = light[::-1, ::-1][top : top + height, left : left + width]
        return texture * (self.gain * self.opacity)


def _with_objects(light: Light, shapes: Sequence[_Shape]) -> Light:
    """The frame in the middle."""
    scene = light.copy()
    for shape in shapes:
        height, width, _ = shape.opacity.shape
        part = scene[shape.top : shape.top + height, shape.left : shape.left + width]
        part *= 1 - shape.opacity
        part += shape.light(light)
    return scene


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
    box: Box
    """Part of the image that it is seen in."""

    def frames(self, times: slice) -> Tensor:
        """What is seen in the box at these times, [T,C,height,width]."""
        import torch

        top, left, height, width = self.box
        x = torch.arange(left, left + width, dtype=torch.float32) - self.centre[0]
        y = torch.arange(top, top + height, dtype=torch.float32) - self.centre[1]
        high, wide = self.planes.shape[1:]
        # grid_sample counts from -1 to 1, from edge to edge
        scale_x, scale_y = 2 / wide, 2 / high
        start_x = (self.centre[0] - self.corner[1] + 0.5) * scale_x - 1
        start_y = (self.centre[1] - self.corner[0] + 0.5) * scale_y - 1
        motion = torch.from_numpy(self.motion[times].astype(np.float32))
        right, down, turn, growth = motion[:, :, None].unbind(dim=1)
        grid = torch.empty(len(motion), height, width, 2)
        along = ((1 + growth) * x + right) * scale_x + start_x
        across = ((1 + growth) * y + down) * scale_y + start_y
        torch.add(along[:, None], (-scale_x * turn * y)[:, :, None], out=grid[..., 0])
        torch.add((scale_y * turn * x)[:, None], across[:, :, None], out=grid[..., 1])
        return sampled(self.planes, grid)


def _layer(light: Light, thing: MovingObject, shape: _Shape, box: Box) -> _Layer | None:
    """The object as it is seen in the box; None if it never is."""
    height, width, _ = shape.opacity.shape
    centre = (shape.left + (width - 1) / 2, shape.top + (height - 1) / 2)
    reach = _reach(thing.motion, centre, (shape.top, shape.left, height, width))
    top, left = max(box[0], shape.top - reach), max(box[1], shape.left - reach)
    high = min(box[0] + box[2], shape.top + height + reach) - top
    wide = min(box[1] + box[3], shape.left + width + reach) - left
    if min(high, wide) <= 0:
        return None
    planes = to_planes(np.concatenate([shape.light(light), shape.opacity], axis=2))
    return _Layer(planes, (shape.top, shape.left), centre, thing.motion, (top, left, high, wide))


def _reach(motion: Motion, centre: tuple[float, float], box: Box) -> int:
    """Pixels by which nothing in the box is moved farther; the corners move the most."""
    top, left, height, width = box
    right, down, turn, growth = np.abs(motion).max(axis=0)
    x = max(abs(left - centre[0]), abs(left + width - 1 - centre[0]))
    y = max(abs(top - centre[1]), abs(top + height - 1 - centre[1]))
    farthest = float(max(right + growth * x + turn * y, down + growth * y + turn * x))
    return math.ceil(farthest) + 1 if farthest else 0


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
