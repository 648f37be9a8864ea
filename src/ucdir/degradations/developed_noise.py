"""Noise of a photo that its camera has developed: demosaiced, balanced, denoised, sharpened, saved as a JPEG file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from ucdir.degradations.jpeg_compression import JpegCompression
from ucdir.degradations.sensors import (
    Matrix,
    Sensor,
    SensorNoise,
    draw_matrix,
    draw_white_balance,
    tukey_lambda,
)
from ucdir.errors import ConfigError
from ucdir.images.camera import SPAN, linear_to_srgb, srgb_to_linear
from ucdir.images.pixels import check_rgb8
from ucdir.section import Probability, Section

Floats = npt.NDArray[np.float32]
Push = Annotated[float, Field(ge=1, le=1000)]
Quality = Annotated[int, Field(ge=1, le=100)]
Gains = tuple[float, float, float, float]
"""Of what is about 1, 2, 4 and 8 pixels wide."""

RGB_TO_YCC: Final = np.array(
    [[0.299, 0.587, 0.114], [-0.299, -0.587, 0.886], [0.701, -0.587, -0.114]], np.float32
)
"""To luma, blue minus luma, red minus luma."""
WIDTHS: Final = np.array([1, 2, 4, 8])
"""What noise is told apart by, in pixels."""
SHARES: Final = np.array([0.86, 0.11, 0.024, 0.006])
"""Of the variance of white noise that has these widths, about."""
BLOWN: Final = 1.25
"""Light of a channel at 255, which stands for all that was too bright: noise seldom shows in it."""


@dataclass(frozen=True, slots=True)
class DevelopedNoise:
    r"""The noise of an ordinary photo at a high ISO, as phones and cameras write it.

    Whatever a camera does to a photo, the clean one has been through as well, so only the noise is simulated: it goes
    through each step as it would in the photo, and is added to the clean one.

        L = T⁻¹( clean )                                       light, in the camera's colours for the noise
        n = P/w · D - l,   D = K · Poisson( l w / (P K) ) + N_read + N_row + N_quant,   l = L at a Bayer mosaic's sites
        y = T( L + M · demosaic( n ) )                         in linear sRGB, clipped to [0,1]
        x = JPEG( clean + g · ( y - clean ) )                  g: denoising and sharpening, by scale

    1. `D`, `K` and `w` are those of `LowLightNoise`; `P` is what the photo was amplified by after the sensor.
    2. Demosaicing is linear, so it does to the noise what it does to both together: bilinear, to some part of the
       differences to green, which correlates the colours. `resized` photos had twice the size, and each pixel has
       all three colours.
    3. `T` is sRGB's curve and an S-curve after it; `M` white balance and colour matrix.
    4. `g` multiplies luma and chroma of about 1, 2, 4 and 8 pixels each by a gain: below 1 denoises, above 1
       sharpens. Where the photo itself varies more than the noise, luma is denoised less.

    Args:
        sensor: its noise; the colour bias is left out, as cameras measure black.
        push: P; below 1 for a photo of more light than a single exposure gathers.
        white_balance: gains of R, G, B; the smallest is 1.
        colours: balanced camera colours to linear sRGB, 3x3, rows adding up to 1.
        contrast: of the S-curve, 0 (none) to 1.
        differences: how much of the differences to green is interpolated instead of red and blue, 0 to 1.
        resized: whether the photo was demosaiced at twice its size.
        uniform: whether the noise is that of mid-grey everywhere, as in scans of film and after some programs.
        luma: g of luma.
        chroma: g of chroma.
        jpeg: the file it was saved as, or None.
        shift: rows and columns that were cut off the JPEG's first 8x8 block.
        seed: of the noise; the same object degrades the same image in the same way.

    Raises:
        ConfigError: an argument is out of range.
    """

    sensor: SensorNoise
    push: float = 1.0
    white_balance: tuple[float, float, float] = (2.0, 1.0, 1.7)
    colours: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    contrast: float = 0.0
    differences: float = 0.5
    resized: bool = False
    uniform: bool = False
    luma: Gains = (1.0, 1.0, 1.0, 1.0)
    chroma: Gains = (1.0, 1.0, 1.0, 1.0)
    jpeg: JpegCompression | None = None
    shift: tuple[int, int] = (0, 0)
    seed: int = 0

    def __post_init__(self) -> None:
        if not (
            self.sensor.gain > 0 and self.push > 0 and 0 <= self.contrast <= 1 and 0 <= self.differences <= 1
        ):
            raise ConfigError(
                f"developed noise: gain {self.sensor.gain} and push {self.push} are positive, contrast "
                f"{self.contrast} and differences {self.differences} are within [0,1]; choose such numbers."
            )

    def __call__(self, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The noisy photo of a clean one: uint8 [H,W,3] -> uint8 [H,W,3], a new array.

        Raises:
            DataError: `clean` is of another type or shape, or empty.
        """
        check_rgb8(clean, "developed noise")
        noisy: npt.NDArray[np.uint8] = np.rint(np.clip(clean + self._noise(clean), 0, 255)).astype(np.uint8)
        if self.jpeg is None:
            return noisy
        top, left = self.shift
        framed = np.pad(noisy, ((top, 0), (left, 0), (0, 0)), mode="symmetric") if top or left else noisy
        saved: npt.NDArray[np.uint8] = self.jpeg(framed)[top:, left:].copy()
        return saved

    def long_exposure(self, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The photo without noise: the clean one."""
        return clean

    @property
    def exposure_ratio(self) -> float:
        """1: the photo is as bright as it was taken."""
        return 1.0

    @property
    def gain(self) -> float:
        """K, digital numbers an electron."""
        return self.sensor.gain

    @property
    def noise_strength(self) -> float:
        """Standard deviation of the noise in a mid-grey (sRGB 0.5) area of the result, before JPEG, in 8-bit levels."""
        noise = self._noise(np.full((48, 48, 3), 128, np.uint8))
        return min(255.0, float(math.sqrt(noise.var(axis=(0, 1)).mean())))

    def _noise(self, clean: npt.NDArray[np.uint8]) -> Floats:
        """y - clean after denoising, float32 [H,W,3] in levels."""
        height, width = clean.shape[:2]
        even = np.pad(clean, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        levels = np.full_like(even, 128) if self.uniform else even
        light = np.moveaxis(self._light_of_levels()[levels], 2, 0)
        matrix = np.asarray(self.colours, np.float32)
        camera = np.maximum(_mixed(np.linalg.inv(matrix), light), 0)
        noise = _mixed(matrix, self._demosaiced(camera))
        # the odd part alone: a curve bends the mean of many noisy photos, which real pairs hold as the clean one
        noise = self._levels_of_light(light + noise) - self._levels_of_light(light - noise)
        noise *= np.float32(0.5)
        if self.luma != (1, 1, 1, 1) or self.chroma != (1, 1, 1, 1):
            noise = self._filtered(noise, even)
        return np.moveaxis(noise[:, :height, :width], 0, 2)

    def _levels_of_light(self, light: Floats) -> Floats:
        """T, in levels."""
        return s_curve(linear_to_srgb(light), self.contrast) * np.float32(255)

    def _light_of_levels(self) -> Floats:
        """T⁻¹ of the 256 levels."""
        levels = np.linspace(0, 1, 256, dtype=np.float32)
        srgb = np.interp(levels, s_curve(levels, self.contrast), levels)
        light: Floats = srgb_to_linear(srgb).astype(np.float32)
        light[-1] = BLOWN
        return light

    def _demosaiced(self, light: Floats) -> Floats:
        """Noise in balanced light [3,H,W], of the sensor under `light`."""
        rng = np.random.default_rng(self.seed)
        balance = np.asarray(self.white_balance, np.float32)[:, None, None]
        height, width = light.shape[1:]
        if self.resized:  # the mean of the two greens of each 2x2 pixels; rows as those of R and G
            noise: Floats = self._sensor_noise(light / balance, rng) * balance
            noise[1] *= np.float32(math.sqrt(0.5))
            return noise
        masks = np.zeros((3, height, width), np.float32)
        for channel, top, left in ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1)):  # R G / G B
            masks[channel, top::2, left::2] = 1
        sites = (light / balance * masks).sum(axis=0)
        mosaic = self._sensor_noise(sites, rng) * (balance * masks).sum(axis=0)
        green = masks[1] * mosaic
        green += (1 - masks[1]) * _cross(green)
        differences = np.float32(self.differences)
        red, blue = (
            4 * _smooth(masks[c] * (mosaic - differences * green), 1) + differences * green for c in (0, 2)
        )
        return np.stack([red, green, blue])

    def _sensor_noise(self, light: Floats, rng: np.random.Generator) -> Floats:
        """P/w D - l of light at the sensor's sites, float32 [...,H,W]."""
        gain, scale, shape, row_std, _ = self.sensor
        unit = self.push / SPAN
        numbers = rng.poisson(light / np.float32(gain * unit)).astype(np.float32) * np.float32(gain)
        numbers += np.float32(scale) * tukey_lambda(rng.random(light.shape, dtype=np.float32), shape)
        numbers += rng.normal(0, row_std, (light.shape[-2], 1)).astype(np.float32)
        numbers += rng.random(light.shape, dtype=np.float32) - np.float32(0.5)
        return numbers * np.float32(unit) - light

    def _filtered(self, noise: Floats, clean: npt.NDArray[np.uint8]) -> Floats:
        """g · noise [3,H,W]."""
        rest = _mixed(RGB_TO_YCC, noise)
        photo = np.tensordot(clean.astype(np.float32), RGB_TO_YCC[0], axes=1)
        variance = rest[0].var() + np.float32(1e-6)
        busy = np.maximum(_smooth(_smooth(photo * photo, 1), 2) - _smooth(_smooth(photo, 1), 2) ** 2, 0)
        flat = variance / (variance + busy)  # 1 where the photo is smooth, 0 at its edges
        result = np.zeros_like(rest)
        for level, gains in enumerate(zip(self.luma, self.chroma, strict=True)):
            smooth = _smooth(rest, 2**level)
            detail = rest - smooth
            result[0] += detail[0] * (1 + (np.float32(gains[0]) - 1) * flat)
            result[1:] += detail[1:] * np.float32(gains[1])
            rest = smooth
        return _mixed(np.linalg.inv(RGB_TO_YCC), result + rest)


def s_curve(values: Floats, contrast: float) -> Floats:
    """An S-curve from 0 to 1: (1-c) v + c (3 v² - 2 v³)."""
    c = np.float32(contrast)
    return (1 - c) * values + c * values * values * (3 - 2 * values)


def _gains(values: npt.NDArray[np.float64]) -> Gains:
    first, second, third, fourth = values.tolist()
    return first, second, third, fourth


def _mixed(matrix: npt.ArrayLike, planes: Floats) -> Floats:
    """Colours [3,H,W] by a 3x3 matrix."""
    flat = planes.reshape(3, -1)
    mixed: Floats = np.asarray(matrix, np.float32) @ flat
    return mixed.reshape(planes.shape)


def _smooth(planes: Floats, distance: int) -> Floats:
    """By 1/4, 1/2, 1/4 at a distance, along the last two axes; beyond a border lies the opposite one."""
    for axis in (-1, -2):
        around = np.roll(planes, distance, axis)
        around += np.roll(planes, -distance, axis)
        planes = around * np.float32(0.25) + planes * np.float32(0.5)
    return planes


def _cross(plane: Floats) -> Floats:
    """The mean of the four neighbours."""
    around = np.roll(plane, 1, 0)
    for step, axis in ((-1, 0), (1, 1), (-1, 1)):
        around += np.roll(plane, step, axis)
    return around * np.float32(0.25)


class DevelopedNoiseGenerator(Section):
    """Draws noisy photos as cameras write them, from hardly any noise to strong noise."""

    pushes: tuple[Push, Push] = (1.0, 40.0)
    """Least and most that a photo is amplified by after the sensor; log-uniform."""
    denoising_probability: Probability = 0.85
    """Share that is denoised, each to its own degree."""
    sharpening_probability: Probability = 0.4
    """Share that is sharpened."""
    resized_probability: Probability = 0.25
    """Share that had twice the size, so that its noise has no correlation."""
    nearly_clean_probability: Probability = 0.12
    """Share with next to no noise, and hardly any compression."""
    uniform_probability: Probability = 0.2
    """Share whose noise does not depend on the brightness."""
    jpeg_probability: Probability = 0.75
    """Share that is saved as a JPEG file."""
    jpeg_qualities: tuple[Quality, Quality] = (60, 95)
    """Lowest and highest quality of it."""
    unknown_probability: Probability = 0.6
    """Share whose exposure ratio, which is 1, is not given to the model; likewise for the other two scalars."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name, (low, high) in (("pushes", self.pushes), ("jpeg_qualities", self.jpeg_qualities)):
            if low > high:
                raise ValueError(f"{name} {[low, high]}: the lowest comes first")
        return self

    def draw(self, rng: np.random.Generator, sensor: Sensor) -> DevelopedNoise:
        """One photo's noise."""
        denoised, sharpened, resized, uniform, nearly_clean, saved, subsampled, shifted = rng.random(8)
        luma, chroma = np.ones((2, 4))
        if denoised < self.denoising_probability:
            luma = WIDTHS**2 / (WIDTHS**2 + rng.uniform(0.3, 2.7) ** 2)
            chroma = WIDTHS**2 / (WIDTHS**2 + (3 * 8 ** rng.random()) ** 2)
            # strong chroma noise is denoised the most, so much of it is left all the same
            chroma *= math.sqrt(SHARES @ chroma**2) ** -rng.uniform(0, 0.4)
        if sharpened < self.sharpening_probability:
            luma[:2] *= 1 + rng.random() * np.array([0.8, 0.4])
        (low, high), (worst, best) = self.pushes, self.jpeg_qualities
        if nearly_clean < self.nearly_clean_probability:  # as such photos are to be left as they are
            low, high, worst, saved = 0.01, 0.3, max(worst, best - 5), 2 * saved
        quality = worst + int(math.sqrt(rng.random()) * (best - worst + 1))
        jpeg = JpegCompression(quality, "4:2:0" if subsampled < 0.85 else "4:4:4")
        return DevelopedNoise(
            sensor=sensor.draw(rng),
            push=low * (high / low) ** rng.random(),
            white_balance=draw_white_balance(rng),
            colours=draw_matrix(rng),
            contrast=rng.uniform(0.4, 1),
            differences=rng.uniform(0.5, 1),
            resized=resized < self.resized_probability,
            uniform=uniform < self.uniform_probability,
            luma=_gains(luma),
            chroma=_gains(chroma),
            jpeg=jpeg if saved < self.jpeg_probability else None,
            shift=tuple(rng.integers(0, 8, 2).tolist()) if shifted < 0.5 else (0, 0),
            seed=int(rng.integers(2**63)),
        )
