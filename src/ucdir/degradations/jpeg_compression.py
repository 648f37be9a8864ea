"""JPEG compression: a real JPEG file is written and read back, as cameras and phones do."""

import io
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from ucdir.errors import ConfigError, DataError
from ucdir.images.jpeg import ijg_tables
from ucdir.images.pixels import check_rgb8
from ucdir.section import Probability, Section

Subsampling = Literal["4:2:0", "4:4:4"]
"""How colour is stored: `4:2:0` at half the width and height (nearly every JPEG), `4:4:4` at full size."""

Quality = Annotated[int, Field(ge=1, le=100)]

MAX_JPEG_SIDE: Final = 65_500
"""Longest side in pixels that libjpeg writes; the format's own limit is 65,535."""


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
        _check_quality(self.quality)
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
        import simplejpeg

        degraded: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(self.encode(clean), colorspace="RGB")
        return degraded

    def encode(self, clean: npt.NDArray[np.uint8]) -> bytes:
        """The JPEG file (JFIF, baseline) of a photograph uint8 RGB [H,W,3]; errors as in `__call__`."""
        from PIL import Image

        check_rgb8(clean, "JPEG compression")
        if max(clean.shape) > MAX_JPEG_SIDE:
            raise DataError(
                f"a JPEG file holds 1 to {MAX_JPEG_SIDE} pixels a side, found {list(clean.shape[:2])}; cut the image "
                "into smaller ones."
            )
        # Pillow writes, simplejpeg reads: below quality 96 simplejpeg writes with the less accurate fast DCT even
        # where it is set not to; its decoder equals Pillow's and is three times as fast on small crops.
        file = io.BytesIO()
        Image.fromarray(clean).save(file, "JPEG", quality=self.quality, subsampling=self.subsampling)
        return file.getvalue()

    def quantization_tables(self) -> npt.NDArray[np.int64]:
        """The tables `T` of step 3, [2,8,8], 1..255: luminance, chrominance; a row is a vertical frequency."""
        return ijg_tables(self.quality).reshape(2, 8, 8)


class JpegCompressionGenerator(Section):
    """Draws the strength of a JPEG compression.

    The quality is uniform over the whole numbers of `focus` with probability `focus_probability`, otherwise
    over those of `qualities`: strong compression needs training, weak compression must not get worse.

    Example:
        >>> generator = JpegCompressionGenerator(qualities=(10, 10), focus=(10, 10))
        >>> generator.draw(np.random.default_rng(0)).quality
        10
    """

    qualities: tuple[Quality, Quality] = (5, 95)
    """Lowest and highest quality, both included."""
    focus: tuple[Quality, Quality] = (5, 50)
    """The part of `qualities` that most samples come from, both ends included."""
    focus_probability: Probability = 0.8
    """Share of the samples that come from `focus`."""
    subsamplings: tuple[Subsampling, ...] = Field(default=("4:2:0", "4:2:0", "4:2:0", "4:4:4"), min_length=1)
    """Chroma subsampling, chosen uniformly; one that is named three times is chosen three times as often."""
    unknown_probability: Probability = 0.1
    """Share of the crops whose quality is not given to the model."""
    shift_probability: Probability = 0.1
    """Share of the crops whose 8x8 blocks do not begin at the corner, as after cropping or rotating a JPEG."""

    @model_validator(mode="after")
    def _focus_within_qualities(self) -> Self:
        low, high = self.qualities
        if not low <= self.focus[0] <= self.focus[1] <= high:
            raise ValueError(f"focus {list(self.focus)} is not a range within qualities {[low, high]}")
        return self

    def draw(self, rng: np.random.Generator) -> JpegCompression:
        """One compression; takes exactly three numbers from `rng`, so later samples do not shift."""
        choice, level, kind = rng.random(3)
        low, high = self.focus if choice < self.focus_probability else self.qualities
        return JpegCompression(
            quality=low + int(level * (high - low + 1)),
            subsampling=self.subsamplings[int(kind * len(self.subsamplings))],
        )


def _check_quality(quality: object) -> None:
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ConfigError(f"quality {quality!r} of the JPEG compression is not a whole number from 1 to 100.")


def _check_subsampling(subsampling: object) -> None:
    if subsampling not in get_args(Subsampling):
        raise ConfigError(
            f"subsampling {subsampling!r} of the JPEG compression is unknown; choose 4:2:0 or 4:4:4."
        )
