"""Blur of a shaken camera or of a lens out of focus, in light and not in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from ucdir.degradations.camera_effects import CameraEffects, Light
from ucdir.degradations.scene_blur import SceneBlur, draw_scene
from ucdir.degradations.warp import AT_ONCE, Box, middle_box, mirrored_planes, sampled, to_light
from ucdir.errors import ConfigError
from ucdir.extras import optional_module
from ucdir.section import Probability, Section

Path3 = npt.NDArray[np.float64]
"""Rotations of the camera at equal intervals of the exposure, [T,3]: yaw, pitch and roll in radians."""

MAX_LENGTH = 48.0
"""Longest blur in pixels."""
MAX_ANGLE = 0.5
"""No rotation of a shaken camera is as large, in radians."""

TONE_CURVES = (None, 1.8, 2.0, 2.2, 2.2, 2.4)
"""Gammas of cameras (None: the curve of sRGB); 2.2 is that of the blurred pictures of the GoPro data set."""

Length = Annotated[float, Field(ge=0, le=MAX_LENGTH)]
FrameCount = Annotated[int, Field(ge=1, le=999)]
FocalLength = Annotated[float, Field(ge=1)]


@dataclass(frozen=True, slots=True, eq=False)
class MotionBlur:
    r"""Camera shake: the mean of what the turning camera sees, different in every part of the image.

        L'(p) = 1/T Σ_t L( K R_t K⁻¹ p ),   R_t = roll · pitch · yaw,   K = diag(f, f, 1)

    with pixels p counted from the principal point, where the lens looks. Yaw and pitch move the whole image, roll
    turns it about the principal point. Beyond its borders the image is mirrored.

    Args:
        rotations: at equal intervals of the exposure, [T,3]: yaw, pitch, roll in radians.
        focal_length: f in pixels.
        offset: of the image's centre from the principal point, (x, y) in pixels: a crop may lie in a corner.
        effects: of the camera around the blur.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> turn = np.array([[-0.002, 0, 0], [0, 0, 0], [0.002, 0, 0]])
        >>> blur = MotionBlur(turn, focal_length=1000.0)
        >>> round(blur.blur_length, 1)  # three points at -2, 0 and 2 pixels
        5.7
    """

    blur_type: ClassVar[float] = 0.0

    rotations: Path3
    focal_length: float = 1000.0
    offset: tuple[float, float] = (0.0, 0.0)
    effects: CameraEffects = field(default_factory=CameraEffects)

    def __post_init__(self) -> None:
        path = np.asarray(self.rotations, dtype=np.float64)
        if path.ndim != 2 or path.shape[1] != 3 or not len(path) or not np.abs(path).max() < MAX_ANGLE:
            raise ConfigError(
                f"rotations of the motion blur are [T,3] in radians, each below {MAX_ANGLE}, found shape "
                f"{list(path.shape)}."
            )
        if not 1 <= self.focal_length < math.inf:
            raise ConfigError(f"focal_length {self.focal_length} of the motion blur is not 1 pixel or more.")
        path = path.copy()
        path.setflags(write=False)
        object.__setattr__(self, "rotations", path)

    @property
    def blur_length(self) -> float:
        """Length in pixels of the straight even blur that spreads a point at the image's centre as widely.

        A straight path of length ℓ has the variance ℓ²/12, so ℓ = √(12 · variance) for any path.
        """
        seen = _displaced(np.zeros((1, 2)), self)[:, 0]
        return float(np.sqrt(12 * seen.var(axis=0).sum()))

    def __call__(self, clean: npt.NDArray[np.uint8], side: int | None = None) -> npt.NDArray[np.uint8]:
        """uint8 [H,W,3] -> uint8 [H,W,3], a new array; with `side`, at most so many pixels a side of its middle.

        Raises:
            DataError: `clean` is of another type or shape, or empty.
        """
        return self.effects.around(lambda light: self._blurred(light, middle_box(light, side)), clean)

    def _blurred(self, light: Light, box: Box) -> Light:
        top, left, height, width = box
        if not self.rotations.any():
            return light[top : top + height, left : left + width]
        torch = optional_module("torch", "torch", "blurring")

        # of the box's columns and rows from the image's centre
        x = np.arange(left, left + width) - (light.shape[1] - 1) / 2
        y = np.arange(top, top + height) - (light.shape[0] - 1) / 2
        corners = np.array([(across, down) for across in x[[0, -1]] for down in y[[0, -1]]])
        reach = math.ceil(float(np.abs(_displaced(corners, self)).max())) + 1
        planes = mirrored_planes(light, box, reach)
        # from the planes' centre, in halves of their sides, as grid_sample counts
        size = np.array([planes.shape[2] / 2, planes.shape[1] / 2])
        shift = -(np.array([x[0] + x[-1], y[0] + y[-1]]) / 2 + self.offset) / size
        turned = _rotations(self.rotations)
        turned[:, :2] *= self.focal_length / size[:, None]
        columns = turned[:, :, 0, None] * (x + self.offset[0])
        rows = turned[:, :, 1, None] * (y + self.offset[1]) + turned[:, :, 2, None] * self.focal_length
        columns, rows = (torch.from_numpy(part.astype(np.float32)) for part in (columns, rows))
        total = torch.zeros(3, height, width)
        for first in range(0, len(turned), AT_ONCE):
            times = slice(first, first + AT_ONCE)
            seen = columns[times, :, None, :] + rows[times, :, :, None]
            grid = seen[:, :2].div_(seen[:, 2:]).permute(0, 2, 3, 1) + torch.tensor(
                shift, dtype=torch.float32
            )
            total += sampled(planes, grid).sum(dim=0)
        return to_light(total / len(turned))


def _rotations(path: Path3) -> npt.NDArray[np.float64]:
    """roll · pitch · yaw, [T,3,3]: yaw about the vertical axis, pitch about the horizontal one, roll about the optical
    one."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(path.T), np.sin(path.T)
    o, i = np.zeros(len(path)), np.ones(len(path))
    yaw = np.array([[cy, o, sy], [o, i, o], [-sy, o, cy]])
    pitch = np.array([[i, o, o], [o, cp, sp], [o, -sp, cp]])
    roll = np.array([[cr, -sr, o], [sr, cr, o], [o, o, i]])
    turned: npt.NDArray[np.float64] = np.einsum("ijt,jkt,klt->til", roll, pitch, yaw)
    return turned


def _displaced(pixels: npt.NDArray[np.float64], blur: MotionBlur) -> npt.NDArray[np.float64]:
    """How far pixels [P,2], counted from the image's centre, are moved at each time: [T,P,2]."""
    start = pixels + blur.offset
    seen = _rotations(blur.rotations) @ np.column_stack([start, np.full(len(start), blur.focal_length)]).T
    displaced: npt.NDArray[np.float64] = (blur.focal_length * seen[:, :2] / seen[:, 2:]).transpose(
        0, 2, 1
    ) - start
    return displaced


@dataclass(frozen=True, slots=True)
class DefocusBlur:
    r"""A lens out of focus: every point becomes a disc.

        L' = L * k,   k(p) = share of pixel p within the radius r of its centre, divided by the sum of all

    Args:
        radius: r in pixels, 0 or more.
        effects: of the camera around the blur.

    Raises:
        ConfigError: the radius is out of range.

    Example:
        >>> DefocusBlur(radius=3.0).blur_length
        6.0
    """

    blur_type: ClassVar[float] = 1.0

    radius: float
    effects: CameraEffects = field(default_factory=CameraEffects)

    def __post_init__(self) -> None:
        if not 0 <= self.radius <= MAX_LENGTH / 2:
            raise ConfigError(
                f"radius {self.radius} of the defocus is not between 0 and {MAX_LENGTH / 2:g} pixels."
            )

    @property
    def blur_length(self) -> float:
        """Diameter of the disc in pixels."""
        return 2 * self.radius

    def kernel(self) -> Light:
        """k, [n,n] with n odd, adding up to 1; each pixel by 8x8 points of it."""
        reach = math.ceil(self.radius + 0.5)
        points = (np.arange(-reach * 8 - 4, reach * 8 + 4) + 0.5) / 8
        inside = points[:, None] ** 2 + points**2 <= max(self.radius, 1e-6) ** 2
        n = 2 * reach + 1
        share = inside.reshape(n, 8, n, 8).mean(axis=(1, 3))
        if not share.any():
            share[reach, reach] = 1.0
        kernel: Light = (share / share.sum()).astype(np.float32)
        return kernel

    def __call__(self, clean: npt.NDArray[np.uint8], side: int | None = None) -> npt.NDArray[np.uint8]:
        """As that of `MotionBlur`."""
        return self.effects.around(lambda light: self._blurred(light, middle_box(light, side)), clean)

    def _blurred(self, light: Light, box: Box) -> Light:
        torch = optional_module("torch", "torch", "blurring")

        kernel = self.kernel()
        reach = len(kernel) // 2
        planes = mirrored_planes(light, box, reach)
        size = planes.shape[1:]
        spectrum = torch.fft.rfft2(planes) * torch.fft.rfft2(torch.from_numpy(kernel), s=size)
        blurred = torch.fft.irfft2(spectrum, s=size)[:, 2 * reach :, 2 * reach :]
        return to_light(blurred)


class BlurGenerator(Section):
    """Draws blurs.

    The path of a camera is that of a particle with inertia that is pulled back to where it started, trembles all the
    time and now and then is knocked (after Boracchi and Foi 2012), in all three rotations. Half of the paths hardly
    tremble: short smooth curves, as between the frames of a film. Each is scaled to a length uniform over `lengths`.

    Example:
        >>> generator = BlurGenerator(lengths=(8.0, 8.0), defocus_probability=0.0, scene_probability=0.0)
        >>> round(generator.draw(np.random.default_rng(0)).blur_length, 2)
        8.0
    """

    frames: tuple[FrameCount, FrameCount] = (5, 25)
    """Fewest and most frames of a film (`data.frames`) that make one exposure."""
    lengths: tuple[Length, Length] = (0.0, 32.0)
    """Shortest and longest blur in pixels."""
    defocus_probability: Probability = 0.15
    """Share of the crops that are out of focus instead of shaken."""
    scene_probability: Probability = 0.5
    """Share of the shaken crops whose camera moves in all six axes, and in which objects move on their own."""
    objects_probability: Probability = 0.6
    """Share of those with one to three objects."""
    sharp_probability: Probability = 0.03
    """Share of blurs of length 0, where `lengths` begins at 0."""
    focal_lengths: tuple[FocalLength, FocalLength] = (600.0, 2000.0)
    """Shortest and longest, in pixels of an image about 1300 pixels wide."""
    noise_probability: Probability = 0.5
    """Share with noise, whose variance at white is at most 0.001."""
    jpeg_probability: Probability = 0.5
    """Share that is saved as a JPEG file of quality 80 to 100 in the end."""
    boost_probability: Probability = 0.3
    """Share whose highlights are brighter than white, at most three times."""
    unknown_probability: Probability = 0.4
    """Share of the crops whose kind of blur is not given to the model, and of those whose length is not given."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name, (low, high) in (
            ("lengths", self.lengths), ("focal_lengths", self.focal_lengths), ("frames", self.frames)
        ):  # fmt: skip
            if low > high:
                raise ValueError(f"{name} {[low, high]}: the shortest comes first")
        return self

    def draw(self, rng: np.random.Generator) -> MotionBlur | DefocusBlur | SceneBlur:
        """One blur, and what the camera does around it."""
        kind, sharp, level = rng.random(3)
        length = self.lengths[0] + level * (self.lengths[1] - self.lengths[0])
        if sharp < self.sharp_probability and self.lengths[0] == 0:
            length = 0.0
        effects = self.draw_effects(rng)
        if kind < self.defocus_probability:
            return DefocusBlur(length / 2, effects)
        if self.scene_probability and rng.random() < self.scene_probability:
            effects = self.draw_effects(rng, of_film=True)
            return draw_scene(rng, length, self.lengths, self.objects_probability, effects)
        focal_length = rng.uniform(*self.focal_lengths)
        offset = (rng.uniform(-640, 640), rng.uniform(-360, 360))
        samples = max(2, math.ceil(1.4 * length) + 1)  # close enough that single points do not show
        path = camera_path(rng, samples, trembling=0.0 if rng.random() < 0.5 else rng.random())
        path[:, 2] *= rng.random() * focal_length / 600  # a roll moves the border as far as a yaw at most
        path = (path - path.mean(axis=0)) * (1e-2 / np.abs(path).max())
        for _ in range(3):  # displacements are all but proportional to the angles
            # a roll about a point near the centre can be no long blur there
            largest = 0.99 * MAX_ANGLE / np.abs(path).max()
            path *= min(largest, length / MotionBlur(path, focal_length, offset).blur_length)
            if length == 0:
                break
        return MotionBlur(path, focal_length, offset, effects)

    def draw_effects(self, rng: np.random.Generator, *, of_film: bool = False) -> CameraEffects:
        """What a camera does around a blur; with `of_film` its tone curve is drawn, too."""
        noisy, saved, boosted = rng.random(3) < (
            self.noise_probability, self.jpeg_probability, self.boost_probability
        )  # fmt: skip
        strength, quality, boost = rng.random(3)
        return CameraEffects(
            boost=2 * float(boost) if boosted else 0.0,
            shot=1e-3 * float(strength) ** 3 if noisy else 0.0,
            read=1e-4 * float(strength) ** 3 if noisy else 0.0,
            jpeg_quality=80 + int(quality * 21) if saved else None,
            seed=int(rng.integers(2**63)),
            gamma=TONE_CURVES[int(rng.integers(len(TONE_CURVES)))] if of_film else None,
        )


def camera_path(rng: np.random.Generator, samples: int, trembling: float) -> Path3:
    """Rotations of a hand-held camera, [samples,3] in no unit; `trembling` 0 (a smooth curve) to 1."""
    points = 96
    speed = rng.standard_normal(3)
    speed /= np.linalg.norm(speed)
    place, path = np.zeros(3), np.empty((points, 3))
    shakes = rng.standard_normal((points, 3)) * (0.5 * trembling)
    knocks = rng.random(points) < 0.04 * trembling
    curve = rng.standard_normal(3) * 0.02
    for t in range(points):
        path[t] = place
        push = shakes[t] + curve - 0.002 * place
        if knocks[t]:  # a sudden turn, about back
            push = push - 2 * speed * (0.5 + rng.random())
        speed = speed + 0.6 * push
        speed /= max(float(np.linalg.norm(speed)), 1e-9)
        place = place + speed
    # equal intervals of time; the middle of the exposure is kept in the middle
    times = np.linspace(0, points - 1, samples)
    return np.stack([np.interp(times, np.arange(points), path[:, axis]) for axis in range(3)], axis=1)
