"""What is expected of each file of the hostile corpus, beside its manifest; for its test and for its script."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

IMAGES = ("malformed", "valid", "fuzz")
"""Folders of the corpus."""


def manifest_of(corpus: Path) -> dict[str, dict[str, str]]:
    """path -> its row."""
    with (corpus / "MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}


def images_of(corpus: Path) -> dict[str, dict[str, str]]:
    """The images' rows."""
    return {path: row for path, row in manifest_of(corpus).items() if path.split("/")[0] in IMAGES}


# Files whose outcome differs from the manifest's, and why that is meant.
DEVIATIONS = {
    # refused though the manifest says read
    "valid/generated/float32.tif": ("refuse", "floating point: no range is known to mean black and white"),
    "valid/tiff/gradient-1c-32b-float.tiff": ("refuse", "floating point"),
    "valid/tiff_pillow/10ct_32bit_128.tiff": ("refuse", "floating point"),
    "valid/tiff/gradient-1c-32b.tiff": ("refuse", "32 bits a sample: nothing here holds them"),
    "valid/tiff/int8.tif": ("refuse", "signed samples: no zero is known to mean black"),
    "valid/tiff/int16.tif": ("refuse", "signed samples"),
    "valid/tiff/int16_zstd.tif": ("refuse", "signed samples"),
    "valid/tiff_pillow/separate_planar_extra_samples.tiff": ("refuse", "signed samples"),
    "valid/tiff_pillow/12bit.cropped.tif": ("refuse", "12 bits a sample: libtiff unpacks none"),
    "valid/tiff_pillow/hopper_lzma.tif": ("refuse", "LZMA is not built into libvips' wheel"),
    "valid/tiff_pillow/old-style-jpeg-compression.tif": (
        "refuse",
        "withdrawn in 1995; not built into the wheel",
    ),
    "valid/tiff_pillow/hopper.Lab.tif": ("refuse", "CIE Lab of 8 bits: libvips opens it as another coding"),
    "valid/tiff/minisblack-2c-8b-alpha.tiff": (
        "refuse",
        "grey and alpha in planes: libvips 8.18 mixes up its rows",
    ),
    # read though the manifest says refuse
    "malformed/pillow/png_decompression_dos.png": (
        "read",
        "text chunks are never kept; the one pixel is sound",
    ),
    "malformed/image-rs/tiff_TODO_hpredict_cmyk.tiff": (
        "read",
        "valid CMYK with alpha, which image-rs lacks",
    ),
}

ALLOWED = {
    "refuse": {"refuse"},
    "read": {"read"},
    "read-first": {"read"},
    "read-or-refuse": {"read", "refuse"},
    "survive": {"read", "refuse"},
}

# Pillow is no judge of these: it applies a transparent grey level below or above 8 bits unscaled, and fills
# what a GIF's first frame leaves open with a colour instead of transparency.
PILLOW_DIFFERS = {
    "valid/pngsuite/tbbn0g04.png",
    "valid/pngsuite/tbwn0g16.png",
    "valid/misc_pillow/i_trns.png",
    "valid/gif/border_touching_layers.gif",
    "valid/gif/issue_1455_undersized.gif",
}

MODES = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}


def by_pillow(path: Path, channels: int, alpha: bool) -> tuple[np.ndarray, str]:
    with Image.open(path) as image:
        mode = image.mode
        turned = ImageOps.exif_transpose(image)
        pixels = np.asarray(turned if mode.startswith("I;16") else turned.convert(MODES[channels, alpha]))
    return pixels.reshape(pixels.shape[0], pixels.shape[1], -1), mode
