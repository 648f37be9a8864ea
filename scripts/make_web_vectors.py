"""Writes web/tests/vectors.json: what the package computes, for the tests of the page to compare with.

python scripts/make_web_vectors.py
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ucdir.diffusion.noise import noise_by_place
from ucdir.diffusion.samplers import SAMPLERS, adds_noise
from ucdir.diffusion.schedule import NoiseSchedule
from ucdir.images.colour import colour_of_cicp
from ucdir.images.exif import clean_exif, ifd_bytes
from ucdir.images.icc import colour_space, grey_profile
from ucdir.images.jpeg import JpegHeader, estimate_quality, ijg_tables
from ucdir.images.photo import Metadata, Photo
from ucdir.images.srgb import amplified, from_srgb_signal, to_srgb_signal
from ucdir.patches.split import intervals, mirrored

OUTPUT = Path(__file__).parents[1] / "web" / "tests" / "vectors.json"


def main() -> None:
    """Write them."""
    vectors = {
        "noise": [noise(*case) for case in NOISE],
        "intervals": [cut(*case) for case in INTERVALS],
        "mirrored": [mirror(*case) for case in ((0, 16, 1), (0, 16, 9), (8, 24, 20))],
        "quality": [quality(*case) for case in QUALITIES],
        "samplers": [sampled(name) for name in SAMPLERS],
        "profiles": profiles(),
        "finished": finished(),
        "amplified": [amplify(*case) for case in ((20, False), (3.5, True))],
        "exif": exif(),
    }
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(vectors, separators=(",", ":")) + "\n", encoding="utf-8")


NOISE = (
    (0, 0, 2, 3, 0, 0),
    (7, 2, 3, 5, 126, 125),
    (2**40 + 3, 1, 1, 4, 500, 1000),
    (2**53 - 2, 0, 2, 2, 0, 127),
)
INTERVALS = ((300, 896), (896, 896), (904, 896), (4000, 896), (1000, 288), (3000, 512))
QUALITIES = ((10, 0), (50, 0), (75, 3), (92, 0), (100, 0), (1, 0))


def noise(seed: int, step: int, height: int, width: int, top: int, left: int) -> dict[str, Any]:
    """Noise of a rectangle, and the sum over many cells, in which rare branches of the ziggurat are taken."""
    numbers = noise_by_place(seed, step, height, width, top=top, left=left)
    many = noise_by_place(seed, step, 400, 500, top=top, left=left).astype(np.float64)
    return {
        "place": [seed, step, height, width, top, left],
        "numbers": [float(x) for x in numbers.ravel()],
        "sums": [float(np.abs(many).sum()), float((many**3).sum()), float(many.max())],
    }


def cut(length: int, patch: int) -> dict[str, Any]:
    """Intervals with the overlap of the pretrained models."""
    found = [[read.start, read.stop, kept.start, kept.stop] for read, kept in intervals(length, patch, 96, 8)]
    return {"of": [length, patch, 96, 8], "intervals": found}


def mirror(start: int, stop: int, length: int) -> dict[str, Any]:
    """Mirrored indices."""
    return {"of": [start, stop, length], "indices": mirrored(slice(start, stop), length).tolist()}


def quality(nominal: int, change: int) -> dict[str, Any]:
    """The quality of tables that are nearly those of one."""
    luminance, chrominance = (ijg_tables(nominal) + change).tolist()
    header = JpegHeader(8, 16, 16, (0, 1, 1), {0: np.array(luminance), 1: np.array(chrominance)})
    return {"tables": [luminance, chrominance], "quality": estimate_quality(header)}


def sampled(name: str) -> dict[str, Any]:
    """What a sampler gives of a denoiser that is a formula; the noise of a step is a formula, too."""
    levels = NoiseSchedule(2000, 1e-6, 0.01).sampling_levels(4, 0.5)
    x = np.linspace(-1, 1, 6)
    eta = {"ddpm": 1.0, "ddim": 0.5}.get(name, 0.0)
    result = SAMPLERS[name](
        lambda now, level: 0.3 * np.tanh(now) * level + 0.1, x, levels,
        lambda step: np.cos(step + np.arange(6)), **({"eta": eta} if adds_noise(name) else {}),
    )  # fmt: skip
    return {"name": name, "eta": eta, "levels": levels, "x": x.tolist(), "result": result.tolist()}


def profiles() -> list[dict[str, Any]]:
    """Profiles of wide spaces, of grey light, and of sRGB's primaries: samples to sRGB and back."""
    found = []
    for profile in (profile_of(12, 13), profile_of(9, 4), grey_profile("light", (1.0,)), profile_of(1, 4)):
        space = colour_space(profile)
        assert space is not None  # noqa: S101
        samples = np.random.default_rng(0).integers(0, 256, (1, 5, len(space.light))).astype(np.uint8)
        srgb = space.srgb(samples)
        found.append({
            "profile": base64.b64encode(profile).decode(),
            "samples": samples[0].tolist(),
            "srgb": srgb[0].tolist(),
            "back": space.samples(srgb * np.float32(0.9))[0].tolist(),
            "nearly": space.is_nearly_srgb,
        })  # fmt: skip
    return found


def profile_of(primaries: int, transfer: int) -> bytes:
    """The profile of code points of ITU-T H.273, such as 12, 13 for Display P3."""
    colour = colour_of_cicp(primaries, transfer)
    profile = None if colour is None else colour.profile(3)
    assert profile is not None  # noqa: S101
    return profile


def finished() -> list[dict[str, Any]]:
    """Restored pixels of images with black and white areas: RGB, grey of 16 bits, transparent, and of Display P3."""
    found = []
    for name, channels, dtype, transparent, profile in (
        ("RGB", 3, np.uint8, False, None), ("grey, 16 bits", 1, np.uint16, False, None),
        ("RGB, transparent", 3, np.uint8, True, None), ("Display P3", 3, np.uint8, False, profile_of(12, 13)),
    ):  # fmt: skip
        rng = np.random.default_rng(3)
        peak = int(np.iinfo(dtype).max)
        pixels = rng.integers(1, peak, (14, 16, channels)).astype(dtype)
        pixels[:, :7], pixels[3:, 9:] = peak, 0
        alpha = (rng.random((14, 16)) * peak).astype(dtype) if transparent else None
        if alpha is not None:
            alpha[:2] = 0
        photo = Photo(pixels, alpha=alpha, metadata=Metadata(icc=profile))
        restored = rng.uniform(-1.1, 1.1, (1, 3, 14, 16)).clip(-1, 1).astype(np.float32)
        found.append({
            "name": name, "size": [14, 16], "channels": channels, "peak": peak, "data": pixels.ravel().tolist(),
            "alpha": None if alpha is None else alpha.ravel().tolist(),
            "profile": None if profile is None else base64.b64encode(profile).decode(),
            "restored": [round(float(x), 7) for x in restored.ravel()],
            "seen": [round(float(x), 6) for x in to_srgb_signal(photo).ravel()],
            "finished": from_srgb_signal(restored, photo).ravel().tolist(),
        })  # fmt: skip
    return found


def amplify(ratio: float, wide: bool) -> dict[str, Any]:
    """Pixels whose light is multiplied."""
    profile = profile_of(12, 13) if wide else None
    pixels = np.random.default_rng(5).integers(0, 60, (1, 9, 3)).astype(np.uint8)
    return {
        "ratio": ratio, "profile": profile and base64.b64encode(profile).decode(), "data": pixels.ravel().tolist(),
        "amplified": amplified(Photo(pixels, metadata=Metadata(icc=profile)), ratio).ravel().tolist(),
    }  # fmt: skip


def exif() -> list[dict[str, Any]]:
    """EXIF of both byte orders with an orientation, sizes and a thumbnail, and what becomes of it."""
    found = []
    for order, head in (("<", b"II*\0"), (">", b"MM\0*")):
        short = struct.Struct(order + "H").pack
        number = struct.Struct(order + "I").pack
        picture = b"\xff\xd8thumbnail\xff\xd9"
        tags = {0x0112: (3, 1, short(6)), 0x010F: (2, 8, b"A maker\0"), 0x8769: (4, 1, number(0))}
        end = 8 + len(ifd_bytes(order, 8, tags))
        tags[0x8769] = (4, 1, number(end))
        sub = ifd_bytes(order, end, {0xA002: (4, 1, number(640)), 0xA003: (3, 1, short(480))})
        after = end + len(sub)
        thumbnail = ifd_bytes(
            order,
            after,
            {0x0201: (4, 1, number(after + 30)), 0x0202: (4, 1, number(len(picture)))},
        )
        block = bytearray(head + number(8) + ifd_bytes(order, 8, tags) + sub + thumbnail + picture)
        link = 8 + 2 + 12 * len(tags)
        block[link : link + 4] = number(after)
        cleaned = clean_exif(bytes(block), 480, 640, 6)
        assert cleaned is not None  # noqa: S101
        found.append(
            {"block": base64.b64encode(block).decode(), "cleaned": base64.b64encode(cleaned).decode()}
        )
    return found


if __name__ == "__main__":
    main()
