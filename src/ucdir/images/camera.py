"""From sensor values to an sRGB image and back: the simple pipeline of the low-light task (Sec. 4.3).

RAW files, synthesised low-light images and their clean counterparts are all developed by these few steps, so the
model sees images of one kind. Everything here is a formula on arrays; `raw.py` reads files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]

SPAN: Final = 16383 - 512
"""Digital numbers from black to white of a sensor of 14 bits, by which gains are told; Sony's, taken for all."""

# ----------------------------------------------------------------------- IEC 61966-2-1: the tone curve of sRGB


def linear_to_srgb(linear: Floats) -> Floats:
    """Light in [0,1] -> sRGB value in [0,1]; 12.92 v below 0.0031308, else 1.055 v^(1/2.4) - 0.055."""
    v = np.clip(linear, 0, 1)
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.maximum(v, 0.0031308) ** (1 / 2.4) - 0.055).astype(
        linear.dtype
    )


def srgb_to_linear(srgb: Floats) -> Floats:
    """sRGB value in [0,1] -> light in [0,1], the inverse of `linear_to_srgb`."""
    v = np.clip(srgb, 0, 1)
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(srgb.dtype)


# ------------------------------------------------------------------------------------------- the simple pipeline


def pack_bayer(mosaic: NDArray[Any], pattern: str = "RGGB") -> NDArray[Any]:
    """A Bayer mosaic [H,W] -> its four colours at half size, [H/2,W/2,4] in the order R, G, G, B.

    Args:
        mosaic: one number a pixel; an odd last row or column is left out.
        pattern: colours of the upper left 2x2 pixels, row by row: "RGGB", "BGGR", "GRBG" or "GBRG".
    """
    height, width = (side // 2 * 2 for side in mosaic.shape)
    sites = {(y, x): mosaic[y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)}
    colours = {"R": [], "G": [], "B": []}  # type: ignore[var-annotated]
    for site, colour in zip(sites, pattern, strict=True):
        colours[colour].append(sites[site])
    return np.stack([*colours["R"], *colours["G"], *colours["B"]], axis=-1)


def develop(packed: Floats, white_balance: Floats, camera_to_srgb: Floats) -> Floats:
    """Packed Bayer light -> image: mean of both greens, white balance, clip, colour matrix, tone curve.

    Args:
        packed: [h,w,4], R, G, G, B; black is 0 and white is 1; amplified already.
        white_balance: gains of R, G and B, [3]; the smallest is 1, so that white stays white.
        camera_to_srgb: colours of the camera (balanced) to linear sRGB, [3,3]; its rows add up to 1.

    Returns:
        sRGB, [h,w,3] float32 in [0,1].
    """
    rgb = np.stack([packed[..., 0], (packed[..., 1] + packed[..., 2]) / 2, packed[..., 3]], axis=-1)
    return develop_rgb(rgb, white_balance, camera_to_srgb)


def develop_rgb(rgb: Floats, white_balance: Floats, camera_to_srgb: Floats) -> Floats:
    """The same for light that has all three colours at every pixel, [h,w,3]."""
    balanced = np.clip(rgb * white_balance, 0, 1).astype(np.float32)
    return linear_to_srgb(balanced @ np.asarray(camera_to_srgb, dtype=np.float32).T)


def srgb_to_balanced(srgb: Floats, camera_to_srgb: Floats) -> Floats:
    """sRGB [h,w,3] in [0,1] -> the camera's balanced light; beyond [0,1] where the camera cannot see such a colour."""
    return srgb_to_linear(srgb) @ np.linalg.inv(camera_to_srgb).T.astype(srgb.dtype)


def undevelop(srgb: Floats, white_balance: Floats, camera_to_srgb: Floats) -> Floats:
    """The inverse of `develop`, as far as there is one: sRGB [h,w,3] in [0,1] -> packed light [h,w,4] in [0,1].

    Both greens get the same value; colours that the camera cannot see are clipped.
    """
    rgb = np.clip(srgb_to_balanced(srgb, camera_to_srgb), 0, 1) / np.asarray(white_balance, dtype=srgb.dtype)
    return rgb[..., [0, 1, 1, 2]]


SRGB_TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to XYZ (D65), IEC 61966-2-1."""


def camera_to_srgb(xyz_to_camera: ArrayLike) -> NDArray[np.float64]:
    """Balanced camera colours to linear sRGB [3,3], white to white, from a matrix XYZ to camera [3,3]."""
    srgb_to_camera = np.asarray(xyz_to_camera, dtype=np.float64) @ SRGB_TO_XYZ
    matrix: NDArray[np.float64] = np.linalg.inv(srgb_to_camera / srgb_to_camera.sum(axis=1, keepdims=True))
    return matrix


@dataclass(frozen=True)
class Camera:
    """What a camera's colours are, and how they were developed.

    Args:
        white_balance: gains of R, G and B, [3]; the smallest is 1.
        to_srgb: balanced colours to linear sRGB, [3,3]; its rows add up to 1.
        daylight: gains of R, G and B for the light D65, [3].
        known: whether `to_srgb` is the camera's; else it is the identity.
    """

    white_balance: NDArray[np.float32]
    to_srgb: NDArray[np.float64]
    daylight: NDArray[np.float32]
    known: bool = True

    @property
    def xyz_to_camera(self) -> NDArray[np.float64]:
        """XYZ to the camera's colours, not balanced, [3,3], for D65: the inverse of `camera_to_srgb`."""
        matrix = np.linalg.inv(SRGB_TO_XYZ @ self.to_srgb) / self.daylight[:, None]
        return matrix.astype(np.float64)


NO_COLOURS: Final = Camera(np.ones(3, np.float32), np.eye(3), np.ones(3, np.float32))
"""Of a monochrome sensor."""
