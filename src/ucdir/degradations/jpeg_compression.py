"""JPEG compression: a real JPEG file is written and read back, as cameras and phones do."""

import io
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from ucdir.errors import ConfigError, DataError

Subsampling = Literal["4:2:0", "4:4:4"]
"""How colour is stored: `4:2:0` at half the width and height (nearly every JPEG), `4:4:4` at full size."""

MAX_JPEG_SIDE: Final = 65_500
"""Longest side in pixels that libjpeg writes; the format's own limit is 65,535."""

# Annex K of the JPEG standard (ITU-T T.81), tables K.1 and K.2, in rows of vertical frequency.
_LUMINANCE: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE: Final = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)


@dataclass(frozen=True, slots=True)
class JpegCompression:
    r"""JPEG compression of one strength.

    With the 8x8 DCT-II `D` and the table `T` of a colour plane, each 8x8 block `x` of that plane becomes

        x' = D⁻¹( T · round( D(x - 128) / T ) ) + 128

    1. Colour: `Y = .299 R + .587 G + .114 B`, `Cb = (B - Y) / 1.772 + 128`, `Cr = (R - Y) / 1.402 + 128`.
    2. `4:2:0` averages Cb and Cr over 2x2 pixels; decoding interpolates them linearly (weights 3/4 and 1/4).
    3. Table: Annex K of the standard, `T₀`, scaled by the rule of the Independent JPEG Group,
       `T = clip( ⌊(s T₀ + 50) / 100⌋, 1, 255 )` with `s = ⌊5000 / quality⌋` below 50 and
       `s = 200 - 2 quality` from 50 on.
    4. Every plane is rounded to 0..255, before and after.

    The codec is libjpeg-turbo with its accurate integer DCT and smooth colour upsampling, so the pixels equal
    those that Pillow and most programs give at the same quality and subsampling, to the bit.

    Args:
        quality: 1 (strongest) to 100 (nearly none), without unit.
        subsampling: `"4:2:0"` or `"4:4:4"`.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> clean = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 4, (1, 64, 3))
        >>> degraded = JpegCompression(quality=10)(clean)
        >>> degraded.shape, degraded.dtype.name
        ((64, 64, 3), 'uint8')
        >>> int(JpegCompression(quality=10).quantization_tables()[0, 0, 0])
        80
    """

    quality: int
    subsampling: Subsampling = "4:2:0"

    def __post_init__(self) -> None:
        _check_quality("quality", self.quality)
        _check_subsampling(self.subsampling)

    def __call__(self, clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The photograph after one trip through a JPEG file.

        Args:
            clean: uint8 RGB [H,W,3], 0..255.

        Returns:
            uint8 RGB [H,W,3], 0..255, a new array.

        Raises:
            DataError: `clean` is of another type or shape, empty, or longer than 65,500 pixels.
        """
        degraded: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(self.encode(clean), colorspace="RGB")
        return degraded

    def encode(self, clean: npt.NDArray[np.uint8]) -> bytes:
        """The JPEG file (JFIF, baseline) of a photograph uint8 RGB [H,W,3]; errors as in `__call__`."""
        _check_image(clean)
        # Pillow writes, simplejpeg reads: below quality 96 simplejpeg writes with the less accurate fast DCT even
        # where it is told not to; its decoder equals Pillow's and is three times as fast on small crops.
        file = io.BytesIO()
        Image.fromarray(clean).save(file, "JPEG", quality=self.quality, subsampling=self.subsampling)
        return file.getvalue()

    def quantization_tables(self) -> npt.NDArray[np.int64]:
        """The tables `T` of step 3, [2,8,8], 1..255: luminance, chrominance; a row is a vertical frequency."""
        scale = 5000 // self.quality if self.quality < 50 else 200 - 2 * self.quality
        scaled = (np.array([_LUMINANCE, _CHROMINANCE], dtype=np.int64) * scale + 50) // 100
        return np.clip(scaled, 1, 255)


@dataclass(frozen=True, slots=True)
class JpegCompressionGenerator:
    """Draws the strength of a JPEG compression.

    The quality is uniform over the whole numbers of `focus` with probability `focus_probability`, otherwise
    over those of `qualities`: strong compression is what needs training, weak compression must not be spoilt.

    Args:
        qualities: lowest and highest quality, both included, 1..100.
        focus: the part of `qualities` drawn most often, both ends included.
        focus_probability: 0..1.
        subsamplings: drawn uniformly; one that is named three times is drawn three times as often.

    Raises:
        ConfigError: an argument is out of range, or `focus` is not within `qualities`.

    Example:
        >>> generator = JpegCompressionGenerator(qualities=(10, 10), focus=(10, 10))
        >>> generator.draw(np.random.default_rng(0)).quality
        10
    """

    qualities: tuple[int, int] = (5, 95)
    focus: tuple[int, int] = (5, 50)
    focus_probability: float = 0.8
    subsamplings: tuple[Subsampling, ...] = ("4:2:0", "4:2:0", "4:2:0", "4:4:4")

    def __post_init__(self) -> None:
        _check_range("qualities", self.qualities)
        _check_range("focus", self.focus)
        if not self.qualities[0] <= self.focus[0] <= self.focus[1] <= self.qualities[1]:
            raise ConfigError(
                f"focus {self.focus} of the JPEG generator does not lie within qualities {self.qualities}; "
                "narrow focus or widen qualities."
            )
        if not 0.0 <= self.focus_probability <= 1.0:
            raise ConfigError(
                f"focus_probability {self.focus_probability} of the JPEG generator is not a probability; "
                "choose 0 to 1."
            )
        if not self.subsamplings:
            raise ConfigError(
                "subsamplings of the JPEG generator is empty; name at least one of 4:2:0 and 4:4:4."
            )
        for subsampling in self.subsamplings:
            _check_subsampling(subsampling)

    def draw(self, rng: np.random.Generator) -> JpegCompression:
        """One compression; takes exactly three numbers from `rng`, so what is drawn next does not shift."""
        choice, level, kind = rng.random(3)
        low, high = self.focus if choice < self.focus_probability else self.qualities
        return JpegCompression(
            quality=low + int(level * (high - low + 1)),
            subsampling=self.subsamplings[int(kind * len(self.subsamplings))],
        )


def _check_quality(name: str, quality: object) -> None:
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ConfigError(f"{name} {quality!r} of the JPEG compression is not a whole number from 1 to 100.")


def _check_range(name: str, bounds: object) -> None:
    if not isinstance(bounds, tuple) or len(bounds) != 2:
        raise ConfigError(
            f"{name} {bounds!r} of the JPEG generator is not a pair; give lowest and highest quality."
        )
    for bound in bounds:
        _check_quality(name, bound)
    if bounds[0] > bounds[1]:
        raise ConfigError(f"{name} {bounds} of the JPEG generator is empty; give the lowest quality first.")


def _check_subsampling(subsampling: object) -> None:
    if subsampling not in get_args(Subsampling):
        raise ConfigError(
            f"subsampling {subsampling!r} of the JPEG compression is unknown; choose 4:2:0 or 4:4:4."
        )


def _check_image(clean: object) -> None:
    if not isinstance(clean, np.ndarray) or clean.dtype != np.uint8 or clean.ndim != 3 or clean.shape[2] != 3:
        found = (
            f"{clean.dtype} {list(clean.shape)}" if isinstance(clean, np.ndarray) else type(clean).__name__
        )
        raise DataError(f"JPEG compression takes a uint8 RGB array [H,W,3], found {found}; convert it first.")
    if not 1 <= min(clean.shape[:2]) <= max(clean.shape[:2]) <= MAX_JPEG_SIDE:
        raise DataError(
            f"a JPEG file holds 1 to {MAX_JPEG_SIDE} pixels a side, found {list(clean.shape[:2])}; "
            "cut the image into smaller ones."
        )
