"""Photos restored part by part from file to file: to the bit the same as whole, and interrupted runs go on."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from local_engine import local_pipeline
from PIL import Image

import ucdir
from ucdir.errors import ConfigError, DeviceError, OutputError
from ucdir.images import Photo, jpeg_coefficients, large, read, write, write_large
from ucdir.images.colour import ADOBE_RGB
from ucdir.images.photo import Metadata
from ucdir.workflows import streamed
from ucdir.workflows.restore import restore
from ucdir.workflows.unfinished import folder_of

HEIGHT, WIDTH = 150, 170


@pytest.fixture
def stream(monkeypatch):
    """Call it, and all photos are large."""

    def begin():
        for module in (large, streamed):
            monkeypatch.setattr(module, "STREAMED_PIXELS", 1000)
        monkeypatch.setattr(large, "LARGE_FILE_BYTES", 1000)
        monkeypatch.setattr(jpeg_coefficients, "_LARGE", 1000)

    return begin


def samples(channels=3, dtype=np.uint8):
    ramp = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH))[..., None] % 97 / 97
    noise = np.random.default_rng(1).random((HEIGHT, WIDTH, channels)) * 0.3
    pixels = ((0.7 * ramp + noise) * np.iinfo(dtype).max).astype(dtype)
    pixels[:30, :40] = 0
    return pixels


def png(path, channels=3, dtype=np.uint8, alpha=False, icc=None):
    opacity = np.zeros((HEIGHT, WIDTH), dtype)
    opacity[20:90, 30:] = 200
    write(
        Photo(samples(channels, dtype), opacity if alpha else None, metadata=Metadata(icc=icc)),
        path,
        force=True,
    )


def jpeg(path, quality, orientation=1, **settings):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(samples()).save(path, quality=quality, exif=exif, **settings)


PHOTOS = {
    "rgb.png": png,
    "grey16.png": lambda path: png(path, 1, np.uint16),
    "alpha16.png": lambda path: png(path, 3, np.uint16, alpha=True),
    "adobe.png": lambda path: png(path, icc=ADOBE_RGB.profile(3)),
    "strong.jpg": lambda path: jpeg(path, 30),
    "turned.jpg": lambda path: jpeg(path, 50, 6),
    "progressive.jpg": lambda path: jpeg(path, 40, progressive=True),
    "consistent.jpg": lambda path: jpeg(path, 90, 8),
    "photo.webp": lambda path: Image.fromarray(samples()).save(path, quality=60),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_in_parts_it_is_to_the_bit_the_same_photo(tmp_path, stream, name):
    photo, pipeline = tmp_path / name, local_pipeline()
    PHOTOS[name](photo)
    whole = restore(photo, tmp_path / "whole.png", pipeline=pipeline)
    passes = len(pipeline.engine.passes)
    stream()
    done = restore(photo, tmp_path / "parts.png", pipeline=pipeline, patch_size=48)
    assert len(pipeline.engine.passes) > 2 * passes, "control: in patches"
    one, other = read(tmp_path / "whole.png"), read(tmp_path / "parts.png")
    assert np.array_equal(one.pixels, other.pixels)
    assert one.alpha is None or np.array_equal(one.alpha, other.alpha)
    assert one.metadata == other.metadata
    assert (done.width, done.height, done.scalars, done.notes) == (
        whole.width,
        whole.height,
        whole.scalars,
        whole.notes,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["parts.png", name, "whole.png"])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".webp", ".bmp"])
def test_other_formats_hold_the_same(tmp_path, stream, suffix, channels):
    png(tmp_path / "photo.png", channels)
    pipeline = local_pipeline()
    restore(tmp_path / "photo.png", tmp_path / f"whole{suffix}", pipeline=pipeline)
    stream()
    restore(tmp_path / "photo.png", tmp_path / f"parts{suffix}", pipeline=pipeline, patch_size=48)
    assert np.array_equal(read(tmp_path / f"whole{suffix}").pixels, read(tmp_path / f"parts{suffix}").pixels)
    if suffix == ".bmp":
        assert (tmp_path / "whole.bmp").read_bytes() == (tmp_path / "parts.bmp").read_bytes()


def test_mean_and_uncertainty_are_the_same(tmp_path, stream):
    png(tmp_path / "photo.png")
    pipeline = local_pipeline()
    for name, options in {"whole": {}, "parts": {"patch_size": 48}}.items():
        uncertainty = tmp_path / f"{name}.map.png"
        restore(
            tmp_path / "photo.png", tmp_path / f"{name}.png", pipeline=pipeline, samples=3, uncertainty=uncertainty,
            brighten=1.5, task="jpeg_restoration", **options,
        )  # fmt: skip
        stream()
    for kind in (".png", ".map.png"):
        one, other = (read(tmp_path / f"{name}{kind}").pixels for name in ("whole", "parts"))
        assert np.array_equal(one, other)
        assert one.std() > 1, "control"


class Interrupted:
    """A pipeline that ends like a killed process after so many passes."""

    def __new__(cls, folder, passes):
        pipeline = local_pipeline()
        pipeline.folder = folder
        predict = pipeline.engine.predict

        def counted(degraded):
            nonlocal passes
            passes -= 1
            if passes < 0:
                raise KeyboardInterrupt
            return predict(degraded)

        pipeline.engine.predict = counted
        return pipeline


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def test_an_interrupted_run_goes_on_with_the_same_bits(tmp_path, stream, model):
    stream()
    photo, output = tmp_path / "photo.png", tmp_path / "restored.png"
    png(photo, 3, np.uint16, alpha=True)
    usual = Interrupted(model, 1000)
    restore(photo, tmp_path / "usual.png", pipeline=usual, patch_size=48)
    passes = len(usual.engine.passes)
    with pytest.raises(KeyboardInterrupt):
        restore(photo, output, pipeline=Interrupted(model, 24), patch_size=48, resume=True)
    assert not output.exists()
    rows = (folder_of(output) / "rows").read_text().split()
    assert 0 < int(rows[-1]) < HEIGHT
    for options in ({"seed": 1}, {"fidelity": 0.5}, {"patch_size": 60}, {"scalars": {"jpeg_quality": 3}}):
        with pytest.raises(OutputError, match="an unfinished result of other settings") as refusal:
            restore(photo, output, pipeline=local(model), **{"patch_size": 48, "resume": True, **options})
        assert "repeat that command to go on with it, or remove that folder" in str(refusal.value)
    version = ucdir.__version__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ucdir, "__version__", "999")
        with pytest.raises(OutputError, match=f"of another version of ucdir \\({version}\\)"):
            restore(photo, output, pipeline=local(model), patch_size=48, resume=True)
    second = local(model)
    restore(photo, output, pipeline=second, resume=True)  # in the patches that it was begun with
    assert len(second.engine.passes) < passes - 10
    assert output.read_bytes() == (tmp_path / "usual.png").read_bytes()
    assert not folder_of(output).exists()


def local(model):
    return Interrupted(model, 1000)


def test_another_photo_or_model_does_not_go_on_and_what_is_damaged_begins_anew(tmp_path, stream, model):
    stream()
    photo, output = tmp_path / "photo.png", tmp_path / "restored.png"
    png(photo)
    with pytest.raises(KeyboardInterrupt):
        restore(photo, output, pipeline=Interrupted(model, 24), patch_size=48, resume=True)
    (model / "config.json").write_text("{ }")
    with pytest.raises(OutputError, match=r"other settings \(model\)"):
        restore(photo, output, pipeline=local(model), resume=True)
    png(photo, icc=ADOBE_RGB.profile(3))
    with pytest.raises(OutputError, match="an unfinished result of another photo"):
        restore(photo, output, pipeline=local(model), resume=True)
    (folder_of(output) / "settings.json").write_text("{")
    restore(photo, output, pipeline=local(model), resume=True)
    restore(photo, tmp_path / "usual.png", pipeline=local(model), patch_size=48)
    assert np.array_equal(read(output).pixels, read(tmp_path / "usual.png").pixels)
    pipeline = local_pipeline()
    with pytest.raises(ConfigError, match="loaded by its name or folder"):
        restore(photo, output, pipeline=pipeline, resume=True, force=True)


def test_without_resume_nothing_is_left_behind(tmp_path, stream, model):
    stream()
    png(tmp_path / "photo.png")
    with pytest.raises(KeyboardInterrupt):
        restore(
            tmp_path / "photo.png", tmp_path / "restored.png", pipeline=Interrupted(model, 24), patch_size=48
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "photo.png"]


@pytest.mark.parametrize("resume", [False, True])
def test_too_little_disk_space_is_told_before_the_work(tmp_path, stream, model, monkeypatch, resume):
    stream()
    png(tmp_path / "photo.png")
    usage = write_large.shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(write_large.shutil, "disk_usage", lambda _: usage)
    pipeline = local(model)
    with pytest.raises(
        OutputError, match=r"MB of disk space is needed in .*, and 0 MB is free; free some space"
    ):
        restore(tmp_path / "photo.png", tmp_path / "restored.png", pipeline=pipeline, resume=resume)
    assert not pipeline.engine.passes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "photo.png"]


def test_a_state_that_found_no_space_counts_as_none(tmp_path, stream, model, monkeypatch):
    stream()
    png(tmp_path / "photo.png")
    output, asked = tmp_path / "restored.png", []
    monkeypatch.setattr(streamed, "check_disk", lambda _, needed, __: asked.append(needed))
    restore(tmp_path / "photo.png", output, pipeline=local(model), resume=True)
    folder_of(output).mkdir()
    (folder_of(output) / "samples").touch()
    restore(tmp_path / "photo.png", output, pipeline=local(model), resume=True, force=True)
    with pytest.raises(KeyboardInterrupt):
        restore(
            tmp_path / "photo.png",
            output,
            pipeline=Interrupted(model, 24),
            patch_size=48,
            resume=True,
            force=True,
        )
    restore(tmp_path / "photo.png", output, pipeline=local(model), patch_size=48, resume=True, force=True)
    assert asked[1] == asked[0]
    assert asked[3] < asked[0], "control: what is there already is not asked for again"


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_what_an_encoder_has_to_hold_is_asked_for_before_the_work(
    tmp_path, stream, model, monkeypatch, suffix
):
    stream()
    png(tmp_path / "photo.png")
    monkeypatch.setitem(write_large._WHOLE_BYTES_PER_PIXEL, suffix, 1 << 40)
    pipeline = local(model)
    with pytest.raises(
        DeviceError, match=r"which \.png, \.jpg and \.tif would not hold in memory: this needs"
    ):
        restore(tmp_path / "photo.png", tmp_path / f"restored{suffix}", pipeline=pipeline)
    assert not pipeline.engine.passes
    restore(tmp_path / "photo.png", tmp_path / "restored.png", pipeline=pipeline)


def test_a_disk_that_is_full_is_told_in_one_sentence(tmp_path, stream, model, monkeypatch):
    stream()
    png(tmp_path / "photo.png")

    def full(descriptor, start, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="because the disk is full; free some space"):
        restore(tmp_path / "photo.png", tmp_path / "restored.png", pipeline=local(model))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "photo.png"]


def test_two_processes_do_not_work_on_one_result(tmp_path, stream, model):
    stream()
    png(tmp_path / "photo.png")
    pipeline, output = local(model), tmp_path / "restored.png"
    predict, refused = pipeline.engine.predict, []

    def again(degraded):
        if not refused:
            with pytest.raises(OutputError, match="worked on by another process") as refusal:
                restore(tmp_path / "photo.png", output, pipeline=local(model), resume=True)
            refused.append(refusal)
        return predict(degraded)

    pipeline.engine.predict = again
    restore(tmp_path / "photo.png", output, pipeline=pipeline, resume=True)
    assert refused
    assert output.exists()


def test_deep_zoom_of_a_photo_of_any_size(tmp_path):
    png(tmp_path / "photo.png")
    seen = []
    done = restore(
        tmp_path / "photo.png",
        tmp_path / "zoom.dzi",
        pipeline=local_pipeline(),
        on_step=lambda *step: seen.append(step),
    )
    assert seen == [(1, 2), (2, 2)]
    assert (done.width, done.height) == (WIDTH, HEIGHT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "zoom.dzi", "zoom_files"]


def test_an_image_in_memory_is_not_resumed():
    for options in ({"resume": True}, {"max_pixels": 5}):
        with pytest.raises(ConfigError, match="resume and max_pixels are for files"):
            restore(samples(), task="jpeg_restoration", **options)
    with pytest.raises(ConfigError, match="max_pixels 0 is not"):
        restore("photo.png", max_pixels=0)
