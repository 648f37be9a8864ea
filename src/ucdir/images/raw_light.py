"""The light in an opened RAW file: black 0, white 1, in the camera's own colours; nothing balanced or amplified.

Bayer    ─ half ─> each 2x2 cell becomes a pixel, as in the paper (Sec. 4.3)
         ─ full ─> demosaiced by LibRaw
X-Trans  ────────> demosaiced by LibRaw
linear   ────────> as it is
monochrome ──────> as it is

The text of an ImageError raised here continues a sentence that begins with the name of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ImageError
from ucdir.images.camera import pack_bayer
from ucdir.images.decode import check_memory

Light = NDArray[np.float32]

MOST_EMPTY_ROWS: Final = 0.02
"""Share of rows that are all zero, which no sensor gives, from which on a file is taken to be cut off."""
FEWEST_ABOVE_BLACK: Final = 0.01
"""Share of samples at or above black below which black must be wrong: of those of a lens cap, half are."""

_FOOT: Final = 1 / 16
"""Light below black that survives demosaicing: noise cut off there would brighten the dark."""
_BLOCK_ROWS: Final = 256
_X_TRANS_SIDE: Final = 512
_BYTES_PER_PIXEL: Final = 30
"""Memory that LibRaw and the result take, beside the mosaic and its light."""


@dataclass(frozen=True)
class Mosaic:
    """A sensor whose pixels see one colour each.

    Args:
        light: [H,W].
        cell: letters of the colours that repeat, [2,2] (Bayer) or [6,6] (X-Trans).
    """

    light: Light
    cell: NDArray[np.str_]

    @property
    def is_bayer(self) -> bool:
        """Whether it is X-Trans otherwise."""
        return len(self.cell) == 2

    def binned(self) -> Light:
        """One pixel for each cell of a Bayer sensor, [H/2,W/2,3]: red, the mean of both greens, blue."""
        packed = pack_bayer(self.light, "".join(self.cell.flat))
        return np.stack([packed[..., 0], (packed[..., 1] + packed[..., 2]) / 2, packed[..., 3]], axis=-1)

    def demosaiced(self, raw: Any, white_balance: NDArray[np.float32], *, dark: bool = False) -> Light:
        """All three colours at each pixel, [H,W,3], by LibRaw: DHT of Bayer, Markesteijn's algorithm of X-Trans.

        Args:
            raw: the file, whose samples are overwritten: LibRaw is given white-balanced light with some room for noise
                below black, so that demosaicing is all that is left for it to do.
            white_balance: gains of R, G and B; light is clipped where it is white then.
            dark: whether there is much noise. Of Bayer, VNG then restores better, else DHT (docs/raw.md).
        """
        import rawpy

        height, width = self.light.shape
        if not self.is_bayer and min(height, width) < _X_TRANS_SIDE:
            raise ImageError(
                f"is of an X-Trans sensor of {width} x {height} pixels, less than the {_X_TRANS_SIDE} a side that "
                "LibRaw demosaics; get a complete copy of it."
            )
        check_memory(self.light.size * _BYTES_PER_PIXEL)
        samples, scale = raw.raw_image_visible, np.float32(65_535 / (1 + _FOOT))
        side = len(self.cell)
        for y, x in np.ndindex(side, side):
            gain = white_balance["RGB".index(str(self.cell[y, x]))]
            balanced = np.clip(self.light[y::side, x::side] * gain, -_FOOT, 1)
            samples[y::side, x::side] = np.rint((balanced + _FOOT) * scale)
        algorithm = rawpy.DemosaicAlgorithm.VNG if dark else rawpy.DemosaicAlgorithm.DHT
        coded = raw.postprocess(
            rawpy.Params(
                demosaic_algorithm=algorithm if self.is_bayer else None,
                output_color=rawpy.ColorSpace.raw, output_bps=16, gamma=(1, 1), no_auto_bright=True, no_auto_scale=True,
                adjust_maximum_thr=0, user_flip=0, user_black=0, user_cblack=[0, 0, 0, 0], user_sat=65_535,
            )
        )  # fmt: skip
        light = np.empty(coded.shape, np.float32)
        for top in range(0, len(coded), _BLOCK_ROWS):
            rows = np.s_[top : top + _BLOCK_ROWS]
            light[rows] = (coded[rows] / scale - np.float32(_FOOT)) / white_balance
        return light


def mosaic_of(raw: Any) -> Mosaic:
    """The light that a sensor of red, green and blue has seen."""
    import rawpy

    pattern = raw.raw_pattern
    if raw.raw_type != rawpy.RawType.Flat or pattern is None or pattern.shape not in ((2, 2), (6, 6)):
        raise ImageError(
            "comes from a sensor with neither a Bayer nor an X-Trans pattern, which ucdir does not develop; develop it "
            "to a 16-bit TIFF with the camera's software first."
        )
    samples, side = raw.raw_image_visible, len(pattern)
    numbers = raw.raw_colors_visible[:side, :side]
    cell = np.array(list(raw.color_desc.decode("ascii")))[numbers]
    if {*cell.flat} != {*"RGB"} or (side == 2 and (cell == "G").sum() != 2):
        raise ImageError(
            f"comes from a sensor of the colours {''.join(cell.flat)}; ucdir knows red, green, blue."
        )
    black = np.array(raw.black_level_per_channel, dtype=np.float32)[numbers]
    span = _span(raw, black, samples)
    light = samples.astype(np.float32)
    for y, x in np.ndindex(side, side):
        light[y::side, x::side] -= black[y, x]
    light /= span
    return Mosaic(light, cell)


def is_monochrome(raw: Any) -> bool:
    """Whether the sensor sees no colours."""
    import rawpy

    return bool(raw.raw_type == rawpy.RawType.Flat and raw.num_colors == 1)


def monochrome_light(raw: Any) -> Light:
    """The light of a sensor that sees no colours, [H,W,1]."""
    samples, black = raw.raw_image_visible, np.array(raw.black_level_per_channel[:1], dtype=np.float32)
    span = _span(raw, black, samples)
    light: Light = (samples[..., None].astype(np.float32) - black) / span
    return light


def linear_light(raw: Any) -> Light:
    """The light in a linear DNG, [H,W,3], which has all three colours at each pixel."""
    image = raw.raw_image_visible
    if raw.num_colors != 3 or not raw.color_desc.startswith(b"RGB") or image.shape[2] < 3:
        raise ImageError(f"holds {raw.num_colors} colours {raw.color_desc!r}; ucdir knows red, green, blue.")
    black = np.array(raw.black_level_per_channel[:3], dtype=np.float32)
    span = _span(raw, black, image[..., :3])
    light: Light = image[..., :3].astype(np.float32)
    light -= black
    light /= span
    return light


def halved(light: Light) -> Light:
    """The mean of each 2x2 pixels; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in light.shape[:2])
    whole = light[:height, :width]
    total = whole[::2, ::2] + whole[::2, 1::2] + whole[1::2, ::2] + whole[1::2, 1::2]
    return total / np.float32(4)


def default_crop(raw: Any) -> tuple[slice, slice]:
    """Rows and columns that the camera means to be seen, of those with light; all where the file says nothing of them.

    The rest is there for demosaicing (DNG's DefaultCropOrigin and DefaultCropSize).
    """
    sizes = raw.sizes
    height, width = int(sizes.crop_height), int(sizes.crop_width)
    top, left = (
        int(sizes.crop_top_margin) - int(sizes.top_margin),
        int(sizes.crop_left_margin) - int(sizes.left_margin),
    )
    if (
        min(height, width) < 1
        or min(top, left) < 0
        or top + height > sizes.height
        or left + width > sizes.width
    ):
        return np.s_[:, :]
    return np.s_[top : top + height, left : left + width]


def in_cells(crop: tuple[slice, slice]) -> tuple[slice, slice]:
    """The same in 2x2 cells: all that lie within it."""
    rows, columns = (
        slice(None) if part.stop is None else slice((part.start + 1) // 2, part.stop // 2) for part in crop
    )
    return rows, columns


def _span(raw: Any, black: NDArray[np.float32], samples: NDArray[Any]) -> np.float32:
    """White above black; refused are levels that cannot be, and samples that are no picture."""
    white, lowest, highest = float(raw.white_level), float(black.min()), float(black.max())
    if not white > highest:
        raise ImageError(
            f"is damaged: its white level {white:g} is not above its black level {highest:g}; copy it again."
        )
    empty = float((~samples.reshape(len(samples), -1).any(axis=1)).mean())
    if empty == 1:
        raise ImageError("holds no picture: all of its samples are zero; get a complete copy of it.")
    if empty > MOST_EMPTY_ROWS:  # LibRaw fills what is missing with zeros and raises nothing
        raise ImageError(
            f"is a damaged or incomplete RAW file ({empty:.0%} of its rows hold nothing); get a complete copy of it."
        )
    if lowest > 0 and float((samples >= lowest).mean()) < FEWEST_ABOVE_BLACK:
        raise ImageError(
            f"is damaged: its black level {lowest:g} is above nearly all that its pixels hold, so that nothing but "
            "black would be left; copy it again."
        )
    return np.float32(white - highest)
