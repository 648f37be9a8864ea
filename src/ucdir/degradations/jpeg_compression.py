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

Subsampling = Literal["4:2:0", "4:4:4", "4:2:2", "4:4:0", "4:1:1", "4:0:0"]
"""How colour is stored: `4:2:0` at half the width and height (nearly every JPEG), `4:4:4` at full size, `4:2:2` at half
the width, `4:4:0` at half the height, `4:1:1` at a quarter of the width, `4:0:0` not at all: greyscale."""

Quality = Annotated[int, Field(ge=1, le=100)]
Scale = Annotated[float, Field(ge=0.5, le=2)]

WEAK: Final = (75, 98)
"""Qualities of a second compression after resizing: what programs choose when nobody asks them."""
FILTERS: Final = ("BILINEAR", "BICUBIC", "LANCZOS")
"""Of resizing."""

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
        subsampling: a `Subsampling`; `4:4:0` and `4:1:1` are written with libjpeg-turbo's fast DCT.

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
        if self.subsampling in ("4:4:0", "4:1:1"):  # which Pillow does not write
            import simplejpeg

            data: bytes = simplejpeg.encode_jpeg(
                np.ascontiguousarray(clean), self.quality, "RGB", self.subsampling.replace(":", "")
            )
            return data
        file, image = io.BytesIO(), Image.fromarray(clean)
        if self.subsampling == "4:0:0":
            image.convert("L").save(file, "JPEG", quality=self.quality)
        else:
            image.save(file, "JPEG", quality=self.quality, subsampling=self.subsampling)
        return file.getvalue()

    def quantization_tables(self) -> npt.NDArray[np.int64]:
        """The tables `T` of step 3, [2,8,8], 1..255: luminance, chrominance; a row is a vertical frequency."""
        return ijg_tables(self.quality).reshape(2, 8, 8)


@dataclass(frozen=True, slots=True)
class JpegHistory:
    """What becomes of photos that are passed on: compressed, perhaps cropped and resized, perhaps compressed again.

    Args:
        compressions: one or two, in their order.
        shift: rows and columns that are cut off before the last one, so that its 8x8 blocks lie elsewhere.
        scale: the image is resized by this factor behind the first one; 1 leaves it as it is.
        filter: of the resizing: a name in `PIL.Image.Resampling`.

    Example:
        >>> twice = JpegHistory((JpegCompression(20), JpegCompression(90)), shift=(3, 5))
        >>> clean, degraded = twice(np.zeros((64, 64, 3), np.uint8))
        >>> clean.shape == degraded.shape, twice.quality
        (True, 20)
    """

    compressions: tuple[JpegCompression, ...]
    shift: tuple[int, int] = (0, 0)
    scale: float = 1.0
    filter: str = "BICUBIC"

    @property
    def quality(self) -> int:
        """The lowest quality, which the image shows most."""
        return min(c.quality for c in self.compressions)

    def __call__(self, clean: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """What a perfect restoration would give, and the degraded image.

        The first compression sees the image at its own size where the image is shrunk afterwards, and shrunk where it
        is enlarged afterwards: detail that was not there when it was compressed is not to be invented.

        Args:
            clean: uint8 RGB [H,W,3], 0..255.

        Returns:
            both uint8 [H',W',3], where H' = round(scale · H) if scale < 1, else H.
        """
        first, *rest = self.compressions
        if any(c.subsampling == "4:0:0" for c in self.compressions):
            clean = _grey(clean)
        size = (clean.shape[0], clean.shape[1])
        if self.scale > 1:
            clean = self._resized(clean, _scaled(size, 1 / self.scale))
        degraded = first(clean)
        if self.scale != 1:
            size = size if self.scale > 1 else _scaled(size, self.scale)
            clean, degraded = self._resized(clean, size), self._resized(degraded, size)
        for compression in rest:
            top, left = self.shift
            framed = np.pad(degraded, ((top, 0), (left, 0), (0, 0)), mode="symmetric")
            degraded = compression(framed)[top:, left:]
        return clean, degraded

    def _resized(self, image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        from PIL import Image

        return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling[self.filter]))


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    height, width = (max(1, round(scale * n)) for n in size)
    return height, width


def _grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


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
    twice_probability: Probability = 0.0
    """Share of the crops that are compressed twice, with the blocks elsewhere; the model is given the lower quality."""
    resize_probability: Probability = 0.0
    """Share of the crops that are resized between two compressions, the second a weak one."""
    resize: tuple[Scale, Scale] = (0.5, 1.5)
    """Smallest and largest factor of the resizing."""

    @model_validator(mode="after")
    def _focus_within_qualities(self) -> Self:
        low, high = self.qualities
        if not low <= self.focus[0] <= self.focus[1] <= high:
            raise ValueError(f"focus {list(self.focus)} is not a range within qualities {[low, high]}")
        if self.resize[0] > self.resize[1]:
            raise ValueError(f"resize {list(self.resize)} is not a range")
        return self

    def draw(self, rng: np.random.Generator) -> JpegCompression:
        """One compression; takes exactly three numbers from `rng`, so later samples do not shift."""
        choice, level, kind = rng.random(3)
        low, high = self.focus if choice < self.focus_probability else self.qualities
        return JpegCompression(
            quality=low + int(level * (high - low + 1)),
            subsampling=self.subsamplings[int(kind * len(self.subsamplings))],
        )

    def draw_history(self, rng: np.random.Generator) -> JpegHistory:
        """What `draw` gives, and perhaps an earlier compression."""
        last = self.draw(rng)
        if not self.twice_probability + self.resize_probability:
            return JpegHistory((last,))
        kind, scale, resampling = rng.random(3)
        shift = (int(rng.integers(8)), int(rng.integers(8)))
        if kind < self.twice_probability:
            return JpegHistory((self.draw(rng), last), shift)
        if kind >= self.twice_probability + self.resize_probability:
            return JpegHistory((last,))
        low, high = self.resize
        weak = JpegCompression(int(rng.integers(WEAK[0], WEAK[1] + 1)))
        return JpegHistory(
            (last, weak), shift, low + scale * (high - low), FILTERS[int(resampling * len(FILTERS))]
        )


def _check_quality(quality: object) -> None:
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ConfigError(f"quality {quality!r} of the JPEG compression is not a whole number from 1 to 100.")


def _check_subsampling(subsampling: object) -> None:
    if subsampling not in get_args(Subsampling):
        raise ConfigError(
            f"subsampling {subsampling!r} of the JPEG compression is unknown; choose one of "
            f"{', '.join(get_args(Subsampling))}."
        )
