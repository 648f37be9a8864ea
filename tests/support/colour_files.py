"""Files of six known colours in many colour spaces, and what a program that knows these shows of a file."""

import io
import struct
import zlib
from functools import partial

import numpy as np
import pillow_heif
from PIL import Image, ImageCms
from tiny_tiff import long, tiny_tiff

from ucdir.images import icc as icc_module
from ucdir.images.camera import SRGB_TO_XYZ, linear_to_srgb, srgb_to_linear

# Published matrices (B. Lindbloom; ITU-R BT.2020; SMPTE EG 432-1), not computed by this package.
TO_XYZ = {
    "P3": [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0, 0.0451134, 1.0439444]],
    "Adobe": [
        [0.5767309, 0.185554, 0.1881852],
        [0.2973769, 0.6273491, 0.0752741],
        [0.0270343, 0.0706872, 0.9911085],
    ],
    "BT.2020": [
        [0.636958, 0.1446169, 0.168881],
        [0.2627002, 0.6779981, 0.0593017],
        [0, 0.0280727, 1.0609851],
    ],
    "sRGB": SRGB_TO_XYZ,
}
SCENE = np.array(
    [[0.2, 0.5, 0.7], [0.7, 0.3, 0.2], [0.4, 0.6, 0.3], [0.5, 0.5, 0.5], [0.9, 0.9, 0.85], [0.1, 0.12, 0.1]]
)
"""Six colours, in sRGB."""


def bt709(light):
    return np.where(light < 0.018, 4.5 * light, 1.099 * np.maximum(light, 0.018) ** 0.45 - 0.099)


CURVES = {
    "sRGB": linear_to_srgb,
    "2.2": lambda light: light ** (1 / 2.2),
    "Adobe": lambda light: light ** (256 / 563),
    "1.8": lambda light: light ** (1 / 1.8),
    "linear": lambda light: light,
    "BT.709": bt709,
}


def scene_in(space, curve, dtype=np.uint8):
    """The six colours in a space, [48,96,3]: two rows of three squares."""
    light = srgb_to_linear(SCENE) @ (np.linalg.inv(TO_XYZ[space]) @ SRGB_TO_XYZ).T
    samples = np.rint(CURVES[curve](np.clip(light, 0, 1)) * np.iinfo(dtype).max).astype(dtype)
    return samples.reshape(2, 3, 3).repeat(24, axis=0).repeat(32, axis=1)


def middles(pixels):
    return pixels.reshape(2, 24, 3, 32, -1)[:, 12, :, 16].reshape(6, -1)


def png(pixels, chunks):
    """A PNG of 8 or 16 bits with further chunks before its pixels."""
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, bits, {1: 0, 3: 2}[channels], 0, 0, 0),
        **chunks,
        b"IDAT": zlib.compress(np.insert(rows, 0, 0, axis=1).tobytes()),
        b"IEND": b"",
    }
    made = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def gama(value):
    return {b"gAMA": struct.pack(">I", round(value * 100_000))}


def chrm(points):
    *primaries, white = points
    return {
        b"cHRM": struct.pack(">8I", *(round(n * 100_000) for point in (white, *primaries) for n in point))
    }


P3_POINTS = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329))


def avif(pixels, primaries, transfer, **settings):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "AVIF", quality=100, subsampling="4:4:4", **settings)
    data = bytearray(file.getvalue())
    at = data.index(b"colrnclx") + 8
    struct.pack_into(">HH", data, at, primaries, transfer)
    return bytes(data)


def heic(pixels, mode="RGB", **coded):
    file = io.BytesIO()
    size = (pixels.shape[1], pixels.shape[0])
    pillow_heif.encode(
        mode, size, np.ascontiguousarray(pixels).tobytes(), file, quality=-1, chroma=444, **coded
    )
    return file.getvalue()


def bmp_with_profile(image, icc_profile):
    """Of version 5, which Pillow does not write: a longer header, and the profile at the end."""
    file = io.BytesIO()
    image.save(file, "BMP")
    data = file.getvalue()
    pixels = data[54:]
    header = bytearray(data[14:54].ljust(124, b"\0"))
    struct.pack_into("<I", header, 0, 124)
    header[56:60] = b"DEBM"
    struct.pack_into("<II", header, 112, 124 + len(pixels), len(icc_profile))
    size = 138 + len(pixels) + len(icc_profile)
    return struct.pack("<2sIII", b"BM", size, 0, 138) + bytes(header) + pixels + icc_profile


def nclx(primaries, transfer):
    return {
        "color_primaries": primaries,
        "transfer_characteristics": transfer,
        "matrix_coefficients": 6,
        "full_range_flag": 1,
    }


def exif_of_adobe_rgb(index=b"R03\0"):
    """EXIF as cameras write it: ColorSpace "uncalibrated" and an interoperability IFD."""
    exif = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 0x8769, 4, 1, 26, 0)
    exif += struct.pack("<HHHIHHHHIII", 2, 0xA001, 3, 1, 65535, 0, 0xA005, 4, 1, 56, 0)
    return exif + struct.pack("<HHHI4sI", 1, 1, 2, 4, index, 0)


def with_exif(pixels, format, exif, **settings):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, exif=exif, **settings)
    return file.getvalue()


def tiff_with_adobe_rgb():
    """A TIFF file whose own IFDs say it."""
    pixels = scene_in("Adobe", "Adobe")
    make = partial(tiny_tiff, 96, 48, 2, (8, 8, 8), pixels.tobytes())
    start = len(make(extra={0x8769: long(0)}))
    inner = struct.pack("<HHHIHHHHIII", 2, 0xA001, 3, 1, 65535, 0, 0xA005, 4, 1, start + 30, 0)
    interoperability = struct.pack("<HHHI4sI", 1, 1, 2, 4, b"R03\0", 0)
    return make(extra={0x8769: long(start)}) + inner + interoperability


def seen(image):
    """What a program that knows colour spaces shows of an image of Pillow: sRGB, uint8, by its profile and lcms."""
    profile = image.info.get("icc_profile")
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if profile is None:
        return np.asarray(image.convert("RGB")).astype(int)
    srgb = ImageCms.createProfile("sRGB")
    return np.asarray(
        ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, 1, "RGB")
    ).astype(int)


def hdr_profile(transfer):
    tag = {b"cicp": b"cicp\0\0\0\0" + bytes((9, transfer, 0, 1))}
    return icc_module._profile("HDR", b"RGB ", tag)
