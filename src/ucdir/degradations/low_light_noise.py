"""Extreme low light as a camera's sensor sees it: darkened, counted in electrons, read out, amplified again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from ucdir.errors import ConfigError
from ucdir.images.camera import camera_to_srgb, develop, undevelop
from ucdir.images.pixels import check_rgb8
from ucdir.section import Probability, Section

SPAN: Final = 16383 - 512
"""Digital numbers from black to white of a sensor of 14 bits."""

# ------------------- Sony A7S II, as calibrated and published with ELD (Wei et al. 2020): figures, not their code

GAINS: Final = (0.0939, 6.01)
"""K in digital numbers an electron, about ISO 100 to 6400 (15,871 digital numbers are 170,000 electrons at ISO 100)."""
READ_FIT: Final = (0.46210, 0.56571, 0.26337)
"""Scale of the read noise: log scale = slope · log K + bias ± std."""
ROW_FIT: Final = (0.52754, -0.59170, 0.29429)
"""Standard deviation of the row noise, fitted likewise."""
READ_SHAPES: Final = (
    0.114, 0.129, 0.057, 0.043, 0.0, 0.0, -0.043, -0.057, -0.086, -0.086, -0.086, -0.086, -0.114, -0.114, -0.143,
    -0.129, -0.143, -0.143,
)  # fmt: skip
"""Shapes λ of the read noise, from low ISO to high: the smaller, the heavier the tail."""
COLOUR_BIASES: Final = (
    (1.482, 1.468, 1.483, 1.470), (1.498, 1.480, 1.497, 1.482), (-1.018, -1.038, -1.022, -1.038),
    (-1.017, -1.039, -1.019, -1.037), (-0.260, -0.295, -0.267, -0.294), (-0.258, -0.290, -0.262, -0.292),
    (0.611, 0.577, 0.610, 0.576), (0.605, 0.568, 0.601, 0.561), (2.072, 2.009, 2.306, 2.243),
    (2.091, 2.020, 2.328, 2.260), (-1.347, -1.371, -1.349, -1.366), (-1.322, -1.364, -1.331, -1.360),
    (-1.560, -1.598, -1.320, -1.357), (-1.553, -1.602, -1.322, -1.359), (1.171, 1.082, 1.147, 1.072),
    (1.183, 1.072, 1.179, 1.067), (4.073, 3.857, 4.296, 4.096), (4.054, 3.850, 4.292, 4.085),
)  # fmt: skip
"""What black is off by in each of the four Bayer colours, in digital numbers, from low ISO to high."""

XYZ_TO_CAMERA: Final = (
    ((0.6629, -0.1900, -0.0483), (-0.4618, 1.2349, 0.2550), (-0.0622, 0.1381, 0.6514)),  # Sony A7S II
    ((0.8139, -0.2171, -0.0663), (-0.8747, 1.6541, 0.2295), (-0.1925, 0.2008, 0.8093)),  # Nikon D700
    ((0.4716, 0.0603, -0.0830), (-0.7798, 1.5474, 0.2480), (-0.1496, 0.1937, 0.6651)),  # Canon 5D Mark II
)
"""Colour matrices for daylight, as Adobe publishes them in its DNG profiles."""

Matrix = tuple[tuple[float, float, float], ...]
Ratio = Annotated[float, Field(ge=1, le=1000)]


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
        numbers += self._read_noise(rng.random(exposure.shape, dtype=np.float32))
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

        The root of the mean variance of red, green and blue; noise so strong that it is cut off at black is less.
        """
        grey = 0.2140  # light of sRGB 0.5
        slope = 1.055 / 2.4 * grey ** (1 / 2.4 - 1)  # of the tone curve there
        balance = np.array(self.white_balance)
        shot = self.gain * grey / balance * SPAN / self.exposure_ratio
        read = self.read_scale**2 * tukey_lambda_variance(self.read_shape) + 1 / 12 + self.row_std**2
        variance = (shot + read) / (1, 2, 1) * balance**2  # the mean of two greens, in two rows
        mixed = (np.array(self.colours) ** 2 @ variance).mean()
        return float(255 * slope * math.sqrt(mixed) * self.exposure_ratio / SPAN)

    def _light(self, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        check_rgb8(clean, "low light noise")
        return undevelop(
            clean.astype(np.float32) / np.float32(255), np.array(self.white_balance), np.array(self.colours)
        ).astype(np.float32)

    def _developed(self, light: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        srgb = develop(light, np.array(self.white_balance, dtype=np.float32), np.array(self.colours))
        return np.rint(srgb * 255).astype(np.uint8)

    def _read_noise(self, uniform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        u = np.clip(uniform, 1e-7, 1 - 1e-7)
        if abs(self.read_shape) < 1e-6:  # the limit, a logistic distribution
            logistic: npt.NDArray[np.float32] = np.float32(self.read_scale) * np.log(u / (1 - u))
            return logistic
        shape = np.float32(self.read_shape)
        numbers: npt.NDArray[np.float32] = np.float32(self.read_scale) * (u**shape - (1 - u) ** shape) / shape
        return numbers


def tukey_lambda_variance(shape: float) -> float:
    """Variance of (u^λ - (1-u)^λ)/λ: 2/λ² (1/(1+2λ) - Γ(λ+1)²/Γ(2λ+2)), and π²/3 at λ = 0; for λ above -1/2."""
    if abs(shape) < 1e-4:
        return math.pi**2 / 3
    return 2 / shape**2 * (1 / (1 + 2 * shape) - math.gamma(shape + 1) ** 2 / math.gamma(2 * shape + 2))


class LowLightGenerator(Section):
    """Draws dark exposures.

    The gain is log-uniform over `GAINS`, and read and row noise follow it as calibrated. The exposure ratio is one of
    SID's (100, 250, 300) half the time if they lie within `ratios`, otherwise log-uniform over `ratios`.

    Example:
        >>> LowLightGenerator(ratios=(100.0, 100.0), srgb_probability=0.0).draw(np.random.default_rng(0)).exposure_ratio
        100.0
    """

    ratios: tuple[Ratio, Ratio] = (50.0, 300.0)
    """Lowest and highest exposure ratio."""
    srgb_probability: Probability = 0.25
    """Share of the crops whose exposure ratio lies between 1 and the lowest of `ratios`: milder noise, as in images
    that are not RAW and were not extremely dark."""
    unknown_probability: Probability = 0.3
    """Share of the crops whose exposure ratio is not given to the model; likewise for the other two scalars."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.ratios[0] > self.ratios[1]:
            raise ValueError(f"ratios {list(self.ratios)}: the lowest comes first")
        return self

    def draw(self, rng: np.random.Generator) -> LowLightNoise:
        """One exposure."""
        low, high = (math.log(gain) for gain in GAINS)
        log_gain = rng.uniform(low, high)
        read_scale, row_std = (
            math.exp(slope * log_gain + bias + std * rng.standard_normal())
            for slope, bias, std in (READ_FIT, ROW_FIT)
        )
        iso = (log_gain - low) / (high - low) * (len(READ_SHAPES) - 1)
        near = int(np.clip(round(iso + rng.normal(0, 1.5)), 0, len(READ_SHAPES) - 1))
        mixed = np.tensordot(rng.dirichlet(np.ones(len(XYZ_TO_CAMERA))), np.array(XYZ_TO_CAMERA), axes=1)
        return LowLightNoise(
            exposure_ratio=self._ratio(rng),
            gain=math.exp(log_gain),
            read_scale=read_scale,
            read_shape=READ_SHAPES[near],
            row_std=row_std,
            colour_bias=COLOUR_BIASES[near],
            white_balance=(rng.uniform(1.6, 2.4), 1.0, rng.uniform(1.4, 2.4)),
            colours=tuple(tuple(row) for row in camera_to_srgb(mixed).tolist()),
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
