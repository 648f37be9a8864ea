"""Colour profiles (ICC.1:2022) of the usual kind: a tone curve for each channel and, for RGB, a matrix to XYZ.

Any bytes are safe to read: every offset is checked, and no more is computed than fits the tag's size.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ucdir.images.camera import SRGB_TO_XYZ, linear_to_srgb, srgb_to_linear
from ucdir.images.pixels import Pixels

Curve = tuple[float, ...]
"""Parameters of the formula from sample to light, both in [0,1]: (g) for x^g; or (g, a, b, c, d) for (a x + b)^g from d
on, and c x below."""

Point = tuple[float, float]
"""CIE x, y."""

Floats = NDArray[np.floating[Any]]

_CHANNELS: Final = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}

SRGB_CURVE: Final[Curve] = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

NEARLY_SRGB: Final = 10 / 255
"""Profiles within so much of sRGB are taken for sRGB: most of these are sRGB, others are a gamma of 2.2."""

_D50: Final = np.array([0.9642, 1.0, 0.8249])
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _to_d50(white: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix [3,3] that adapts XYZ under a white to the D50 of profiles (Bradford)."""
    matrix: NDArray[np.float64] = (
        np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
    )
    return matrix


_SRGB_TO_D50: Final = _to_d50(SRGB_TO_XYZ.sum(axis=1)) @ SRGB_TO_XYZ

# ----------------------------------------------------------------------------------------------------- writing


def rgb_profile(name: str, primaries: Sequence[Point], white: Point, curve: Curve) -> bytes:
    """A profile of version 4 of an RGB space by the chromaticities of its primaries and its white."""
    to_xyz = np.array([_xyz(point) for point in primaries]).T
    to_xyz = to_xyz * np.linalg.solve(to_xyz, _xyz(white))
    adaptation = _to_d50(_xyz(white))
    columns = (adaptation @ to_xyz).T
    tags = {b"chad": b"sf32\0\0\0\0" + _fixed(*adaptation.flat)}
    tags |= {
        name + b"XYZ": _xyz_tag(column) for name, column in zip((b"r", b"g", b"b"), columns, strict=True)
    }
    return _profile(name, b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve_tag(curve)))


def grey_profile(name: str, curve: Curve) -> bytes:
    """A profile of version 4 of a grey space."""
    return _profile(name, b"GRAY", {b"kTRC": _curve_tag(curve)})


def _profile(name: str, model: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    tags = {
        b"desc": _text_tag(name),
        b"cprt": _text_tag("No copyright, use freely"),
        b"wtpt": _xyz_tag(_D50),
        **tags,
    }
    table, bodies, at = b"", b"", 132 + 12 * len(tags)
    places: dict[bytes, int] = {}
    for tag, body in tags.items():
        if body not in places:
            places[body] = at + len(bodies)
            bodies += body + bytes(-len(body) % 4)
        table += tag + struct.pack(">II", places[body], len(body))
    head = struct.pack(">I4xI4s4s4s", at + len(bodies), 0x04300000, b"mntr", model, b"XYZ ")
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(*_D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + bodies


def _xyz(point: Point) -> NDArray[np.float64]:
    x, y = point
    return np.array([x / y, 1, (1 - x - y) / y])


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def _xyz_tag(xyz: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*xyz)


def _curve_tag(curve: Curve) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 0 if len(curve) == 1 else 3, 0) + _fixed(*curve)


def _text_tag(text: str) -> bytes:
    return (
        b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", 2 * len(text), 28) + text.encode("utf-16-be")
    )


# ----------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class ColourSpace:
    """A grey or RGB space, and its way to sRGB and back.

    Args:
        light: of each channel, float32 [C,65536], not falling: sample of 16 bits -> light in [0,1].
        to_srgb: light to linear sRGB, [3,3], white to white; of grey the identity [1,1].
    """

    light: NDArray[np.float32]
    to_srgb: NDArray[np.float64]

    def srgb(self, pixels: Pixels) -> Floats:
        """Samples [h,w,C] of 8 or 16 bits -> sRGB [h,w,C], float32 in [0,1]; what lies outside of sRGB is clipped."""
        linear = np.stack(
            [table[pixels[..., i]] for i, table in enumerate(self._tables(pixels.dtype))], axis=-1
        )
        return linear_to_srgb(linear @ self.to_srgb.T.astype(np.float32))

    def samples(self, srgb: Floats) -> Floats:
        """SRGB [h,w,C] in [0,1] -> samples [h,w,C], float32 in [0,1]."""
        linear = srgb_to_linear(srgb) @ np.linalg.inv(self.to_srgb).T.astype(np.float32)
        places = np.rint(linear_to_srgb(linear) * 65_535).astype(np.uint16)
        return np.stack([table[places[..., i]] for i, table in enumerate(self._from_light)], axis=-1)

    @cached_property
    def _from_light(self) -> NDArray[np.float32]:
        """Sample in [0,1] by light, [C,65536]; the places are light as sRGB codes it, which suits the eye."""
        codes = np.linspace(0, 1, 65_536)
        samples = [np.interp(srgb_to_linear(codes), table, codes) for table in self.light]
        return np.stack(samples).astype(np.float32)

    def _tables(self, dtype: np.dtype[Any]) -> NDArray[np.float32]:
        return self.light if dtype == np.uint16 else self.light[:, ::257]

    @cached_property
    def is_nearly_srgb(self) -> bool:
        """Whether no colour is further than `NEARLY_SRGB` from what the same samples are in sRGB."""
        levels = np.linspace(0, 65_535, 18).astype(np.uint16)
        grid = np.stack(np.meshgrid(*[levels] * len(self.light)), axis=-1).reshape(1, -1, len(self.light))
        return bool(np.abs(self.srgb(grid) - grid / np.float32(65_535)).max() <= NEARLY_SRGB)


def icc_channels(profile: bytes) -> int | None:
    """How many channels a colour profile describes: 1 grey, 3 RGB, 4 CMYK; None if it is none of these."""
    return _CHANNELS.get(profile[16:20]) if len(profile) >= 128 and profile[36:40] == b"acsp" else None


@lru_cache(maxsize=4)
def colour_space(profile: bytes) -> ColourSpace | None:
    """The space of a grey or RGB profile; None if it has no tone curves, or RGB no matrix, or they are damaged."""
    tags = _tags(profile)
    model = profile[16:20]
    try:
        if model == b"GRAY":
            return ColourSpace(np.stack([_light(tags[b"kTRC"])]), np.eye(1))
        if model != b"RGB ":
            return None
        light = np.stack([_light(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
        columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        matrix = np.linalg.inv(_SRGB_TO_D50) @ (np.array(columns, np.float64).T / 65_536)
        matrix /= matrix.sum(axis=1, keepdims=True)
        if not (np.isfinite(matrix).all() and np.linalg.cond(matrix) < 1000):
            return None
    except (KeyError, ValueError, struct.error, np.linalg.LinAlgError):
        return None
    return ColourSpace(light, matrix)


def coded_transfer(profile: bytes) -> int | None:
    """The transfer characteristics (ITU-T H.273) that a profile's tag `cicp` names; None without one."""
    tag = _tags(profile).get(b"cicp", b"")
    return tag[9] if len(tag) >= 12 else None


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """The body of each tag that lies within the profile."""
    found: dict[bytes, bytes] = {}
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return found
    count = min(int.from_bytes(profile[128:132], "big"), (len(profile) - 132) // 12, 100)
    for at in range(132, 132 + 12 * count, 12):
        name, start, size = struct.unpack_from(">4sII", profile, at)
        if start + size <= len(profile):
            found.setdefault(name, profile[start : start + size])
    return found


def _light(tag: bytes) -> NDArray[np.float32]:
    """The tone curve of a tag `curv` or `para` at 65,536 places, [65536].

    Raises:
        ValueError: it is damaged.
        struct.error: it is cut off.
    """
    x = np.linspace(0, 1, 65_536)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count > (len(tag) - 12) // 2:
            raise ValueError("the curve is cut off")
        points = np.frombuffer(tag, ">u2", count, 12).astype(np.float64)
        if count == 0:
            y = x
        elif count == 1:
            y = x ** (points[0] / 256)
        else:
            y = np.interp(x, np.linspace(0, 1, count), points / 65_535)
    elif tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        if kind > 4:
            raise ValueError("the curve is of an unknown kind")
        given = [n / 65_536 for n in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)]
        y = _parametric(x, kind, *given)
    else:
        raise ValueError("no curve")
    y = np.clip(y, 0, 1)
    rising = np.maximum.accumulate(y)
    if not np.abs(y - rising).max() < 0.01 or not y[-1] > y[0]:  # NaN is refused, too
        raise ValueError("the curve does not rise")
    return rising.astype(np.float32)


def _parametric(x: NDArray[np.float64], kind: int, *given: float) -> NDArray[np.float64]:
    """The five formulas of ICC's parametricCurveType."""
    g, a, b, c, d, e, f = (*given, *(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)[len(given) - 1 :])
    if kind in (1, 2):
        d, e, c, f = (-b / a if a else 0.0), c, 0.0, c
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
