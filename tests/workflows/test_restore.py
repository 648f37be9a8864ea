"""One photo: what its file says is used and kept; an image in memory comes back as the kind it was."""

import io
import re

import numpy as np
import pytest
import torch
from machine import NEEDS_GPU
from PIL import Image
from random_images import image_of
from tiny_tiff import bayer_dng

from ucdir.degradations import JpegCompression
from ucdir.errors import ConfigError, DeviceError, ImageError, OutputError, WeightsError
from ucdir.images import Exposure, Metadata, Photo, read, write
from ucdir.images.pixels import to_signal
from ucdir.images.png import png_chunk
from ucdir.model import pretrained
from ucdir.pipeline import RestorationPipeline, load
from ucdir.workflows.choice import choose_task
from ucdir.workflows.degrade import degrade
from ucdir.workflows.restore import UNCERTAIN, brightened, restore

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def pipeline(random_pipeline):
    return random_pipeline()


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


def test_the_pipeline_gets_what_the_file_says(pipeline, tmp_path):
    clean = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    (tmp_path / "photo.jpg").write_bytes(JpegCompression(17).encode(clean))
    done = restore(tmp_path / "photo.jpg", tmp_path / "a.png", pipeline=pipeline, seed=4, steps=2)
    assert done.scalars == {"jpeg_quality": 17.0}
    assert done.steps == 2
    degraded = read(tmp_path / "photo.jpg").pixels
    expected = pipeline(degraded, steps=2, seed=4, scalars={"jpeg_quality": 17})
    assert np.array_equal(read(tmp_path / "a.png").pixels, expected)
    given = restore(
        tmp_path / "photo.jpg", tmp_path / "b.png", pipeline=pipeline, scalars={"jpeg_quality": 60.0}
    )
    assert given.scalars == {"jpeg_quality": 60.0}
    write(Photo(degraded), tmp_path / "photo.png")
    assert restore(tmp_path / "photo.png", pipeline=pipeline).scalars == {}


def test_metadata_is_kept(pipeline, tmp_path):
    exif = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x0f\x00\x02\x00\x00\x00\x04Cam\x00\x00\x00\x00\x00"
    write(Photo(np.zeros((8, 8, 3), np.uint8), metadata=Metadata(exif=exif)), tmp_path / "in.png")
    restore(tmp_path / "in.png", tmp_path / "out.webp", pipeline=pipeline)
    assert b"Cam" in read(tmp_path / "out.webp").metadata.exif


def test_progress_is_reported(pipeline, tmp_path):
    write(Photo(np.zeros((8, 8, 3), np.uint8)), tmp_path / "in.png")
    steps = []
    restore(
        tmp_path / "in.png", pipeline=pipeline, steps=3, on_step=lambda done, of: steps.append((done, of))
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_an_existing_output_is_kept_unless_forced(pipeline, tmp_path):
    write(Photo(np.zeros((8, 8, 3), np.uint8)), tmp_path / "in.png")
    (tmp_path / "out.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already.*--overwrite"):
        restore(tmp_path / "in.png", tmp_path / "out.png", pipeline=pipeline)
    assert (tmp_path / "out.png").read_bytes() == b"precious"
    restore(tmp_path / "in.png", tmp_path / "out.png", pipeline=pipeline, force=True)
    assert read(tmp_path / "out.png").pixels.shape == (8, 8, 3)


def test_alpha_that_the_output_cannot_hold_is_refused_before_the_work(pipeline, tmp_path, monkeypatch):
    write(Photo(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)), tmp_path / "in.png")
    monkeypatch.setattr(
        RestorationPipeline, "restore_signal", lambda *_, **__: pytest.fail("the work was begun")
    )
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
    assert str(load(model_folder, "auto").engine.device) in ("cpu", "cuda", "mps")
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
        load(model_folder, *where, engine="torch").restore_signal(image, seed=3, patch_size=120)
        for where in (("cpu", "fp32"), ("cuda", precision))
    )
    assert np.abs(found - expected).mean() < bound / 10
    assert np.abs(found - expected).max() < bound


# ------------------------------------------------------------------------------------------------ which task


def photo_of(**fields):
    return Photo(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8), **fields)


@pytest.mark.parametrize(
    ("photo", "scalars", "task"),
    [
        (photo_of(jpeg_quality=10), {}, "jpeg_restoration"),
        (photo_of(jpeg_quality=89), {}, "jpeg_restoration"),
        (photo_of(jpeg_quality=90), {}, None),
        (photo_of(), {}, None),
        (photo_of(jpeg_quality=95), {"diversity": 1.0}, None),
        (photo_of(exposure=Exposure(100.0)), {}, "low_light"),
        (photo_of(), {"jpeg_quality": 30.0}, "jpeg_restoration"),
        (photo_of(), {"blur_length": 9.0}, "deblurring"),
        (photo_of(jpeg_quality=95), {"noise_strength": 9.0}, "low_light"),
        (photo_of(jpeg_quality=10), {"blur_type": 1.0, "blur_length": 9.0}, "deblurring"),
    ],
)
def test_the_file_or_the_scalars_tell_the_task(photo, scalars, task):
    assert choose_task(photo, scalars).task == task


def test_the_pipeline_of_the_task_is_loaded(pipeline, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(JpegCompression(17).encode(photo_of().pixels))
    asked = []
    done = restore(tmp_path / "photo.jpg", pipeline=lambda name: asked.append(name) or pipeline)
    assert asked == ["jpeg_restoration"]
    assert done.task == "jpeg_restoration"
    with pytest.raises(ConfigError, match="task deblurring: the model was made for jpeg_restoration"):
        restore(
            tmp_path / "photo.jpg",
            task="deblurring",
            force=True,
            pipeline=lambda n: asked.append(n) or pipeline,
        )
    assert asked[1:] == ["deblurring"]
    write(photo_of(), tmp_path / "plain.png")
    data = (tmp_path / "plain.png").read_bytes()
    (tmp_path / "plain.png").write_bytes(data[:33] + png_chunk(b"caBX", b"manifest") + data[33:])
    assert "content credentials are left out" in read(tmp_path / "plain.png").warnings[0], "control"
    left = restore(tmp_path / "plain.png", pipeline=asked.append)
    assert (left.output, left.task, left.scalars) == (None, None, {})
    (note,) = left.notes  # nothing is left out of a photo that is left alone
    assert re.search("plain.png: nothing is wrong .* left alone; .* choose a task with --task", note)
    assert len(asked) == 2, "no model is loaded for it"
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
        return pipeline.restore_signal(image, steps=2, **options)

    guidance, whole = run(start_fraction=0), run()
    inside = np.abs(whole) < 1
    expected = guidance + 0.25 * (whole - guidance)
    np.testing.assert_allclose(run(fidelity=0.75)[inside], expected[inside], atol=1e-5, rtol=0)
    assert np.array_equal(run(fidelity=1), guidance)
    assert np.array_equal(run(fidelity=0), whole)
    with pytest.raises(ConfigError, match=r"fidelity 1.5 is not a number from 0 to 1"):
        run(fidelity=1.5)


def test_samples_are_averaged_and_a_map_shows_where_they_differ(pipeline, tmp_path):
    write(Photo(RNG.integers(0, 256, (18, 22, 3), dtype=np.uint8)), tmp_path / "in.png")
    reported = []
    done = restore(
        tmp_path / "in.png", tmp_path / "mean.png", pipeline=pipeline, steps=2, seed=5, samples=3,
        uncertainty=tmp_path / "map.png", on_step=lambda a, b: reported.append((a, b)),
    )  # fmt: skip
    assert reported == [(n, 6) for n in range(1, 7)]
    singles = []
    for seed in (5, 6, 7):
        image = to_signal(read(tmp_path / "in.png").pixels)
        singles.append(pipeline.restore_signal(image, steps=2, seed=seed)[0])
    mean = np.moveaxis(np.rint((np.mean(singles, axis=0) + 1) * 127.5), 0, -1)
    assert np.abs(read(done.output).pixels - mean).max() <= 1
    deviation = np.sqrt(np.var(singles, axis=0, ddof=1).mean(axis=0)) * 127.5
    expected = np.rint(np.minimum(deviation / UNCERTAIN, 1) * 255)
    found = read(tmp_path / "map.png").pixels[..., 0]
    assert np.abs(found - expected).max() <= 1
    assert found.max() > 0


def test_several_samples_differ_as_much_as_the_model_can_make_them(pipeline, random_pipeline, tmp_path):
    write(Photo(RNG.integers(0, 256, (18, 22, 3), dtype=np.uint8)), tmp_path / "in.png")
    dial = random_pipeline(diffusion_model={"scalars": ["jpeg_quality", "diversity"]})

    def scalars(pipeline, samples, one_of_several=False, **given):
        return restore(
            tmp_path / "in.png", tmp_path / "out.png", force=True, pipeline=pipeline, samples=samples, scalars=given,
            one_of_several=one_of_several,
        ).scalars  # fmt: skip

    assert scalars(dial, 2) == {"diversity": 1.0}
    assert scalars(dial, 2, diversity=0.5) == {"diversity": 0.5}
    assert scalars(dial, 1) == {}
    assert scalars(pipeline, 2) == {}, "a model without the dial"
    assert scalars(dial, 1, one_of_several=True) == {"diversity": 0.5}, (
        "a mean is free of specks, one sample is not"
    )
    assert scalars(dial, 2, one_of_several=True) == {"diversity": 1.0}
    assert scalars(dial, 1, one_of_several=True, diversity=0.1) == {"diversity": 0.1}
    assert scalars(pipeline, 1, one_of_several=True) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples 0 is not a whole number from 1 to 10000"),
        ({"samples": 10**30}, "samples 1000.* is not a whole number"),  # would not end
        ({"samples": 2.5}, "samples 2.5 is not"),
        ({"samples": "2"}, "samples '2' is not"),
        ({"seed": -1}, "seed -1 is not a whole number"),
        ({"seed": "x"}, "seed 'x' is not"),
        ({"seed": 2**63 - 1, "samples": 2}, "seed 9223372036854775807 is not"),
        ({"task": None}, "task None is not a name"),
        ({"scalars": 3}, "scalars 3: give names and numbers"),
        ({"scalars": {1: 2}}, "scalars {1: 2}: give names and numbers"),
        ({"scalars": {"jpeg_quality": "10"}}, "jpeg_quality '10' is not a number"),
    ],
)
def test_arguments_that_are_none_are_refused(pipeline, arguments, message):
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ConfigError, match=message):
        restore(image, **{"task": "jpeg_restoration", "pipeline": pipeline, **arguments})


@pytest.mark.parametrize("ratio", [float("nan"), float("inf"), 0, -1, "bright", None, [2]])
def test_brightenings_that_are_none_are_refused(pipeline, ratio):
    with pytest.raises(ConfigError, match="brighten"):
        restore(b"", task="jpeg_restoration", pipeline=pipeline, brighten=ratio)


@pytest.mark.parametrize("size", ["quarter", "", None, 2])
def test_sizes_of_raw_files_that_are_none_are_refused(pipeline, size):
    with pytest.raises(ConfigError, match="raw_size .* is unknown; choose half or full"):
        restore(b"", task="low_light", pipeline=pipeline, raw_size=size)


def test_raw_files_are_restored_at_full_size_or_half(pipeline, tmp_path):
    mosaic = RNG.integers(0, 1000, (24, 32)).astype("<u2")
    (tmp_path / "a.dng").write_bytes(bayer_dng(mosaic))
    for options, size in (({}, (32, 24)), ({"raw_size": "full"}, (32, 24)), ({"raw_size": "half"}, (16, 12))):
        done = restore(
            tmp_path / "a.dng", tmp_path / "a.png", pipeline=pipeline, force=True, steps=1, **options
        )
        with Image.open(tmp_path / "a.png") as image:
            assert (done.width, done.height) == image.size == size


def test_a_dng_that_cannot_be_is_refused_before_the_work(tmp_path):
    image = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write(Photo(image), tmp_path / "in.png")
    (tmp_path / "in.dng").write_bytes(bayer_dng(RNG.integers(0, 1000, (24, 32))))

    def never(name):
        raise AssertionError("the work has begun")

    for photo, options in (
        ("in.png", {"output": tmp_path / "out.dng"}),
        ("in.dng", {"output": tmp_path / "out.png", "uncertainty": tmp_path / "map.dng", "samples": 2}),
    ):
        with pytest.raises(OutputError, match="a DNG is for the light of a camera's sensor"):
            restore(tmp_path / photo, task="low_light", pipeline=never, **options)
    with pytest.raises(OutputError, match="a DNG is for the light of a camera's sensor"):
        restore((tmp_path / "in.png").read_bytes(), task="low_light", pipeline=never, format="dng")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.dng", "in.png"]


def test_a_map_that_its_format_cannot_hold_is_refused_before_the_work(pipeline, tmp_path):
    write(Photo(np.full((1, 16_384, 3), 99, np.uint8)), tmp_path / "wide.png")
    write(Photo(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)), tmp_path / "in.png")

    def never(name):
        raise AssertionError("the work has begun")

    with pytest.raises(OutputError, match=r"map.webp cannot hold 16384 x 1 pixels as WebP"):
        restore(
            tmp_path / "wide.png", tmp_path / "out.png", task="low_light", pipeline=never, samples=2,
            uncertainty=tmp_path / "map.webp",
        )  # fmt: skip
    restore(
        tmp_path / "in.png", tmp_path / "out.png", pipeline=pipeline, steps=1, samples=2,
        uncertainty=tmp_path / "map.dzi",
    )  # fmt: skip
    assert (tmp_path / "map_files").is_dir()


def test_a_raw_file_becomes_a_dng(pipeline, tmp_path):
    (tmp_path / "in.dng").write_bytes(bayer_dng(RNG.integers(0, 1000, (24, 32))))
    done = restore(tmp_path / "in.dng", tmp_path / "out.dng", pipeline=pipeline, steps=1)
    back = read(tmp_path / "out.dng", raw_size="full", exposure_ratio=1.0)
    assert back.pixels.shape == (24, 32, 3)
    assert any("colours are not known" in note for note in done.notes)
    data = restore((tmp_path / "in.dng").read_bytes(), pipeline=pipeline, steps=1, format="dng")
    assert data == (tmp_path / "out.dng").read_bytes()


def test_samples_that_tell_nothing_are_refused(pipeline, tmp_path):
    write(Photo(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)), tmp_path / "in.png")
    with pytest.raises(ConfigError, match="samples 1: choose 2 or more for an uncertainty map"):
        restore(tmp_path / "in.png", pipeline=pipeline, uncertainty=tmp_path / "map.png")
    assert not (tmp_path / "in.restored.png").exists()
    for taken in ("in.png", "in.restored.png"):
        with pytest.raises(ConfigError, match="the uncertainty map needs a file of its own"):
            restore(
                tmp_path / "in.png", pipeline=pipeline, samples=2, uncertainty=tmp_path / taken, force=True
            )


# ------------------------------------------------------------------------------------------------- images in memory


@pytest.fixture
def jpeg(tmp_path):
    """The bytes of a JPEG file of quality 17."""
    return JpegCompression(17).encode(RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8))


def test_bytes_give_bytes_of_the_same_format(pipeline, jpeg, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(jpeg)
    for format, suffix in ((None, ".jpg"), ("png", ".png"), ("WebP", ".webp")):
        output = restore(tmp_path / "photo.jpg", tmp_path / f"out{suffix}", pipeline=pipeline).output
        data = restore(jpeg, pipeline=pipeline, format=format)
        assert type(data) is bytes
        assert data == output.read_bytes()
    gif = restore(gif_of(read(jpeg).pixels), pipeline=pipeline)
    assert gif.startswith(b"\x89PNG"), "GIF is not written"
    with pytest.raises(ImageError, match=r"the image is a damaged or incomplete JPEG file"):
        restore(jpeg[:-200], pipeline=pipeline)
    with pytest.raises(ImageError, match="the image is empty"):
        restore(b"", pipeline=pipeline)
    with pytest.raises(OutputError, match=r"unknown suffix '\.xyz'"):
        restore(jpeg, pipeline=pipeline, format="xyz")


def gif_of(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "GIF")
    return file.getvalue()


def test_an_image_in_memory_comes_back_as_the_kind_it_was(pipeline, jpeg):
    pixels = read(jpeg).pixels
    expected = pipeline(pixels, seed=2)

    def run(image):
        return restore(image, pipeline=pipeline, seed=2)

    assert np.array_equal(run(pixels), expected)
    assert np.array_equal(np.asarray(run(Image.fromarray(pixels))), expected)
    tensor = run(torch.from_numpy(pixels).permute(2, 0, 1) / 255)
    assert tensor.shape == (3, 20, 24)
    np.testing.assert_allclose(tensor.permute(1, 2, 0) * 255, expected, atol=0.51)
    batch = run([pixels, Image.fromarray(pixels)])
    assert np.array_equal(batch[0], expected)
    assert isinstance(batch[1], Image.Image)
    mean = restore(pixels / 255, pipeline=pipeline, seed=2, samples=2)
    assert mean.dtype == np.float64
    assert not np.allclose(mean * 255, expected, atol=0.51)


def test_an_image_in_memory_is_left_alone_unless_something_is_wrong_or_told(pipeline):
    asked, pixels = [], np.zeros((8, 8, 3), np.uint8)

    def models(task):
        asked.append(task)
        return pipeline

    assert np.array_equal(restore(pixels, pipeline=models), pixels)
    assert asked == []
    restore(pixels, pipeline=models, scalars={"jpeg_quality": 30})
    restore(pixels, pipeline=models, task="jpeg_restoration")
    assert asked == ["jpeg_restoration"] * 2
    with pytest.raises(ConfigError, match="jpeg_quality 101 is out of range"):
        restore(pixels, pipeline=models, scalars={"jpeg_quality": 101})


@pytest.mark.parametrize(
    "options",
    [{"output": "a.png"}, {"uncertainty": "a.png", "samples": 2}, {"force": True}, {"keep_times": True}],
)
def test_what_is_for_files_is_refused_with_images_in_memory(pipeline, options):
    with pytest.raises(ConfigError, match="are for files; an image in memory is returned"):
        restore(np.zeros((8, 8, 3), np.uint8), pipeline=pipeline, **options)
    with pytest.raises(ConfigError, match="format is for the bytes of a file"):
        restore(np.zeros((8, 8, 3), np.uint8), pipeline=pipeline, format="png")


def test_short_of_memory_there_is_one_sentence_for_every_kind_of_image(pipeline, monkeypatch):
    def short(*_, **__):
        raise MemoryError("Unable to allocate 137 GiB")

    pixels = np.zeros((8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    monkeypatch.setattr(pipeline.engine, "session", short)
    for image in (pixels, Image.fromarray(pixels), file.getvalue(), [torch.zeros(3, 8, 8)]):
        with pytest.raises(DeviceError, match="image: the memory does not hold its restoration"):
            restore(image, pipeline=pipeline)


def test_a_photo_that_does_not_fit_is_named(pipeline, tmp_path):
    write(Photo(np.zeros((40, 40, 3), np.uint8)), tmp_path / "large.png")
    with pytest.raises(DeviceError, match=r"large\.png: an image of 40x40 pixels: this needs about"):
        restore(tmp_path / "large.png", pipeline=pipeline, max_memory=1 << 20)


@pytest.mark.parametrize("ratio", [0, -1, 0.5, 1001, float("nan"), float("inf"), "5", "bright"])
def test_a_brightening_out_of_range_is_refused(pipeline, tmp_path, ratio):
    write(Photo(np.full((8, 8, 3), 9, np.uint8)), tmp_path / "dark.png")
    with pytest.raises(ConfigError, match="brighten .* is neither a number from 1 to 1000, nor 'auto'"):
        restore(tmp_path / "dark.png", pipeline=pipeline, brighten=ratio)
    assert not (tmp_path / "dark.restored.png").exists()


def test_a_brightening_is_not_silently_left_out(pipeline):
    with pytest.raises(ConfigError, match="brighten is for files"):
        restore(np.zeros((8, 8, 3), np.uint8), pipeline=pipeline, brighten=10.0)


def test_telling_what_was_amplified_brightens_nothing(tmp_path):
    write(Photo(np.full((24, 24, 3), 120, np.uint8)), tmp_path / "clean.png")
    bright = tmp_path / "bright.png"
    told = degrade(tmp_path / "clean.png", bright, task="low_light", strength=100)
    assert told["exposure_ratio"] == 100
    level = float(read(bright).pixels.mean())
    pipeline, results = load("low_light"), {}
    for name, more in {
        "plain": {},
        "told": {"scalars": told},
        "brightened": {"brighten": 100.0},
        "both": {"brighten": 2.0, "scalars": {"exposure_ratio": 50.0}},
    }.items():
        out = tmp_path / f"{name}.png"
        done = restore(bright, out, pipeline=pipeline, **more)
        results[name] = (float(read(out).pixels.mean()), done.scalars.get("exposure_ratio"))
    assert results["told"][0] == pytest.approx(results["plain"][0], abs=2)
    assert results["told"][1] == 100
    assert results["brightened"][1] == 100
    assert results["brightened"][0] > results["plain"][0] + 0.5 * (255 - level), "control: asking for it does"
    assert results["both"][1] == 50, "what is told overrules"


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pure_black_and_white_get_no_grain(pipeline, tmp_path, level, dtype):
    """Of a page with a noisy line of text."""
    peak = np.iinfo(dtype).max
    pixels = np.full((40, 48, 3), level * (peak // 255), dtype)
    pixels[18:22, 10:40] = RNG.integers(0, peak, (4, 30, 3))
    other = pixels // 2 + peak // 4  # control: the same page in greys
    results = []
    for name, page in (("pure.png", pixels), ("grey.png", other)):
        write(Photo(page), tmp_path / name)
        restore(tmp_path / name, tmp_path / f"out-{name}", pipeline=pipeline)
        results.append(read(tmp_path / f"out-{name}").pixels)
    far = np.ones((40, 48), bool)
    far[14:26, 6:44] = False
    assert (results[0][far] == pixels[far]).all()
    assert (results[0][~far] != pixels[~far]).any()
    assert (results[1][far] != other[far]).any()


@pytest.fixture
def jpeg_file(test_data):
    return test_data / "golden" / "jpeg_restoration_large.jpg"


def test_a_png_made_of_a_jpeg_is_restored_as_the_jpeg(pipeline, jpeg_file, tmp_path):
    png = tmp_path / "saved again.png"
    Image.open(jpeg_file).save(png)
    first = restore(jpeg_file, tmp_path / "a.png", pipeline=lambda task: pipeline)
    second = restore(png, tmp_path / "b.png", pipeline=lambda task: pipeline)
    assert second.task == "jpeg_restoration", "its pixels show the task"
    assert second.scalars == first.scalars
    assert np.array_equal(np.asarray(Image.open(first.output)), np.asarray(Image.open(second.output)))
    assert any("once compressed as JPEG of a quality of about" in note for note in second.notes)
    assert not any("once compressed" in note for note in first.notes), "its file says so"


def test_a_jpeg_saved_again_at_high_quality_counts_as_the_first(pipeline, jpeg_file, tmp_path):
    again = tmp_path / "again.jpg"
    Image.open(jpeg_file).save(again, quality=95)
    done = restore(again, tmp_path / "a.png", pipeline=lambda task: pipeline)
    first = restore(jpeg_file, tmp_path / "b.png", pipeline=lambda task: pipeline)
    assert done.scalars["jpeg_quality"] == pytest.approx(first.scalars["jpeg_quality"], abs=1)
    assert any("the file itself is of quality 95" in note for note in done.notes)
