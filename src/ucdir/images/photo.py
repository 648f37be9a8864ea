"""A photograph in memory: its pixels, and what else its file holds."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ucdir.errors import ImageError
from ucdir.images.camera import Camera
from ucdir.images.density import Density
from ucdir.images.jpeg_coefficients import JpegCoefficients
from ucdir.images.pixels import Pixels
from ucdir.images.png import Texts


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is kept of a photograph besides pixels; blocks are bytes as files hold them, or None.

    Args:
        exif: a TIFF structure that begins with `II` or `MM`; orientation 1, the image's size, no thumbnail.
        icc: colour profile, of the colour space of the pixels (grey or RGB).
        xmp: XML, UTF-8; orientation 1, the image's size, and nothing about what was left out.
        iptc: IPTC records (IIM).
        density: of the pixels, if it is known.
        texts: keywords and texts: comments, and what PNG files say.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: Density | None = None
    texts: Texts = ()


@dataclass(frozen=True, slots=True)
class Exposure:
    """How a photograph was exposed and developed.

    Args:
        ratio: what its light was multiplied by.
        gain: of the camera, in digital numbers per electron, if it is known.
        seconds: of the exposure, if the file says so.
        iso: sensitivity, if the file says so.
        demosaiced: whether it has the full size of a sensor, with the colours of each pixel interpolated.
    """

    ratio: float
    gain: float | None = None
    seconds: float | None = None
    iso: float | None = None
    demosaiced: bool = False


@dataclass(frozen=True)
class Photo:
    """A photograph, upright (the EXIF orientation is applied).

    Args:
        pixels: uint8 or uint16 [H,W,1] (grey) or [H,W,3] (RGB), contiguous.
        alpha: opacity, [H,W] of the same type, or None; colours are not multiplied with it.
        jpeg_quality: 1 (strongest compression) to 100, estimated from a JPEG file's own tables, else None.
        metadata: what else is to be kept.
        warnings: one sentence for each thing about the file that its owner should know.
        format: of the file it was read from, such as `"JPEG"`; empty if there is none.
        exposure: how its light was amplified, for RAW files; None if it was not.
        jpeg_coefficients: of a JPEG file, if `read` was asked for them.
        camera: whose colours the pixels were developed from, for RAW files.
        outside: of those files, if `read` was asked for it, the camera's balanced light that sRGB cannot hold: float16
            [H,W,3], smoothed, 0 where a colour is one of sRGB's.

    Raises:
        ImageError: the arrays are of another shape or type, or do not belong together.

    Example:
        >>> Photo(np.zeros((2, 3, 1), np.uint8)).is_grey
        True
    """

    pixels: Pixels
    alpha: Pixels | None = None
    jpeg_quality: int | None = None
    metadata: Metadata = field(default_factory=Metadata)
    warnings: tuple[str, ...] = ()
    format: str = ""
    exposure: Exposure | None = None
    jpeg_coefficients: JpegCoefficients | None = None
    camera: Camera | None = None
    outside: NDArray[np.float16] | None = None

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype not in (np.uint8, np.uint16) or len(shape) != 3 or shape[2] not in (1, 3):
            raise ImageError(
                "pixels of a photograph are uint8 or uint16 [H,W,1] or [H,W,3], "
                f"found {self.pixels.dtype} {list(shape)}; convert them first."
            )
        if min(shape) < 1:
            raise ImageError(f"pixels {list(shape)} of a photograph are empty; give at least one.")
        if self.alpha is not None and (
            self.alpha.shape != shape[:2] or self.alpha.dtype != self.pixels.dtype
        ):
            raise ImageError(
                f"alpha {self.alpha.dtype} {list(self.alpha.shape)} does not fit "
                f"pixels {self.pixels.dtype} {list(shape)}; make it the same height, width and type."
            )

    @property
    def is_grey(self) -> bool:
        """Whether there is one channel."""
        return bool(self.pixels.shape[2] == 1)
