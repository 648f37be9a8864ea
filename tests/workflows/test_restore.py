"""The way of one photograph: what its file says is used and kept."""

import numpy as np
import pytest
import torch
from machine import NEEDS_GPU
from random_images import image_of

from ucdir.degradations import JpegCompression
from ucdir.errors import ConfigError, DeviceError, ImageError, OutputError, WeightsError
from ucdir.images import Exposure, Metadata, Photo, read, write
from ucdir.model import pretrained
from ucdir.pipeline import Pipeline
from ucdir.workflows.restore import UNCERTAIN, brightened, choose_task, from_signal, load, restore, to_signal

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def pipeline(random_pipeline):
    return random_pipeline()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_there_and_back(dtype, channels):
    peak = np.iinfo(dtype).max
    pixels = RNG.integers(0, peak, (5, 7, channels), dtype=dtype, endpoint=True)
    pixels[0, 0], pixels[0, 1] = 0, peak
    signal = to_signal(pixels)
    assert signal.shape == (1, 3, 5, 7)
    assert signal.min() == -1
    assert signal.max() == 1
    assert np.array_equal(from_signal(signal.clone(), pixels), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (21, 18)])
def test_depth_grey_and_alpha_are_kept(pipeline, tmp_path, dtype, channels, size):
    pixels = RNG.integers(0, np.iinfo(dtype).max, (*size, channels), dtype=dtype)
    alpha = RNG.integers(0, np.iinfo(dtype).max, size, dtype=dtype)
    write(Photo(pixels, alpha), tmp_path / "in.png")
    done = restore(tmp_path / "in.png", pipeline=pipeline)
    result = read(tmp_path / "in.restored.png")
    assert done.output == tmp_path / "in.restored.png"
    assert (done.height, done.width) == size
    assert result.pixels.dtype == dtype
    assert result.pixels.shape == pixels.shape
    assert np.array_equal(result.alpha, alpha)
    assert not np.array_equal(result.pixels, pixels)


def test_the_pipeline_gets_what_the_file_tells(pipeline, tmp_path, monkeypatch):
    clean = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    (tmp_path / "photo.jpg").write_bytes(JpegCompression(17).encode(clean))
    done = restore(tmp_path / "photo.jpg", tmp_path / "a.png", pipeline=pipeline, seed=4, steps=2)
    assert done.scalars == {"jpeg_quality": 17.0}
    assert done.steps == 2
    degraded = read(tmp_path / "photo.jpg").pixels
    expected = pipeline(degraded, 2, seed=4, scalars={"jpeg_quality": 17}, output_type="pil").images[0]
    assert np.array_equal(read(tmp_path / "a.png").pixels, np.asarray(expected))
    told = restore(
        tmp_path / "photo.jpg", tmp_path / "b.png", pipeline=pipeline, scalars={"jpeg_quality": 60.0}
    )
    assert told.scalars == {"jpeg_quality": 60.0}
    write(Photo(degraded), tmp_path / "photo.png")
    assert restore(tmp_path / "photo.png", pipeline=pipeline).scalars == {}


def test_metadata_is_kept(pipeline, tmp_path):
    exif = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x0f\x00\x02\x00\x00\x00\x04Cam\x00\x00\x00\x00\x00"
    write(Photo(np.zeros((8, 8, 3), np.uint8), metadata=Metadata(exif=exif)), tmp_path / "in.png")
    restore(tmp_path / "in.png", tmp_path / "out.webp", pipeline=pipeline)
    assert b"Cam" in read(tmp_path / "out.webp").metadata.exif


def test_progress_is_told(pipeline, tmp_path):
    write(Photo(np.zeros((8, 8, 3), np.uint8)), tmp_path / "in.png")
    steps = []
    restore(
        tmp_path / "in.png", pipeline=pipeline, steps=3, on_step=lambda done, of: steps.append((done, of))
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_an_existing_output_is_kept_unless_forced(pipeline, tmp_path):
    write(Photo(np.zeros((8, 8, 3), np.uint8)), tmp_path / "in.png")
    (tmp_path / "out.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already.*--force"):
        restore(tmp_path / "in.png", tmp_path / "out.png", pipeline=pipeline)
    assert (tmp_path / "out.png").read_bytes() == b"precious"
    restore(tmp_path / "in.png", tmp_path / "out.png", pipeline=pipeline, force=True)
    assert read(tmp_path / "out.png").pixels.shape == (8, 8, 3)


def test_alpha_that_the_output_cannot_hold_is_refused_before_the_work(pipeline, tmp_path, monkeypatch):
    write(Photo(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)), tmp_path / "in.png")
    monkeypatch.setattr(Pipeline, "__call__", lambda *_, **__: pytest.fail("the work was begun"))
    with pytest.raises(OutputError, match="transparency|alpha"):
        restore(tmp_path / "in.png", tmp_path / "out.jpg", pipeline=pipeline)


def test_a_full_disk_leaves_nothing(pipeline, tmp_path, monkeypatch):
    import errno
    import os

    write(Photo(np.zeros((8, 8, 3), np.uint8)), tmp_path / "in.png")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="(?i)no space left|full"):
        restore(tmp_path / "in.png", tmp_path / "out.png", pipeline=pipeline)
    assert [p.name for p in tmp_path.iterdir()] == ["in.png"]


def test_a_file_that_is_no_image(pipeline, tmp_path):
    (tmp_path / "in.jpg").write_text("not an image")
    with pytest.raises(ImageError, match=r"in\.jpg"):
        restore(tmp_path / "in.jpg", pipeline=pipeline)
    assert [p.name for p in tmp_path.iterdir()] == ["in.jpg"]


def test_models_and_devices(model_folder, tmp_path, monkeypatch):
    assert load(model_folder, "cpu").config.task == "jpeg_restoration"
    with pytest.raises(WeightsError, match="'?nothing'?: no model has this name"):
        load("nothing")
    with pytest.raises(WeightsError, match="model_index"):
        load(tmp_path)
    for device in ("tpu", "cuda:99", "warp"):
        with pytest.raises(DeviceError, match=f"'{device}' is not available; this machine has"):
            load(model_folder, device)
    assert load(model_folder, "auto").device.type in ("cpu", "cuda", "mps")
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path / "absent")
    assert pretrained.list_models() == []


def test_loading_is_silent(model_folder, capfd):
    load(model_folder, "cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(model_folder):
    with pytest.raises(DeviceError, match="this machine has .*cpu"):
        load(model_folder, "cuda")


@NEEDS_GPU
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 2e-3), ("bf16", 5e-2)])
def test_a_gpu_restores_what_the_cpu_does(model_folder, precision, bound):
    image = image_of(150, 170)
    expected, found = (
        load(model_folder, *where)(image, seed=3, patch_size=120, output_type="pt").images
        for where in (("cpu", "fp32"), ("cuda", precision))
    )
    assert (found - expected).abs().mean() < bound / 10
    assert (found - expected).abs().max() < bound


# ------------------------------------------------------------------------------------------------ which task


def photo_of(**fields):
    return Photo(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8), **fields)


@pytest.mark.parametrize(
    ("photo", "scalars", "task"),
    [
        (photo_of(jpeg_quality=10), {}, "jpeg_restoration"),
        (photo_of(jpeg_quality=59), {}, "jpeg_restoration"),
        (photo_of(exposure=Exposure(100.0)), {}, "low_light"),
        (photo_of(), {"jpeg_quality": 30.0}, "jpeg_restoration"),
        (photo_of(), {"blur_length": 9.0}, "deblurring"),
        (photo_of(jpeg_quality=95), {"noise_strength": 9.0}, "low_light"),
        (photo_of(jpeg_quality=10), {"blur_type": 1.0, "blur_length": 9.0}, "deblurring"),
    ],
)
def test_the_task_is_told_by_the_file_or_by_what_is_known(photo, scalars, task):
    assert choose_task(photo, scalars, "photo") == task


@pytest.mark.parametrize(("photo", "words"), [(photo_of(), ""), (photo_of(jpeg_quality=60), "quality 60")])
def test_otherwise_it_has_to_be_said(photo, words):
    with pytest.raises(ConfigError, match=f"mine.png: .*{words}.*--task .*deblurring, low_light"):
        choose_task(photo, {}, "mine.png")


def test_the_pipeline_of_the_task_is_loaded(pipeline, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(JpegCompression(17).encode(photo_of().pixels))
    asked = []
    done = restore(tmp_path / "photo.jpg", pipeline=lambda name: asked.append(name) or pipeline)
    assert asked == ["jpeg_restoration"]
    assert done.task == "jpeg_restoration"
    restore(
        tmp_path / "photo.jpg", task="deblurring", force=True, pipeline=lambda n: asked.append(n) or pipeline
    )
    assert asked[1:] == ["deblurring"]
    write(photo_of(), tmp_path / "plain.png")
    with pytest.raises(ConfigError, match="say it by --task"):
        restore(tmp_path / "plain.png", pipeline=lambda name: pipeline)
    assert not (tmp_path / "plain.restored.png").exists()


def test_a_dark_photograph_is_brightened_in_light_and_not_in_pixels():
    dark = Photo(np.full((4, 4, 3), 50, np.uint8))
    bright = brightened(dark, 8.0)
    assert bright.exposure == Exposure(8.0)
    assert int(bright.pixels[0, 0, 0]) == 138  # light .0319 x 8 = .255
    assert brightened(dark, "auto") is dark
    raw = Photo(np.full((4, 4, 3), 50, np.uint16), exposure=Exposure(3.0))
    assert brightened(raw, 8.0) is raw, "RAW files were amplified when they were read"


# ------------------------------------------------------------------------------------------------ fidelity, samples


def test_fidelity_leaves_out_its_share_of_the_residual(pipeline):
    image = to_signal(RNG.integers(60, 190, (20, 24, 3), dtype=np.uint8))

    def run(**options):
        return pipeline(image, 2, output_type="pt", **options).images

    guidance, whole = run(start=0), run()
    inside = whole.abs() < 1
    expected = guidance + 0.25 * (whole - guidance)
    torch.testing.assert_close(run(fidelity=0.75)[inside], expected[inside], atol=1e-5, rtol=0)
    assert torch.equal(run(fidelity=1), guidance)
    assert torch.equal(run(fidelity=0), whole)
    with pytest.raises(ConfigError, match="fidelity 1.5 is not a number from 0 to 1"):
        run(fidelity=1.5)


def test_samples_are_averaged_and_where_they_differ_is_told(pipeline, tmp_path):
    write(Photo(RNG.integers(0, 256, (18, 22, 3), dtype=np.uint8)), tmp_path / "in.png")
    told = []
    done = restore(
        tmp_path / "in.png", tmp_path / "mean.png", pipeline=pipeline, steps=2, seed=5, samples=3,
        uncertainty=tmp_path / "map.png", on_step=lambda a, b: told.append((a, b)),
    )  # fmt: skip
    assert told == [(n, 6) for n in range(1, 7)]
    singles = []
    for seed in (5, 6, 7):
        image = to_signal(read(tmp_path / "in.png").pixels)
        singles.append(pipeline(image, 2, seed=seed, output_type="pt").images[0].numpy())
    mean = np.moveaxis(np.rint((np.mean(singles, axis=0) + 1) * 127.5), 0, -1)
    assert np.abs(read(done.output).pixels - mean).max() <= 1
    deviation = np.sqrt(np.var(singles, axis=0, ddof=1).mean(axis=0)) * 127.5
    expected = np.rint(np.minimum(deviation / UNCERTAIN, 1) * 255)
    found = read(tmp_path / "map.png").pixels[..., 0]
    assert np.abs(found - expected).max() <= 1
    assert found.max() > 0


def test_samples_that_tell_nothing_are_refused(pipeline, tmp_path):
    write(Photo(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)), tmp_path / "in.png")
    with pytest.raises(ConfigError, match="samples 1: draw at least 1, and at least 2"):
        restore(tmp_path / "in.png", pipeline=pipeline, uncertainty=tmp_path / "map.png")
    assert not (tmp_path / "in.restored.png").exists()
    for taken in ("in.png", "in.restored.png"):
        with pytest.raises(ConfigError, match="the map of where samples differ needs a file of its own"):
            restore(
                tmp_path / "in.png", pipeline=pipeline, samples=2, uncertainty=tmp_path / taken, force=True
            )
