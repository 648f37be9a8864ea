"""Malformed, hostile and odd-but-valid images: each has the outcome that the corpus's manifest expects.

The corpus is the one in the data folder beside the repository (1,700 images) where that is present, else the part of it
in `tests/data/hostile`. Two subprocesses read all of it, so that a crash or a hang of a decoder fails this test instead
of ending it.
"""

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ucdir.errors import ImageError
from ucdir.images import read

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

READ_ALL = """
import json, resource, sys, time
from ucdir.errors import ImageError
from ucdir.images import read
for line in sys.stdin:
    start = time.perf_counter()
    path = line.rstrip("\\n")
    try:
        photo = read(path)
        result = ["read", [*photo.pixels.shape], photo.pixels.dtype.name, photo.warnings]
    except ImageError as error:
        result = ["refuse", str(error)]
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps([path, result, seconds, peak]), flush=True)
"""


@pytest.fixture(scope="module")
def corpus(test_data, shared_folder) -> Path:
    whole = shared_folder / "hostile"
    return whole if (whole / "MANIFEST.tsv").exists() else test_data / "hostile"


@pytest.fixture(scope="module")
def manifest(corpus) -> dict[str, dict[str, str]]:
    with (corpus / "MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    images = ("malformed", "valid", "fuzz")
    return {row["path"]: row for row in rows if row["path"].split("/")[0] in images}


@pytest.fixture(scope="module")
def outcomes(corpus, manifest) -> dict[str, list]:
    """path -> [result, seconds, peak MiB], read by two processes at once."""
    paths = sorted(manifest)
    processes = []
    for part in (paths[::2], paths[1::2]):
        process = subprocess.Popen(
            [sys.executable, "-c", READ_ALL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            stderr=subprocess.PIPE,
        )
        processes.append((process, "".join(f"{corpus / path}\n" for path in part)))
    found = {}
    for process, names in processes:
        output, errors = process.communicate(names, timeout=90)
        last = output.splitlines()[-1][:300] if output else "nothing"
        assert process.returncode == 0, f"died after {last}: {errors[-500:]}"
        assert errors == ""
        for line in output.splitlines():
            path, *rest = json.loads(line)
            found[str(Path(path).relative_to(corpus))] = rest
    assert found.keys() == manifest.keys()
    return found


def test_every_file_has_the_expected_outcome(manifest, outcomes):
    wrong = {}
    for path, row in manifest.items():
        outcome = outcomes[path][0][0]
        allowed = {DEVIATIONS[path][0]} if path in DEVIATIONS else ALLOWED[row["expect"]]
        if outcome not in allowed:
            wrong[path] = (row["expect"], outcomes[path][0])
    assert not wrong
    assert Counter(result[0] for result, *_ in outcomes.values()).keys() == {"read", "refuse"}


def test_every_deviation_is_one(manifest):
    present = DEVIATIONS.keys() & manifest.keys()
    assert present
    for path in present:
        outcome, why = DEVIATIONS[path]
        assert outcome not in ALLOWED[manifest[path]["expect"]], path
        assert why


def test_every_refusal_is_one_clear_sentence(corpus, outcomes):
    for path, (result, *_) in outcomes.items():
        if result[0] == "refuse":
            text = result[1]
            assert text.isprintable(), path
            assert text.endswith("."), path
            assert ";" in text, path
            assert len(text) < 500, path
            assert text.startswith(str(corpus)[:20]), path
            assert "unable to call" not in text, path


def test_nothing_takes_long_or_grows(outcomes):
    slow = {path: seconds for path, (_, seconds, _) in outcomes.items() if seconds > 5}
    assert not slow
    # The largest file that is read decodes to 507 MB.
    assert max(peak for *_, peak in outcomes.values()) < 800


def test_first_frames_are_read_with_a_warning(manifest, outcomes):
    several = [path for path, row in manifest.items() if row["expect"] == "read-first"]
    assert several
    for path in several:
        (warning,) = outcomes[path][0][3]
        assert "has 4 " in warning
        assert "only the first is restored" in warning


def test_sizes_that_the_manifest_names(manifest, outcomes):
    checked = 0
    for path, row in manifest.items():
        width, cross, height = (row["detail"] or "").partition("x")
        if cross and width.isdigit() and height.isdigit() and outcomes[path][0][0] == "read":
            assert outcomes[path][0][1][:2] == [int(height), int(width)], path
            checked += 1
    assert checked > 10


def test_depth_is_kept(outcomes):
    sixteen = {
        path for path, (result, *_) in outcomes.items() if result[0] == "read" and result[2] == "uint16"
    }
    expected = {path for path in outcomes if path.startswith("valid/pngsuite/") and path[-6:-4] == "16"}
    expected |= {f"valid/generated/{name}" for name in ("gray16.png", "rgb16.png", "one_pixel_I16.png")}
    expected |= {
        path for path in outcomes if path.startswith("valid/tiff_depth/") and path.endswith("-16.tif")
    }
    assert len(expected) > 10
    assert expected <= sixteen


# Pillow is no judge of these: it applies a transparent grey level below or above 8 bits unscaled, and fills
# what a GIF's first frame leaves open with a colour instead of transparency.
PILLOW_DIFFERS = {
    "valid/pngsuite/tbbn0g04.png",
    "valid/pngsuite/tbwn0g16.png",
    "valid/misc_pillow/i_trns.png",
    "valid/gif/border_touching_layers.gif",
    "valid/gif/issue_1455_undersized.gif",
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_valid_images_equal_pillow(corpus, manifest, outcomes):
    different, compared = {}, Counter()
    for path in manifest:
        if not path.startswith("valid/") or outcomes[path][0][0] != "read":
            continue
        photo = read(corpus / path)
        try:
            expected, mode = by_pillow(corpus / path, photo.pixels.shape[2], photo.alpha is not None)
        except OSError:
            continue
        if mode == "CMYK" or (photo.pixels.dtype == np.uint16 and expected.dtype == np.uint8):
            continue
        found = photo.pixels if photo.alpha is None else np.dstack([photo.pixels, photo.alpha])
        if photo.alpha is not None:
            expected, found = (np.where(a[:, :, -1:] == 0, 0, a) for a in (expected, found))
        if expected.shape != found.shape or (expected != found).any():
            different[path] = (mode, expected.shape, found.shape)
        compared[Path(path).parts[1]] += 1
    assert different.keys() == PILLOW_DIFFERS & manifest.keys()
    assert compared.total() > 100
    assert len(compared) >= 12


MODES = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}


def by_pillow(path: Path, channels: int, alpha: bool) -> tuple[np.ndarray, str]:
    with Image.open(path) as image:
        mode = image.mode
        turned = ImageOps.exif_transpose(image)
        pixels = np.asarray(turned if mode.startswith("I;16") else turned.convert(MODES[channels, alpha]))
    return pixels.reshape(pixels.shape[0], pixels.shape[1], -1), mode


@pytest.mark.parametrize("name", ["rgb-contig-16", "rgb-planar-16", "rgb-contig-08", "minisblack-16"])
def test_tiff_depths_equal_tifffile(corpus, name):
    import tifffile

    path = corpus / f"valid/tiff_depth/flower-{name}.tif"
    expected = tifffile.imread(path)
    if "planar" in name:
        expected = expected.transpose(1, 2, 0)
    np.testing.assert_array_equal(read(path).pixels.squeeze(), expected)


def test_sixteen_bit_png_equals_its_tiff(corpus):
    photo = read(corpus / "valid/generated/rgb16.png")
    assert photo.pixels.dtype == np.uint16
    assert (photo.pixels % 257 != 0).any()


def test_a_missing_file_beside_the_corpus_is_refused(corpus):
    with pytest.raises(ImageError, match="does not exist"):
        read(corpus / "valid/nothing.png")
