"""The noise of five cameras' sensors, as calibrated and published with ELD (Wei et al. 2020, MIT): figures alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ucdir.images.camera import camera_to_srgb

Fit = tuple[float, float, float]
"""Slope, bias and standard deviation of a line: log σ = slope · log K + bias ± std."""
Bias = tuple[float, float, float, float]


class SensorNoise(NamedTuple):
    """Noise at one setting of a camera, in digital numbers."""

    gain: float
    """K, digital numbers an electron."""
    read_scale: float
    """Scale of the read noise, a Tukey lambda distribution."""
    read_shape: float
    """Its shape λ: the smaller, the heavier the tail."""
    row_std: float
    """Standard deviation of what the pixels of a row have in common."""
    colour_bias: Bias
    """What black is off by in R, G, G, B."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """A camera's sensor.

    Args:
        gains: lowest and highest K that was calibrated, from about ISO 100 on.
        read: scale of the read noise against the gain.
        row: standard deviation of the row noise against the gain.
        read_shapes: shapes of the read noise, from low ISO to high.
        colour_biases: of R, G, G, B, likewise.
    """

    gains: tuple[float, float]
    read: Fit
    row: Fit
    read_shapes: tuple[float, ...]
    colour_biases: tuple[Bias, ...]

    def draw(self, rng: np.random.Generator) -> SensorNoise:
        """The noise at a gain log-uniform over `gains`; what was calibrated scatters as it did."""
        low, high = (math.log(gain) for gain in self.gains)
        log_gain = rng.uniform(low, high)
        read_scale, row_std = (
            math.exp(slope * log_gain + bias + std * rng.standard_normal())
            for slope, bias, std in (self.read, self.row)
        )
        last = len(self.read_shapes) - 1
        iso = (log_gain - low) / (high - low) * last
        near = int(np.clip(round(iso + rng.normal(0, 1.5)), 0, last))
        return SensorNoise(
            math.exp(log_gain), read_scale, self.read_shapes[near], row_std, self.colour_biases[near]
        )


def tukey_lambda(uniform: npt.NDArray[np.float32], shape: float) -> npt.NDArray[np.float32]:
    """Numbers uniform in [0,1) -> (u^λ - (1-u)^λ) / λ, heavy-tailed below a shape λ of 0.14."""
    u: npt.NDArray[np.float32] = np.clip(uniform, np.float32(1e-7), np.float32(1 - 1e-7))
    if abs(shape) < 1e-6:  # the limit, a logistic distribution
        logistic: npt.NDArray[np.float32] = np.log(u / (1 - u))
        return logistic
    power = np.float32(shape)
    return np.asarray((u**power - (1 - u) ** power) / power, dtype=np.float32)


def tukey_lambda_variance(shape: float) -> float:
    """Variance of (u^λ - (1-u)^λ)/λ: 2/λ² (1/(1+2λ) - Γ(λ+1)²/Γ(2λ+2)), and π²/3 at λ = 0; for λ above -1/2."""
    if abs(shape) < 1e-4:
        return math.pi**2 / 3
    return 2 / shape**2 * (1 / (1 + 2 * shape) - math.gamma(shape + 1) ** 2 / math.gamma(2 * shape + 2))


# fmt: off
SENSORS: Final = {
    "sony_a7s2": Sensor(
        gains=(0.0939, 6.01),
        read=(0.46210, 0.56571, 0.26337),
        row=(0.52754, -0.59170, 0.29429),
        read_shapes=(
            0.114, 0.129, 0.057, 0.043, 0.000, 0.000, -0.043, -0.057, -0.086, -0.086, -0.086, -0.086,
            -0.114, -0.114, -0.143, -0.129, -0.143, -0.143,
        ),
        colour_biases=(
            (1.482, 1.468, 1.483, 1.470), (1.498, 1.480, 1.497, 1.482), (-1.018, -1.038, -1.022, -1.038),
            (-1.017, -1.039, -1.019, -1.037), (-0.260, -0.295, -0.267, -0.294), (-0.258, -0.290, -0.262, -0.292),
            (0.611, 0.577, 0.610, 0.576), (0.605, 0.568, 0.601, 0.561), (2.072, 2.009, 2.306, 2.243),
            (2.091, 2.020, 2.328, 2.260), (-1.347, -1.371, -1.349, -1.366), (-1.322, -1.364, -1.331, -1.360),
            (-1.560, -1.598, -1.320, -1.357), (-1.553, -1.602, -1.322, -1.359), (1.171, 1.082, 1.147, 1.072),
            (1.183, 1.072, 1.179, 1.067), (4.073, 3.857, 4.296, 4.096), (4.054, 3.850, 4.292, 4.085),
        ),
    ),
    "canon_5d4": Sensor(
        gains=(0.218, 14.0),
        read=(0.65588, 1.09269, 0.28605),
        row=(0.47128, -0.80790, 0.24362),
        read_shapes=(
            0.157, 0.143, 0.086, 0.086, 0.200, 0.200, 0.100, 0.086, 0.057, 0.071, 0.029, 0.029,
            0.014, 0.029, 0.086, 0.071, 0.114, 0.114,
        ),
        colour_biases=(
            (0.032, 0.747, 0.718, -0.030), (0.039, 0.738, 0.711, -0.016), (0.902, 0.800, 0.779, -0.026),
            (0.869, 0.774, 0.750, -0.032), (0.095, 0.114, 0.037, 0.030), (0.059, 0.114, 0.039, 0.005),
            (0.046, 0.921, 0.872, 0.034), (0.029, 0.939, 0.907, 0.086), (0.956, 0.067, 0.898, 0.218),
            (0.940, 0.113, 0.860, 0.024), (-0.068, -0.096, 0.891, 0.793), (0.023, -0.086, 0.870, 0.663),
            (0.812, 0.813, -0.087, 0.071), (0.697, 0.757, -0.130, 0.910), (-0.181, -0.310, 0.175, 0.376),
            (-0.016, -0.370, 0.361, 0.470), (-0.136, 0.129, 0.164, 0.138), (0.175, 0.037, 0.874, 0.268),
        ),
    ),
    "canon_70d": Sensor(
        gains=(0.407, 26.1),
        read=(0.48681, 1.46427, 0.38201),
        row=(0.72922, -0.93706, 0.25022),
        read_shapes=(
            0.143, 0.143, 0.114, 0.114, 0.029, 0.029, -0.100, -0.086, -0.171, -0.171, -0.157, -0.157,
            -0.086, -0.086, -0.029, -0.029,
        ),
        colour_biases=(
            (0.715, 0.580, 0.319, 0.421), (0.697, 0.633, 0.334, 0.335), (0.557, 0.601, 0.288, 0.221),
            (0.626, 0.571, 0.283, 0.283), (0.615, 0.664, 0.286, 0.287), (0.657, 0.579, 0.209, 0.232),
            (0.900, 0.829, 0.189, 0.282), (0.801, 0.990, 0.337, 0.159), (1.145, 1.403, 0.750, 0.419),
            (0.911, 1.289, 0.480, 0.003), (1.778, 1.953, 1.147, 0.687), (1.691, 2.038, 0.417, 0.292),
            (3.321, 3.430, 1.207, 0.087), (2.805, 3.262, 0.439, 0.016), (3.656, 5.306, 1.579, 0.008),
            (3.421, 6.132, -0.519, -1.393),
        ),
    ),
    "canon_700d": Sensor(
        gains=(0.448, 28.6),
        read=(0.59824, 1.53704, 0.38882),
        row=(0.62206, -0.77565, 0.24848),
        read_shapes=(
            0.129, 0.129, 0.100, 0.100, 0.014, 0.014, -0.086, -0.100, -0.143, -0.157, -0.129, -0.129,
            -0.029, -0.029, 0.014, 0.014,
        ),
        colour_biases=(
            (0.721, 0.540, 0.585, 0.773), (0.720, 0.360, 0.409, 0.775), (0.622, 0.419, -0.336, -0.127),
            (0.578, 0.533, -0.212, -0.177), (0.099, -0.123, -0.425, -0.222), (-0.108, -0.037, -0.366, -0.434),
            (0.656, 0.730, 0.291, 0.212), (0.738, 0.787, 0.297, 0.271), (0.712, 0.131, 0.446, 0.063),
            (0.813, 1.141, -0.525, 0.173), (0.516, 1.512, 0.152, -0.617), (0.763, 1.239, -0.001, -0.350),
            (0.977, 0.469, -0.679, -0.999), (1.526, 1.799, -0.590, 0.317), (2.495, 3.415, -1.987, -1.582),
            (2.183, 1.806, -2.519, -2.935),
        ),
    ),
    "nikon_d850": Sensor(
        gains=(0.415, 26.6),
        read=(0.47739, -0.09044, 0.23920),
        row=(0.44829, -1.79771, 0.23218),
        read_shapes=(
            -0.114, -0.114, -0.200, -0.200, -0.214, -0.214, -0.229, -0.229, -0.243, -0.243, -0.171, -0.171,
            -0.143, -0.143, -0.100, -0.100,
        ),
        colour_biases=(
            (-0.174, -0.194, -0.164, -0.177), (-0.170, -0.183, -0.162, -0.170), (0.141, 0.104, 0.029, 0.001),
            (0.136, 0.095, 0.027, -0.006), (0.494, 0.358, 0.239, 0.135), (0.499, 0.361, 0.245, 0.141),
            (-2.757, -1.628, -2.169, -1.078), (-2.750, -1.616, -2.167, -1.065), (-1.416, -0.700, -1.371, -0.616),
            (-1.407, -0.686, -1.369, -0.609), (0.404, 0.579, 0.534, -0.288), (0.394, 0.564, 0.520, -0.276),
            (0.937, 1.489, 1.129, 1.691), (1.062, 1.593, 1.280, -0.168), (2.415, 3.837, 3.032, 0.355),
            (2.336, 3.672, 2.627, 0.142),
        ),
    ),
}
# fmt: on
"""By name: Sony A7S II, Canon EOS 5D Mark IV, 70D and 700D, Nikon D850 (its first profile)."""

XYZ_TO_CAMERA: Final = (
    ((0.6629, -0.1900, -0.0483), (-0.4618, 1.2349, 0.2550), (-0.0622, 0.1381, 0.6514)),  # Sony A7S II
    ((0.8139, -0.2171, -0.0663), (-0.8747, 1.6541, 0.2295), (-0.1925, 0.2008, 0.8093)),  # Nikon D700
    ((0.4716, 0.0603, -0.0830), (-0.7798, 1.5474, 0.2480), (-0.1496, 0.1937, 0.6651)),  # Canon 5D Mark II
)
"""Colour matrices for daylight, as Adobe publishes them in its DNG profiles."""

Matrix = tuple[tuple[float, float, float], ...]


def draw_matrix(rng: np.random.Generator) -> Matrix:
    """Balanced camera colours to linear sRGB, 3x3, rows adding up to 1: of a camera between those known."""
    mixed = np.tensordot(rng.dirichlet(np.ones(len(XYZ_TO_CAMERA))), np.array(XYZ_TO_CAMERA), axes=1)
    return tuple(tuple(row) for row in camera_to_srgb(mixed).tolist())


def draw_white_balance(rng: np.random.Generator) -> tuple[float, float, float]:
    """Gains of R, G, B between a lamp's light and the shade's; the smallest is 1."""
    return (rng.uniform(1.6, 2.4), 1.0, rng.uniform(1.4, 2.4))
