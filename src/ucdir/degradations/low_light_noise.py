"""Extreme low light as a camera's sensor sees it: darkened, counted in electrons, read out, amplified again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from ucdir.degradations.developed_noise import DevelopedNoise, DevelopedNoiseGenerator
from ucdir.degradations.jpeg_compression import JpegCompression
from ucdir.degradations.sensors import (
    SENSORS,
    Matrix,
    Sensor,
    draw_matrix,
    draw_white_balance,
    tukey_lambda,
    tukey_lambda_variance,
)
from ucdir.degradations.white_noise import WhiteNoise
from ucdir.errors import ConfigError
from ucdir.images.camera import SPAN, develop, undevelop
from ucdir.images.pixels import check_rgb8
from ucdir.section import Probability, Section

Ratio = Annotated[float, Field(ge=1, le=1000)]
Strength = Annotated[float, Field(gt=0, le=255)]


@dataclass(frozen=True, slots=True)
class LowLightNoise:
    r"""One dark exposure of a sensor, amplified to its right brightness.

    A clean photograph is turned back into the sensor's light `L` in [0,1], packed R, G, G, B (`camera.undevelop`). With
    the exposure ratio `r`, the gain `K` and the span of digital numbers `w`:

        D = K · Poisson( L w / (r K) ) + N_read + N_row + N_quant + b        digital numbers above black
        x = develop( r D / w )

    1. `Poisson` counts electrons: shot noise.
    2. `N_read = s (u^λ - (1-u)^λ) / λ` with `u` uniform: a Tukey lambda of scale `s` and shape `λ`, heavy-tailed
       below 0.14.
    3. `N_row` is normal, the same along a row of the sensor; `N_quant` uniform in [-1/2, 1/2]; `b` a bias of each
       colour.

    Each pixel of the image stands for one 2x2 cell of the sensor, as in the half-size image of
    `camera.pack_bayer`.

    Args:
        exposure_ratio: r, at least 1.
        gain: K, digital numbers an electron.
        read_scale: s, digital numbers.
        read_shape: λ.
        row_std: standard deviation of `N_row`, digital numbers.
        colour_bias: b of R, G, G, B, digital numbers.
        white_balance: gains of R, G, B; the smallest is 1.
        colours: balanced camera colours to linear sRGB, 3x3, rows adding up to 1.
        seed: of the noise; the same object degrades the same image in the same way.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> grey = np.full((4, 6, 3), 128, np.uint8)
        >>> noisy = LowLightNoise(exposure_ratio=100.0, gain=0.5)(grey)
        >>> noisy.shape, noisy.dtype.name
        ((4, 6, 3), 'uint8')
    """

    exposure_ratio: float
    gain: float
    read_scale: float = 1.0
    read_shape: float = -0.08
    row_std: float = 0.3
    colour_bias: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    white_balance: tuple[float, float, float] = (2.0, 1.0, 1.7)
    colours: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"{name} {value!r} {wanted}"
            for name, value, wanted, fine in (
                ("exposure_ratio", self.exposure_ratio, "is not at least 1", self.exposure_ratio >= 1),
                ("gain", self.gain, "is not positive", 0 < self.gain < math.inf),
                ("read_scale", self.read_scale, "is negative", self.read_scale >= 0),
                ("read_shape", self.read_shape, "is not between -0.5 and 1", -0.5 < self.read_shape <= 1),
                ("row_std", self.row_std, "is negative", self.row_std >= 0),
                (
                    "white_balance",
                    self.white_balance,
                    "has no smallest gain of 1",
                    min(self.white_balance) == 1,
                ),
            )
            if not fine
        ]
        if problems:
            raise ConfigError(f"low light noise: {'; '.join(problems)}.")

    def __call__(self, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The dark exposure of a clean photograph, amplified: uint8 [H,W,3] -> uint8 [H,W,3], a new array.

        Raises:
            DataError: `clean` is of another type or shape, or empty.
        """
        rng = np.random.default_rng(self.seed)
        exposure = self._light(clean) * (SPAN / self.exposure_ratio)
        numbers = rng.poisson(exposure / self.gain).astype(np.float32) * np.float32(self.gain)
        uniform = rng.random(exposure.shape, dtype=np.float32)
        numbers += np.float32(self.read_scale) * tukey_lambda(uniform, self.read_shape)
        # the rows of R and G lie above those of G and B
        rows = rng.normal(0, self.row_std, (2, exposure.shape[0], 1)).astype(np.float32)
        numbers[..., :2] += rows[0][..., None]
        numbers[..., 2:] += rows[1][..., None]
        numbers += np.asarray(self.colour_bias, dtype=np.float32)
        numbers += rng.random(exposure.shape, dtype=np.float32) - np.float32(0.5)
        return self._developed(numbers * np.float32(self.exposure_ratio / SPAN))

    def long_exposure(self, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """What a long exposure would have given: the photograph, but for colours that the camera cannot see.

        Raises:
            DataError: as `__call__`.
        """
        return self._developed(self._light(clean))

    @property
    def noise_strength(self) -> float:
        """Standard deviation of the noise in a mid-grey (sRGB 0.5) area of the result, in 8-bit levels, to first order.

        The root of the mean variance of red, green and blue, at most 255; noise so strong that it is cut off at black
        is less.
        """
        grey = 0.2140  # light of sRGB 0.5
        slope = 1.055 / 2.4 * grey ** (1 / 2.4 - 1)  # of the tone curve there
        balance = np.array(self.white_balance)
        shot = self.gain * grey / balance * SPAN / self.exposure_ratio
        read = self.read_scale**2 * tukey_lambda_variance(self.read_shape) + 1 / 12 + self.row_std**2
        variance = (shot + read) / (1, 2, 1) * balance**2  # the mean of two greens, in two rows
        mixed = (np.array(self.colours) ** 2 @ variance).mean()
        return min(255.0, float(255 * slope * math.sqrt(mixed) * self.exposure_ratio / SPAN))

    def _light(self, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        check_rgb8(clean, "low light noise")
        return undevelop(
            clean.astype(np.float32) / np.float32(255), np.array(self.white_balance), np.array(self.colours)
        ).astype(np.float32)

    def _developed(self, light: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        srgb = develop(light, np.array(self.white_balance, dtype=np.float32), np.array(self.colours))
        return np.rint(srgb * 255).astype(np.uint8)


class LowLightGenerator(Section):
    """Draws dark exposures and, for half of the crops, noisy photos: developed by their camera, or with white noise.

    Each is of one of the cameras, the gain log-uniform over its own, and read and row noise follow it as calibrated.
    The exposure ratio is one of SID's (100, 250, 300) half the time if they lie within `ratios`, otherwise log-uniform
    over `ratios`.

    Example:
        >>> generator = LowLightGenerator(ratios=(100.0, 100.0), srgb_probability=0.0, developed_probability=0.0)
        >>> generator.draw(np.random.default_rng(0)).exposure_ratio
        100.0
    """

    ratios: tuple[Ratio, Ratio] = (50.0, 300.0)
    """Lowest and highest exposure ratio."""
    srgb_probability: Probability = 0.25
    """Share of the dark exposures whose ratio lies between 1 and the lowest of `ratios`: milder noise."""
    strongest: Strength = 128.0
    """Strongest noise of dark exposures in mid-grey, in 8-bit levels: stronger ones, in which nothing of the photo can
    be seen, are drawn again, up to 20 times."""
    portrait_probability: Probability = 0.25
    """Share of the photos for which the camera was turned: the rows of its sensor are columns of theirs."""
    cameras: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(SENSORS)
    """Names in `degradations.sensors.SENSORS`."""
    developed_probability: Probability = 0.5
    """Share of the crops that are ordinary photos at a high ISO, developed by the camera: see `developed`."""
    developed: DevelopedNoiseGenerator = DevelopedNoiseGenerator()
    """What cameras make of the noise of such photos."""
    white_probability: Probability = 0.15
    """Share of these ordinary photos whose noise is white instead: of no camera."""
    white_stds: tuple[Strength, Strength] = (2.0, 100.0)
    """Least and most standard deviation of it, in 8-bit levels; log-uniform."""
    unknown_probability: Probability = 0.3
    """Share of the dark exposures whose ratio is not given to the model; likewise for the other two scalars."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name, (low, high) in (("ratios", self.ratios), ("white_stds", self.white_stds)):
            if low > high:
                raise ValueError(f"{name} {[low, high]}: the lowest comes first")
        unknown = [name for name in self.cameras if name not in SENSORS]
        if unknown:
            raise ValueError(f"cameras: {unknown[0]!r:.80} is unknown; choose of {', '.join(SENSORS)}")
        return self

    def draw(self, rng: np.random.Generator) -> LowLightNoise | DevelopedNoise | WhiteNoise:
        """One exposure."""
        developed = self.developed_probability > 0 and rng.random() < self.developed_probability
        if developed and self.white_probability > 0 and rng.random() < self.white_probability:
            return self._white(rng)
        name = self.cameras[int(rng.integers(len(self.cameras))) if len(self.cameras) > 1 else 0]
        if developed:
            return self.developed.draw(rng, SENSORS[name])
        tried: list[LowLightNoise] = []
        while len(tried) < 20 and (not tried or tried[-1].noise_strength > self.strongest):
            tried.append(self._exposure(rng, SENSORS[name]))
        return min(tried, key=lambda noise: max(noise.noise_strength, self.strongest))

    def _white(self, rng: np.random.Generator) -> WhiteNoise:
        low, high = self.white_stds
        grey, saved = rng.random(2)
        jpeg = JpegCompression(int(rng.integers(60, 96))) if saved < 0.3 else None
        std = float(low * (high / low) ** rng.random())
        return WhiteNoise(std, grey=bool(grey < 0.2), jpeg=jpeg, seed=int(rng.integers(2**63)))

    def _exposure(self, rng: np.random.Generator, sensor: Sensor) -> LowLightNoise:
        noise = sensor.draw(rng)
        colours = draw_matrix(rng)
        return LowLightNoise(
            exposure_ratio=self._ratio(rng),
            gain=noise.gain,
            read_scale=noise.read_scale,
            read_shape=noise.read_shape,
            row_std=noise.row_std,
            colour_bias=noise.colour_bias,
            white_balance=draw_white_balance(rng),
            colours=colours,
            seed=int(rng.integers(2**63)),
        )

    def _ratio(self, rng: np.random.Generator) -> float:
        low, high = self.ratios
        mild, common, level = rng.random(3)
        if mild < self.srgb_probability:
            return float(low**level)
        usual = [ratio for ratio in (100.0, 250.0, 300.0) if low <= ratio <= high]
        if common < 0.5 and usual:
            return usual[int(level * len(usual))]
        return float(low * (high / low) ** level)
