"""Colour spaces that a file names without a profile, as the profile (ICC) that says the same.

AVIF, HEIC  ─ nclx ──────┐
PNG         ─ cICP ──────┤
PNG         ─ cHRM, gAMA ┼─> profile, or None for sRGB
EXIF        ─ Adobe RGB ─┘
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ucdir.errors import ImageError
from ucdir.images.icc import SRGB_CURVE, Curve, Point, coded_transfer, grey_profile, rgb_profile


class Colour(NamedTuple):
    """What a file says of its colours without a profile; None is as in sRGB."""

    primaries: tuple[Point, ...] | None = None
    """Chromaticities of red, green, blue and white."""
    curve: Curve | None = None
    name: str = ""

    def profile(self, channels: int) -> bytes | None:
        """The profile of an image of 1 or 3 channels; None for sRGB."""
        if self.curve is None and (channels == 1 or self.primaries is None):
            return None
        curve = self.curve or SRGB_CURVE
        if channels == 1:
            return grey_profile(f"Grey of {self.name}", curve)
        *primaries, white = self.primaries or SRGB
        return rgb_profile(self.name, primaries, white, curve)


UNKNOWN: Final = Colour(name="unknown")
"""Of code points that are not known; to be taken as sRGB, and said."""

_D65: Final = (0.3127, 0.3290)
_C: Final = (0.310, 0.316)

SRGB: Final = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
ADOBE_RGB: Final = Colour(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65), (563 / 256,), "Adobe RGB (1998)")

# ITU-T H.273 (CICP), tables 2 and 3. Number 2 is "unspecified".
_NTSC: Final = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)
_PRIMARIES: Final[dict[int, tuple[str, tuple[Point, ...] | None]]] = {
    1: ("BT.709", None),
    2: ("sRGB", None),
    4: ("BT.470 M", ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C)),
    5: ("BT.601 (625)", ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65)),
    6: ("BT.601 (525)", _NTSC),
    7: ("SMPTE 240M", _NTSC),
    8: ("Film", ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C)),
    9: ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65)),
    11: ("DCI-P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351))),
    12: ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65)),
    22: ("EBU 3213", ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65)),
}
_BT709: Final[Curve] = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES: Final[dict[int, tuple[str, Curve | None]]] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), ("BT.709", _BT709)),
    2: ("", None),
    4: ("gamma 2.2", (2.2,)),
    5: ("gamma 2.8", (2.8,)),
    7: ("SMPTE 240M", (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0912)),
    8: ("linear", (1.0,)),
    13: ("", None),
    17: ("SMPTE 428", (2.6, (52.37 / 48) ** (1 / 2.6), 0.0, 0.0, 0.0)),
}
_HDR: Final = {16: "PQ", 18: "HLG"}


def colour_of_cicp(primaries: int, transfer: int) -> Colour | None:
    """The colours of code points (ITU-T H.273), as nclx and cICP have them; None for those that say nothing.

    Raises:
        ImageError: the brightness is coded as HDR.
    """
    refuse_hdr(transfer)
    if primaries == transfer == 2:
        return None
    if primaries not in _PRIMARIES or transfer not in _CURVES:
        return UNKNOWN
    space, points = _PRIMARIES[primaries]
    curve_name, curve = _CURVES[transfer]
    return Colour(points, curve, f"{space}, {curve_name}" if curve_name else space)


def refuse_hdr(transfer: int | None) -> None:
    """Refuse what the networks never saw.

    Raises:
        ImageError: the transfer characteristics are PQ or HLG.
    """
    if transfer in _HDR:
        raise ImageError(
            f"is an HDR image (its brightness is coded as {_HDR[transfer]}), which ucdir does not restore; convert it "
            "to SDR first, such as sRGB or Display P3."
        )


def refuse_hdr_profile(profile: bytes | None) -> None:
    """The same for a profile that names its transfer characteristics."""
    refuse_hdr(None if profile is None else coded_transfer(profile))


def colour_of_png(chunks: Mapping[bytes, bytes]) -> Colour | None:
    """The colours that the chunks cICP, iCCP, sRGB, gAMA and cHRM of a PNG file name; the first of these counts.

    Returns:
        None where they say nothing, or a profile (iCCP) says it.

    Raises:
        ImageError: the brightness is coded as HDR.
    """
    if len(coded := chunks.get(b"cICP", b"")) == 4:
        if coded[3] == 0 and coded[0] != 2:
            raise ImageError(
                "stores its samples in narrow range, which ucdir does not read; convert it to sRGB first."
            )
        return colour_of_cicp(coded[0], coded[1])
    if b"iCCP" in chunks or not {b"sRGB", b"gAMA", b"cHRM"} & chunks.keys():
        return None
    if b"sRGB" in chunks:
        return Colour()
    (gamma,) = _fractions(chunks, b"gAMA", 1)
    x, y = (_fractions(chunks, b"cHRM", 8)[i::2] for i in (0, 1))
    white, *points = zip(x, y, strict=True)
    if b"cHRM" in chunks and not _are_colours(points, white):
        return UNKNOWN
    primaries = None if min(y) <= 0 or _is_srgb((*points, white)) else (*points, white)
    is_srgb = primaries is None and abs(gamma - 1 / 2.2) < 0.005  # what the standard has written beside sRGB
    return Colour(
        primaries, (1 / gamma,) if 0.1 < gamma < 10 and not is_srgb else None, "PNG's cHRM and gAMA"
    )


def _fractions(chunks: Mapping[bytes, bytes], name: bytes, count: int) -> tuple[float, ...]:
    """The numbers of a chunk; zeros where it is missing or damaged."""
    body = chunks.get(name, b"")
    return tuple(
        n / 100_000 for n in struct.unpack(f">{count}I", body if len(body) == 4 * count else bytes(4 * count))
    )


def _are_colours(points: Sequence[Point], white: Point) -> bool:
    """Whether primaries are chromaticities that mix to a white that could be one."""
    if not all(y > 0 and x + y <= 1.001 for x, y in (*points, white)) or not all(
        0.2 < v < 0.5 for v in white
    ):
        return False
    (rx, ry), (gx, gy), (bx, by) = points
    doubled = (gx - rx) * (by - ry) - (bx - rx) * (gy - ry)  # area of the triangle, signed
    (wx, wy) = white
    inside = (
        (rx - wx) * (gy - wy) - (gx - wx) * (ry - wy),
        (gx - wx) * (by - wy) - (bx - wx) * (gy - wy),
        (bx - wx) * (ry - wy) - (rx - wx) * (by - wy),
    )
    return abs(doubled) > 0.01 and all(part / doubled > 0.01 for part in inside)


def _is_srgb(primaries: tuple[Point, ...]) -> bool:
    near = zip(primaries, SRGB, strict=True)
    return all(abs(a - b) < 0.002 for found, known in near for a, b in zip(found, known, strict=True))
