"""Malformed, hostile and odd-but-valid images: each has the outcome that the corpus's manifest expects.

The corpus is the one in the data folder beside the repository (1,700 images) where that is present, else the part of it
in `tests/data/hostile`. Two subprocesses read all of it, so that a crash or a hang of a decoder fails this test instead
of ending it.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hostile_corpus import ALLOWED, DEVIATIONS, PILLOW_DIFFERS, by_pillow, images_of

from ucdir.errors import ImageError
from ucdir.images import read

READ_ALL = """
import json, sys, time
from ucdir.errors import ImageError
from ucdir.images import read
from ucdir.memory import _status
for line in sys.stdin:
    start = time.perf_counter()
    path = line.rstrip("\\n")
    try:
        photo = read(path)
        result = ["read", [*photo.pixels.shape], photo.pixels.dtype.name, photo.warnings]
    except ImageError as error:
        result = ["refuse", str(error)]
    seconds = time.perf_counter() - start
    peak = _status("VmHWM") >> 20  # getrusage would count that of the process it was forked from
    print(json.dumps([path, result, seconds, peak]), flush=True)
"""


@pytest.fixture(scope="module")
def corpus(test_data, shared_folder) -> Path:
    whole = shared_folder / "hostile"
    return whole if (whole / "MANIFEST.tsv").exists() else test_data / "hostile"


@pytest.fixture(scope="module")
def manifest(corpus) -> dict[str, dict[str, str]]:
    return images_of(corpus)


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
