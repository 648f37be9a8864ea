"""`ucdir restore`: what it prints, where it writes, and how it fails."""

import json
import os

import numpy as np
import pytest

from ucdir.degradations import JpegCompression
from ucdir.degradations.jpeg_consistency import share_consistent
from ucdir.engines.torch_engine import TorchEngine
from ucdir.images import Photo, read, write
from ucdir.images.jpeg_coefficients import jpeg_coefficients
from ucdir.model.weights import save_model
from ucdir.tasks import TASKS
from ucdir.workflows import restore as workflow


def test_restore(ucdir, photo, pixels):
    status, out, err = ucdir("restore", photo)
    assert (status, err) == (0, "")
    output = photo.with_name("photo.restored.png")
    assert out.startswith(f"{photo}: 24x20, jpeg restoration, jpeg quality 20, 3 steps, ")
    assert out.endswith(f" s -> {output}\n")
    assert read(output).pixels.shape == pixels.shape


def test_options_reach_the_pipeline(ucdir, photo, tmp_path):
    results = []
    for name, *options in (("a", "--seed", 1), ("b", "--seed", 1), ("c", "--seed", 2), ("d", "--steps", 1)):
        assert ucdir("restore", photo, "-o", tmp_path / f"{name}.png", *options)[0] == 0
        results.append(read(tmp_path / f"{name}.png").pixels)
    same = [[np.array_equal(a, b) for a in results] for b in results]
    assert same == [
        [True, True, False, False],
        [True, True, False, False],
        *np.eye(4, dtype=bool)[2:].tolist(),
    ]
    _, out, _ = ucdir("restore", photo, "--jpeg-quality", "50", "--device", "cpu", "--patch-size", "200")
    assert "jpeg quality 50" in out


def test_consistent(ucdir, photo, tmp_path, pixels, refused):
    file = read(photo, coefficients=True).jpeg_coefficients
    for name, *options in (("plain", "--samples", 2), ("moved", "--samples", 2, "--consistent")):
        assert ucdir("restore", photo, "-o", tmp_path / f"{name}.png", *options)[0] == 0
    for number in (1, 2):
        assert share_consistent(read(tmp_path / f"plain-{number}.png").pixels, file) < 0.99
        assert share_consistent(read(tmp_path / f"moved-{number}.png").pixels, file) >= 0.999
    status, _, err = ucdir("restore", photo, "-o", tmp_path / "out.jpg", "--consistent")
    assert status == 0
    assert "out.jpg: its format is lossy" in err
    write(Photo(pixels), tmp_path / "other.png")
    refused(ucdir("restore", tmp_path / "other.png", "--consistent"), "other.png", "this is a PNG file")


def test_what_is_done_to_a_good_jpeg_can_be_chosen(ucdir, photo, tmp_path, pixels, refused):
    photo.write_bytes(JpegCompression(90).encode(pixels))
    found = {}
    options = {
        "default": [], "same": ["--amount", 0.2, "--no-consistent"], "plain": ["--no-consistent"],
        "nothing": ["--amount", 0, "--no-consistent"], "all": ["--amount", 1, "--no-consistent"],
    }  # fmt: skip
    for name, chosen in options.items():
        assert ucdir("restore", photo, "-o", tmp_path / f"{name}.png", *chosen)[0] == 0
        found[name] = read(tmp_path / f"{name}.png").pixels.astype(int)
    np.testing.assert_array_equal(found["nothing"], read(photo).pixels)
    np.testing.assert_array_equal(found["plain"], found["same"])
    changes = [np.abs(found[name] - found["nothing"]).mean() for name in ("plain", "all")]
    assert 0 < 3 * changes[0] < changes[1]
    file = jpeg_coefficients(photo.read_bytes())
    shares = [share_consistent(found[name].astype(np.uint8), file) for name in ("default", "plain")]
    assert shares[0] > shares[1] + 0.05
    refused(ucdir("restore", photo, "-o", tmp_path / "d.png", "--diversity", 1), "knows nothing of diversity")


def test_samples(ucdir, photo, tmp_path):
    ucdir("restore", photo, "-o", tmp_path / "out.png", "--samples", "2", "--seed", "3")
    assert not (tmp_path / "out.png").exists()
    ucdir("restore", photo, "-o", tmp_path / "second.png", "--seed", "4")
    assert (tmp_path / "out-2.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    assert (tmp_path / "out-1.png").read_bytes() != (tmp_path / "second.png").read_bytes()
    mean = (
        "restore",
        photo,
        "-o",
        tmp_path / "mean.png",
        "--samples",
        "2",
        "--uncertainty",
        tmp_path / "map.png",
    )
    status, _, error = ucdir(*mean)
    assert status == 2
    assert "give one PHOTO, --average, and --samples of 2 or more" in error
    ucdir(*mean, "--average")
    assert (tmp_path / "mean.png").exists()
    assert (tmp_path / "map.png").exists()


def test_samples_to_choose_from_differ(ucdir, photo, tmp_path, random_pipeline):
    """Asked for several restorations, a model that can make them differ does; as of a mean, what is given stays."""
    dial = random_pipeline(diffusion_model={"scalars": ["jpeg_quality", "diversity"]})
    save_model(tmp_path / "dial", dial.engine.predictor, dial.engine.diffusion_model, dial.config)

    def told(name, *options):
        status, out, _ = ucdir(
            "restore", photo, "-o", tmp_path / name, "--model", tmp_path / "dial", "--json", *options
        )
        assert status == 0
        return [(json.loads(line)["scalars"] or {}).get("diversity") for line in out.splitlines()]

    assert told("one.png", "--seed", 1) == [None]
    assert told("out.png", "--samples", 2) == [0.5, 0.5]
    assert told("alone.png", "--seed", 1, "--diversity", 0.5) == [0.5]
    pixels = {name: read(tmp_path / f"{name}.png").pixels for name in ("one", "out-1", "out-2", "alone")}
    np.testing.assert_array_equal(pixels["out-2"], pixels["alone"])
    assert (pixels["out-1"] != pixels["out-2"]).any()
    assert told("given.png", "--samples", 2, "--diversity", 0.1) == [0.1, 0.1]
    assert told("mean.png", "--samples", 2, "--average") == [1]
    assert told("out.png", "--samples", 3) == [None, None, 0.5], "two are finished"


def test_times_are_kept_if_wanted(ucdir, photo, tmp_path):
    os.utime(photo, ns=(10**18, 10**18 + 1000))
    for output, options in ((tmp_path / "new.png", ()), (tmp_path / "kept.png", ("--keep-times",))):
        ucdir("restore", photo, "-o", output, *options)
    assert (tmp_path / "kept.png").stat().st_mtime_ns == 10**18 + 1000
    assert (tmp_path / "new.png").stat().st_mtime_ns > 10**18 + 1000


def test_several_into_a_folder(ucdir, photo, tmp_path, pixels, refused):
    write(Photo(pixels), tmp_path / "other.png")
    (tmp_path / "results").mkdir()
    status, out, _ = ucdir("restore", photo, tmp_path / "other.png", "-o", tmp_path / "results")
    assert status == 0
    assert len(out.splitlines()) == 2
    made = [".ucdir.jsonl", "other.restored.png", "photo.restored.png"]
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == made
    assert ucdir("restore", photo, tmp_path / "other.png", "-o", tmp_path / "new")[0] == 0
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == made
    refused(ucdir("restore", photo, tmp_path / "other.png", "-o", tmp_path / "x.png"), "x.png is one file")
    assert ucdir("restore", photo, photo, "-o", tmp_path / "results", "--overwrite")[1].count(" -> ") == 1


def test_photos_of_one_name_get_two(ucdir, photo, tmp_path, pixels):
    write(Photo(pixels), tmp_path / "photo.png")
    write(Photo(pixels), tmp_path / "other.png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "photo.jpg").write_bytes(photo.read_bytes())
    files = (photo, tmp_path / "photo.png", tmp_path / "sub" / "photo.jpg", tmp_path / "other.png")
    status, out, _ = ucdir("restore", *files, "-o", f"{tmp_path / 'results'}/")
    assert status == 0
    assert out.count(" -> ") == 4
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == [
        ".ucdir.jsonl", "other.restored.png", "photo.jpg-2.restored.png", "photo.jpg.restored.png",
        "photo.png.restored.png",
    ]  # fmt: skip


def test_a_slash_makes_the_folder_or_says_why_not(ucdir, photo, tmp_path, refused):
    assert ucdir("restore", photo, "-o", f"{tmp_path}/new/folder/")[0] == 0
    assert (tmp_path / "new" / "folder" / "photo.restored.png").exists()
    refused(ucdir("restore", photo, "-o", f"{photo}/"), photo, "this folder cannot be made", "is a file")


def test_a_model_of_another_task_is_refused(ucdir, photo, tmp_path, refused):
    result = ucdir("restore", photo, "--task", "deblurring")  # with a model of jpeg_restoration
    refused(result, "task deblurring: the model was made for jpeg_restoration")
    assert not photo.with_name("photo.restored.png").exists()


def test_numbers_that_are_not_finite_are_never_written(ucdir, photo, monkeypatch, refused):
    output = photo.with_name("photo.restored.png")
    output.write_bytes(b"precious")
    monkeypatch.setattr(TorchEngine, "predict", lambda self, degraded: np.full_like(degraded, np.nan))
    refused(ucdir("restore", photo, "--force", "--engine", "torch"), "not finite")
    assert output.read_bytes() == b"precious"
    assert [p.name for p in photo.parent.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("stage", ["read", "to_srgb_signal", "from_srgb_signal", "write"])
def test_short_of_memory_the_batch_goes_on(ucdir, photo, tmp_path, pixels, monkeypatch, stage):
    write(Photo(pixels[:8, :9]), tmp_path / "small.png")
    original, calls = getattr(workflow, stage), []

    def short(*arguments, **options):
        calls.append(stage)
        if len(calls) == 1:
            raise MemoryError("Unable to allocate 137 GiB")
        return original(*arguments, **options)

    monkeypatch.setattr(workflow, stage, short)
    status, out, err = ucdir("restore", photo, tmp_path / "small.png")
    assert status == 1
    sentence = (
        f"{photo}: the memory does not hold its restoration; close other programs, raise the limit "
        "(--max-memory, ulimit -v, the container's), or use a machine with more memory."
    )
    assert err.splitlines() == [f"ucdir: {sentence}", "ucdir: 1 failed:", f"  {sentence}"]
    assert "small.restored.png" in out
    assert not photo.with_name("photo.restored.png").exists()


def test_a_bad_one_does_not_stop_the_others(ucdir, photo, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff junk")
    status, out, err = ucdir("restore", tmp_path / "bad.jpg", photo)
    assert status == 1
    assert "bad.jpg" in err
    assert "photo.restored.png" in out
    assert not (tmp_path / "bad.restored.png").exists()


def test_what_cannot_be_restored_is_said_at_once_and_the_others_are(ucdir, photo, tmp_path, pixels):
    write(Photo(pixels), tmp_path / "done.png")
    (tmp_path / "done.restored.png").write_bytes(b"precious")
    status, out, err = ucdir("restore", tmp_path / "typo.jpg", tmp_path / "done.png", photo)
    assert status == 1
    assert "typo.jpg" in err
    assert "done.restored.png exists already" in err
    assert (tmp_path / "done.restored.png").read_bytes() == b"precious"
    assert out.count(" -> ") == 1
    assert "photo.restored.png" in out


def test_a_note_on_what_was_odd(ucdir, tmp_path, pixels):
    from PIL import Image

    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    status, _, err = ucdir("restore", tmp_path / "moving.webp")
    assert status == 0
    assert err.startswith("note: ")
    assert "2 frames" in err


def test_odd_but_valid_images(ucdir, tmp_path, pixels):
    from PIL import Image

    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(pixels[:1, :1]).save(tmp_path / "dot.png")
    Image.fromarray(np.tile(pixels, (1, 20, 1))[:3, :400]).save(tmp_path / "strip.bmp")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=turned)
    for name, size in (
        ("cmyk.jpg", (20, 24)),
        ("dot.png", (1, 1)),
        ("strip.bmp", (3, 400)),
        ("turned.jpg", (24, 20)),
    ):
        assert ucdir("restore", tmp_path / name)[0] == 0, name
        assert read((tmp_path / name).with_suffix("").with_suffix(".restored.png")).pixels.shape == (
            *size,
            3,
        ), name


def test_an_existing_output_is_kept(ucdir, photo, pixels, refused):
    output = photo.with_name("photo.restored.png")
    output.write_bytes(b"precious")
    refused(ucdir("restore", photo), output.name, "--overwrite")
    assert output.read_bytes() == b"precious"
    assert ucdir("restore", photo, "--force")[0] == 0
    assert read(output).pixels.shape == pixels.shape


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.jpg", b""), ("text.png", b"hello, world"), ("cut.jpg", None), ("page.pdf", b"%PDF-1.7\n")],
)
def test_what_is_no_image(ucdir, photo, tmp_path, name, content, refused):
    (tmp_path / name).write_bytes(photo.read_bytes()[:-200] if content is None else content)
    refused(ucdir("restore", tmp_path / name), name)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["photo.jpg", name])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jpg"], ["missing.jpg"]),
        (["photo.jpg", "-o", "out.xyz"], ["out.xyz", ".png"]),
        (["photo.jpg", "-o", "no/out.png"], ["no"]),
        (["photo.jpg", "--steps", "0"], ["steps 0 is not"]),
        (["photo.jpg", "--steps", "5000"], ["steps 5000 is not"]),
        (["photo.jpg", "--steps", "801"], ["801 sampling steps are more than the 800"]),
        (["photo.jpg", "--seed", "-1"], ["seed -1"]),
        (["photo.jpg", "--patch-size", "8"], ["patch size of 8 pixels"]),
        (["photo.jpg", "--device", "tpu"], ["'tpu' is not available"]),
        (["photo.jpg", "--model", "nothing"], ["nothing: no model has this name"]),
    ],
)
def test_restore_refuses(ucdir, photo, tmp_path, monkeypatch, arguments, words, refused):
    monkeypatch.chdir(tmp_path)
    refused(ucdir("restore", *arguments), *words)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(ucdir, photo, refused):
    photo.chmod(0)
    refused(ucdir("restore", photo), "ermission")


def test_a_damaged_model(ucdir, photo, model_folder, tmp_path, refused):
    import shutil

    shutil.copytree(model_folder, tmp_path / "model")
    weights = tmp_path / "model" / "predictor" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused(ucdir("restore", photo, "--model", tmp_path / "model"), weights, "cut short")
    assert not photo.with_name("photo.restored.png").exists()


def test_what_nothing_is_wrong_with_is_left_alone_unless_a_task_is_named(ucdir, tmp_path, pixels):
    write(Photo(pixels), tmp_path / "plain.png")
    status, out, err = ucdir("restore", tmp_path / "plain.png", model=False)
    assert (status, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'plain.png'}: nothing is wrong with it (")
    assert f"choose a task with --task ({', '.join(TASKS)})" in out
    assert [file.name for file in tmp_path.iterdir()] == ["plain.png"]
    _, out, _ = ucdir("restore", tmp_path / "plain.png", "-o", f"{tmp_path}/out/", "--json", model=False)
    said = json.loads(out)
    assert (said["status"], said["output"], said["task"]) == ("unchanged", None, None)
    assert not (tmp_path / "out").exists()
    status, _, err = ucdir("restore", tmp_path / "plain.png", "--task", "rain")
    assert status == 2
    assert "--task rain is unknown" in err
    assert ucdir("restore", tmp_path / "plain.png", "--task", "jpeg_restoration")[0] == 0


@pytest.mark.parametrize("ratio", ["much", "0.5", "nan", "1e9"])
def test_a_brightening_that_is_none(ucdir, photo, ratio):
    status, _, err = ucdir("restore", photo, "--brighten", ratio)
    assert status == 2
    assert f"--brighten {ratio} is neither a number from 1 to 1000, nor auto, nor file" in err
