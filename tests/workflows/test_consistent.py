"""`consistent`: the written photo compresses to the coefficients of the JPEG file that it was restored from."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from ucdir.degradations import JpegCompression
from ucdir.degradations.jpeg_consistency import share_consistent
from ucdir.errors import ConfigError, ImageError
from ucdir.images import Photo, encode_photo, read, write
from ucdir.images.decode import upright
from ucdir.images.jpeg_coefficients import jpeg_coefficients
from ucdir.pipeline import RestorationPipeline, load
from ucdir.workflows.restore import restore

Y, X = np.mgrid[:37, :52]
CLEAN = np.clip(
    np.stack([Y * 3 + X, X * 4, 200 - 3 * Y], -1) + np.random.default_rng(0).normal(0, 8, (37, 52, 3)), 0, 255
)
CLEAN = CLEAN.astype(np.uint8)
DATA = JpegCompression(30).encode(CLEAN)


@pytest.fixture(scope="module")
def pipeline(random_pipeline):
    return random_pipeline()


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(DATA)
    return tmp_path / "photo.jpg"


def share(pixels, data=DATA):
    return share_consistent(pixels, jpeg_coefficients(data))


@pytest.mark.parametrize("options", [{}, {"fidelity": 0.5}, {"samples": 2}])
def test_the_result_is_consistent(pipeline, photo, tmp_path, options):
    plain = restore(photo, tmp_path / "plain.png", pipeline=pipeline, **options)
    done = restore(photo, tmp_path / "out.png", pipeline=pipeline, consistent=True, **options)
    assert done.notes == plain.notes == ()
    assert share(read(plain.output).pixels) < 0.95, "control: without the option it is not"
    assert share(read(done.output).pixels) >= 0.999
    tables = Image.open(io.BytesIO(DATA)).quantization
    again = io.BytesIO()
    Image.fromarray(read(done.output).pixels).save(again, "JPEG", qtables=tables, subsampling="4:2:0")
    pairs = zip(jpeg_coefficients(again.getvalue()).planes, jpeg_coefficients(DATA).planes, strict=True)
    assert np.concatenate([(a.levels == b.levels).ravel() for a, b in pairs]).mean() >= 0.999


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_that_are_turned_upright(pipeline, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(CLEAN).save(tmp_path / "photo.jpg", quality=30, exif=exif)
    done = restore(tmp_path / "photo.jpg", pipeline=pipeline, consistent=True)
    pixels = read(done.output).pixels
    assert pixels.shape == upright(CLEAN, orientation).shape
    stored = upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))
    assert share(stored, (tmp_path / "photo.jpg").read_bytes()) >= 0.999


def test_grey_photos(pipeline, tmp_path):
    Image.fromarray(CLEAN[..., 0]).save(tmp_path / "photo.jpg", quality=30)
    done = restore(tmp_path / "photo.jpg", pipeline=pipeline, consistent=True)
    pixels = read(done.output).pixels
    assert pixels.shape == (37, 52, 1)
    assert share(pixels, (tmp_path / "photo.jpg").read_bytes()) >= 0.999


def test_a_lossy_output_is_said_not_to_be_consistent(pipeline, photo, tmp_path):
    for suffix in (".jpg", ".webp", ".avif"):
        done = restore(photo, tmp_path / f"out{suffix}", pipeline=pipeline, consistent=True)
        (note,) = done.notes
        assert "its format is lossy, so it is not consistent with the JPEG file; choose .png or .tif." in note
    for suffix in (".png", ".tif", ".bmp"):
        done = restore(photo, tmp_path / f"out{suffix}", pipeline=pipeline, consistent=True)
        assert share(read(done.output).pixels) >= 0.999


def test_bytes(pipeline):
    assert share(read(restore(DATA, pipeline=pipeline, consistent=True, format="png")).pixels) >= 0.999
    for format in (None, "webp"):
        with pytest.raises(ConfigError, match="a lossy format would not stay consistent; choose 'png'"):
            restore(DATA, pipeline=pipeline, consistent=True, format=format)


def test_a_file_finer_than_whole_levels_gets_a_note(pipeline, tmp_path):
    (tmp_path / "fine.jpg").write_bytes(data := JpegCompression(100).encode(CLEAN))
    done = restore(tmp_path / "fine.jpg", pipeline=pipeline, task="jpeg_restoration", consistent=True)
    (note,) = done.notes
    assert note.endswith("% of the JPEG file's coefficients, not with all.")
    assert 0.5 < share(read(done.output).pixels, data) < 0.999


def test_what_has_no_coefficients_is_refused_before_the_work(
    pipeline, random_pipeline, photo, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        RestorationPipeline, "restore_signal", lambda *_, **__: pytest.fail("the work was begun")
    )
    write(Photo(CLEAN), tmp_path / "photo.png")

    def refused(image, match, **options):
        with pytest.raises(ConfigError, match=match):
            restore(image, **{"pipeline": pipeline, "consistent": True, **options})

    refused(tmp_path / "photo.png", r"photo\.png: only the restoration of a JPEG file .* this is a PNG file")
    refused(CLEAN, "image: only the restoration of a JPEG file .* this is an image in memory")
    refused(photo, "brightening changes what the JPEG file says", brighten=8.0)
    deblurring = random_pipeline(task="deblurring")
    refused(
        photo, "the task deblurring changes what the JPEG file says; leave out --cons", pipeline=deblurring
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.jpg", "photo.png"]


# ------------------------------------------------------------------------------------- files of high quality, unasked


def test_files_of_high_quality_are_nearly_consistent_unless_it_is_declined(pipeline, tmp_path):
    for quality, expected in ((60, False), (80, True), (92, True)):
        data = JpegCompression(quality).encode(CLEAN)

        def found(given, data=data, **options):
            options = {"pipeline": pipeline, "task": "jpeg_restoration", "amount": 1, **options}
            return share(read(restore(given, format="png", **options)).pixels, data)

        declined = found(data, consistent=False)
        assert declined < 0.75
        assert (found(data) > 0.8) == expected
        assert found(data, scalars={"jpeg_quality": 50}) == found(
            data, scalars={"jpeg_quality": 50}, consistent=False
        ), "an earlier, stronger compression is what counts"
    (tmp_path / "photo.jpg").write_bytes(data)
    for suffix in (".png", ".jpg"):
        done = restore(tmp_path / "photo.jpg", tmp_path / f"out{suffix}", pipeline=pipeline)
        assert done.notes == (), "it is no promise"
    assert restore(data, pipeline=pipeline)[:2] == b"\xff\xd8", "a lossy format is not refused"


def test_what_cannot_be_made_consistent_is_restored_as_it_was(
    pipeline, random_pipeline, tmp_path, monkeypatch
):
    Image.fromarray(CLEAN).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=90)
    with pytest.raises(ImageError, match="leave out --consistent"):
        restore(tmp_path / "cmyk.jpg", pipeline=pipeline, consistent=True)
    restore(tmp_path / "cmyk.jpg", pipeline=pipeline)
    (tmp_path / "photo.jpg").write_bytes(JpegCompression(90).encode(CLEAN))
    monkeypatch.setattr(
        sys.modules["ucdir.images.read"], "jpeg_coefficients", lambda *_: pytest.fail("they are not needed")
    )
    restore(tmp_path / "photo.jpg", tmp_path / "a.png", pipeline=random_pipeline(task="deblurring"))
    restore(tmp_path / "photo.jpg", tmp_path / "b.png", pipeline=pipeline, consistent=False)


def natural(height, width):
    """Soft shapes with texture whose spectrum falls as that of photographs does: uint8 [H,W,3]."""
    rng = np.random.default_rng(3)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) + 1 / width
    noise = np.fft.rfft2(rng.normal(size=(3, height, width))) / frequency**1.2
    texture = np.fft.irfft2(noise, (height, width)).transpose(1, 2, 0)
    y, x = np.mgrid[:height, :width][..., None]
    shapes = sum(
        rng.uniform(-60, 60, 3) / (1 + np.exp((np.hypot(y - cy, x - cx) - radius) / 0.7))
        for cy, cx, radius in rng.uniform((0, 0, 8), (height, width, 40), (9, 3))
    )
    return np.clip(128 + shapes + 14 * texture / texture.std(), 0, 255).astype(np.uint8)


def test_what_the_package_restores_is_nearer_to_the_clean_image_than_the_jpeg():
    """Of high qualities, with no option given; a PNG made of the JPEG likewise."""
    clean, pipeline = natural(128, 160), load("jpeg_restoration", "cpu", "fp32")

    def psnr(pixels):
        return float(-10 * np.log10(np.square(pixels / 255 - clean / 255).mean()))

    for quality in (80, 93):
        data = JpegCompression(quality).encode(clean)
        found = psnr(read(restore(data, pipeline=pipeline, format="png")).pixels)
        all_of_it = restore(data, pipeline=pipeline, format="png", amount=1, consistent=False)
        assert found > psnr(read(data).pixels) + 0.02
        assert psnr(read(all_of_it).pixels) < psnr(read(data).pixels), "control"
    before = read(JpegCompression(80).encode(clean)).pixels
    png = b"".join(encode_photo(Photo(before), "PNG")[0])
    assert psnr(read(restore(png, pipeline=pipeline, task="jpeg_restoration")).pixels) > psnr(before)
