"""An evaluation from images to table: what is measured, what is stored, and what cannot be measured."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ucdir import cli, metrics
from ucdir.data.photos import held_out_split
from ucdir.errors import ConfigError, DataError, ImageError, OutputError, WeightsError
from ucdir.evaluation import Settings, evaluate
from ucdir.evaluation.cases import Case, Cases
from ucdir.evaluation.measure import load_metrics, measure
from ucdir.evaluation.methods import Degraded, Precomputed, Restorer
from ucdir.evaluation.plot import plot
from ucdir.evaluation.sheet import place_of_interest
from ucdir.evaluation.table import as_csv, as_dict, as_markdown, as_text, bootstrap, row_of
from ucdir.metrics import METRICS
from ucdir.metrics.inception import INCEPTION
from ucdir.pipeline import load

SIZES = ((40, 48), (33, 64), (48, 40))


def picture(seed, height, width):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    for number, (height, width) in enumerate(SIZES):
        picture(number, height, width).save(folder / f"photo_{number}.png")
    return folder


@pytest.fixture
def settings(clean, model_folder, tmp_path):
    pipeline = load(model_folder, "cpu", "fp32")
    methods = [
        Degraded(),
        Restorer("predictor", pipeline, model_folder, start_fraction=0.0),
        Restorer("ours", pipeline, model_folder),
    ]
    cases = Cases("jpeg_restoration", clean, strength=10)
    return Settings(cases, methods, tmp_path / "out", ("psnr", "ssim"))


def test_rows_are_the_means_of_what_the_files_hold(settings, clean):
    result = evaluate(settings)
    assert [row.method for row in result.rows] == ["degraded", "predictor", "ours"]
    for row in result.rows:
        errors = []
        for number in range(3):
            expected = np.asarray(Image.open(clean / f"photo_{number}.png"), dtype=np.float64)
            saved = np.asarray(
                Image.open(settings.output / row.method / f"photo_{number}.png"), dtype=np.float64
            )
            errors.append(10 * np.log10(255**2 / ((saved - expected) ** 2).mean()))
        assert row.means["psnr"] == pytest.approx(np.mean(errors), abs=1e-3)
        low, high = row.intervals["psnr"]
        assert min(errors) - 1e-3 <= low <= row.means["psnr"] <= high <= max(errors) + 1e-3
    assert (settings.output / "sheet.png").exists()


def test_what_lies_beside_photos_is_not_measured(tmp_path):
    for name in ("a.png", "a.restored.png", "._a.png", ".DS_Store", "Thumbs.db", ".hidden/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [source.name for source in Cases(None, tmp_path)] == ["a.png"]


def test_the_degradation_is_a_jpeg_file_as_others_write_it(settings, clean):
    for case in [source.read() for source in settings.cases]:
        assert case.scalars == {"jpeg_quality": 10.0}
        buffer = io.BytesIO()
        Image.open(clean / case.name).save(buffer, "JPEG", quality=10, subsampling="4:2:0")
        decoded = np.asarray(Image.open(buffer).convert("RGB"))
        assert np.abs(decoded.astype(int) - case.degraded).max() <= 2


def test_what_is_done_is_not_done_again(settings, monkeypatch):
    first = evaluate(settings)

    def never(*_):
        raise AssertionError("restored once more")

    monkeypatch.setattr(Restorer, "restore", never)
    again = evaluate(settings)
    assert again.images == first.images
    assert [row.seconds for row in again.rows] == [row.seconds for row in first.rows]
    more = evaluate(
        replace(settings, metrics=("psnr", "ssim", "psnr"))
    )  # the pictures suffice for other metrics
    assert more.images == first.images
    other = [
        replace(method, seed=1) if isinstance(method, Restorer) else method for method in settings.methods
    ]
    with pytest.raises(AssertionError, match="restored once more"):
        evaluate(replace(settings, methods=other))
    monkeypatch.undo()
    (settings.output / "ours" / "photo_1.png").unlink()
    assert evaluate(settings).images == first.images


def test_other_pictures_are_measured_anew(settings, clean, tmp_path):
    restored = tmp_path / "restored"
    restored.mkdir()
    for number in range(3):
        Image.open(clean / f"photo_{number}.png").save(restored / f"photo_{number}.restored.png")
    finished = replace(settings, cases=Cases(None, clean), methods=[Precomputed("other", restored)])
    perfect = evaluate(finished)
    assert perfect.rows[0].means == {"psnr": float("inf"), "ssim": pytest.approx(1)}
    assert perfect.rows[0].seconds is None
    picture(9, *SIZES[0]).save(restored / "photo_0.restored.png")
    worse = evaluate(finished)
    assert worse.images["other"]["photo_0.png"]["ssim"] < 0.9
    assert worse.images["other"]["photo_1.png"] == perfect.images["other"]["photo_1.png"]


def test_two_runs_give_the_same_numbers(settings, tmp_path):
    first, second = evaluate(settings), evaluate(replace(settings, output=tmp_path / "second"))
    assert first.images == second.images
    assert as_csv(first.rows) == as_csv(second.rows)


# ------------------------------------------------------------------------------------- what cannot be measured


@pytest.fixture
def finished(settings, clean, tmp_path):
    """Copies of the clean pictures, as another program's results."""
    restored = tmp_path / "restored"
    restored.mkdir()
    for number in range(3):
        Image.open(clean / f"photo_{number}.png").save(restored / f"photo_{number}.png")
    return replace(settings, cases=Cases(None, clean), methods=[Precomputed("other", restored)])


@pytest.mark.parametrize("name", ["photo_1.tif", "photo_1.restored.png"])
def test_two_files_for_one_image_are_refused(finished, name):
    evaluate(finished)  # the control
    picture(9, *SIZES[1]).save(finished.methods[0].folder / name)
    with pytest.raises(DataError, match=r"photo_1.* and photo_1.* are both for the image photo_1: take one"):
        evaluate(replace(finished, methods=[replace(finished.methods[0])]))


def spoil_missing(folder):
    (folder / "photo_1.png").unlink()


def spoil_size(folder):
    picture(1, 20, 20).save(folder / "photo_1.png")


def spoil_content(folder):
    (folder / "photo_1.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (spoil_missing, DataError, "has no image called photo_1"),
        (spoil_size, DataError, r"photo_1\.png: is 20x20 and the clean image 64x33"),
        (spoil_content, ImageError, r"photo_1\.png"),
    ],
)
def test_what_cannot_be_measured_is_named_and_ends_it_or_is_left_out(finished, spoil, error, message):
    spoil(finished.methods[0].folder)
    with pytest.raises(error, match=message):
        evaluate(finished)
    result = evaluate(replace(finished, keep_going=True))
    assert len(result.left_out) == 1
    assert result.rows[0].images == 2
    for number in (0, 2):
        (finished.methods[0].folder / f"photo_{number}.png").unlink()
    with pytest.raises(DataError, match="none of the 3 images can be measured"):
        evaluate(replace(finished, keep_going=True))


def test_results_saved_as_jpeg_are_refused(finished):
    picture(0, *SIZES[0]).save(finished.methods[0].folder / "photo_0.jpg")
    with pytest.raises(DataError, match=r"photo_0\.jpg: a restored image saved as JPEG .* save it as PNG"):
        evaluate(finished)


def test_distances_alone_go_on_where_they_stopped_too(settings, metric_weights, monkeypatch):
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    distances = replace(settings, metrics=("fid",))
    evaluate(distances)
    monkeypatch.setattr(Restorer, "restore", lambda *_: pytest.fail("restored once more"))
    evaluate(distances)


def test_only_what_was_set_aside(clean, tmp_path):
    for folder in ("blurred", "sharp"):
        (tmp_path / folder).mkdir()
        for number in range(4):
            picture(number, 32, 32).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "pairs.tsv").write_text("".join(f"blurred/{i}.png\tsharp/{i}.png\n" for i in range(4)))
    aside = held_out_split(4, 2, "pairs")[1]
    pairs = Cases("deblurring", pairs=tmp_path / "pairs.tsv", held_out=2)
    assert [source.pair.clean.stem for source in pairs] == [str(i) for i in aside]
    case = next(iter(replace(pairs, crop=20))).read()
    assert case.clean.shape == case.degraded.shape == (20, 20, 3)
    assert np.array_equal(case.clean, np.asarray(picture(aside[0], 32, 32))[6:26, 6:26])
    named = Cases("jpeg_restoration", clean, names=["photo_2.png"])
    assert [source.name for source in named] == ["photo_2.png"]


@pytest.fixture
def pair_files(tmp_path):
    """A function that makes files of pictures, and gives their paths."""

    def make(*names):
        files = [tmp_path / name for name in names]
        for number, file in enumerate(files):
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(number, 32, 32).save(file)
        return files

    return make


@pytest.mark.parametrize("form", ["absolute", "../blurred/a.png"])
def test_results_of_listed_pairs_stay_in_the_output(pair_files, tmp_path, form):
    """Whatever the list calls its files: they were overwritten."""
    blurred, sharp = pair_files("blurred/a.png", "sharp/a.png")
    before = blurred.read_bytes()
    (tmp_path / "lists").mkdir()
    name = str(blurred) if form == "absolute" else form
    (tmp_path / "lists" / "pairs.tsv").write_text(f"{name}\t{sharp}\n")
    cases = Cases(None, pairs=tmp_path / "lists" / "pairs.tsv")
    (tmp_path / "out").mkdir()
    evaluate(Settings(cases, [Degraded()], tmp_path / "out", ("psnr",)))
    assert blurred.read_bytes() == before
    assert [p.name for p in blurred.parent.iterdir()] == ["a.png"]
    assert len([*(tmp_path / "out" / "degraded").rglob("a.png")]) == 1


def test_names_of_pairs_may_have_dots(pair_files, tmp_path):
    """As SID's have, whose exposures of one scene differ in nothing else."""
    short = [f"sid/short/00001_00_{seconds}s.png" for seconds in ("0.04", "0.1")]
    files = pair_files(*short, "sid/long/00001_00_10s.png")
    methods = [Degraded(), Precomputed("other", files[0].parent)]
    result = evaluate(Settings(Cases(None, pairs=tmp_path / "sid"), methods, tmp_path / "out", ("psnr",)))
    assert set(result.images["degraded"]) == {"00001_00_0.04s", "00001_00_0.1s"}
    assert result.images["other"] == result.images["degraded"]
    assert (tmp_path / "out" / "degraded" / "00001_00_0.04s.png").exists()


def test_an_output_that_cannot_be_made_is_an_error(finished, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="file/other: cannot be written .*; choose another folder"):
        evaluate(replace(finished, output=tmp_path / "file"))


def test_another_use_of_a_model_is_another_method(tmp_path):
    used = [
        *({}, {"steps": 1}, {"steps": 2}, {"start_fraction": 0.0}, {"seed": 1}),
        *({"given": {}}, {"given": {"jpeg_quality": 10.0}}, {"given": {"jpeg_quality": 20.0}}),
    ]
    assert len({Restorer("ours", None, tmp_path, **one).identity for one in used}) == len(used)


def test_of_the_initial_prediction_all_is_applied(model_folder):
    """Of the model's own row less, the better the JPEG file is."""
    pipeline = load(model_folder, "cpu", "fp32")
    degraded = np.asarray(picture(0, 32, 32))
    case = Case("a.png", "a", degraded, degraded, {"jpeg_quality": 88.0})
    whole, less = (
        pipeline(degraded, start_fraction=0, amount=amount, scalars=case.scalars) for amount in (1, None)
    )
    assert not np.array_equal(whole, less), "the control"
    found = Restorer("predictor", pipeline, model_folder, start_fraction=0).restore(case)
    assert np.array_equal(found, whole)


def test_every_image_is_degraded_by_a_seed_of_its_own(tmp_path):
    for name in "ab":
        picture(0, 32, 32).save(tmp_path / f"{name}.png")
    first, second = [[source.read() for source in Cases("low_light", tmp_path, strength=100)] for _ in "12"]
    assert np.array_equal(first[0].clean, first[1].clean)
    assert not np.array_equal(first[0].degraded, first[1].degraded)
    assert [case.digest for case in first] == [case.digest for case in second]


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_another_model_in_the_same_folder_is_another_method(tmp_path, suffix):
    found = set()
    for content in (b"one", b"two"):
        (tmp_path / f"weights{suffix}").write_bytes(content)
        found.add(Restorer("ours", None, tmp_path).identity)
    assert len(found) == 2


def test_the_output_is_never_measured(settings, clean):
    inside = clean / "results"
    with pytest.raises(ConfigError, match="results: lies within .*, whose images are measured"):
        evaluate(replace(settings, output=inside))
    for folder in ("blurred", "sharp"):
        (inside / folder).mkdir(parents=True)
    with pytest.raises(ConfigError, match="whose images are measured"):
        evaluate(replace(settings, cases=Cases(None, pairs=inside), output=inside / "out"))


def test_wrong_settings_are_refused(settings, clean, monkeypatch):
    with pytest.raises(ConfigError, match="task 'sharpening' is unknown"):
        Cases("sharpening", clean)
    with pytest.raises(ConfigError, match="name either a folder of clean images or"):
        Cases("deblurring")
    with pytest.raises(ConfigError, match="pairs are degraded already"):
        Cases("deblurring", pairs=clean, strength=3)
    with pytest.raises(ConfigError, match="metrics beauty: choose one or more of psnr, "):
        evaluate(replace(settings, metrics=("beauty",)))
    with pytest.raises(DataError, match="two methods are called degraded"):
        evaluate(replace(settings, methods=[Degraded(), Degraded()]))
    monkeypatch.delenv("UCDIR_WEIGHTS", raising=False)
    metrics._niqe.cache_clear()  # another test may have loaded it
    with pytest.raises(WeightsError, match="UCDIR_WEIGHTS"):
        evaluate(replace(settings, metrics=("psnr", "niqe_2021")))


def test_pictures_too_small_for_a_metric_have_no_value_of_it():
    small = np.zeros((9, 20, 3), dtype=np.uint8)
    assert measure(METRICS["ssim"], small, small) is None
    row = row_of("m", [{"ssim": None}, {"ssim": 0.5}, {"ssim": 0.7}], [None, 1.0, 2.0], {"fid": 3.0})
    assert (row.means["ssim"], row.seconds, row.images) == (pytest.approx(0.6), 1.5, 3)


# ---------------------------------------------------------------------------------------------- table and sheet


def test_the_interval_is_that_of_a_mean():
    values = np.random.default_rng(0).normal(5, 2, size=400)
    low, high = bootstrap(values)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.03)


def test_one_picture_has_no_interval():
    one = row_of("m", [{"psnr": 30.0, "lpips": 0.2}], [None], {})
    two = row_of("m", [{"psnr": 30.0, "lpips": 0.2}, {"psnr": 31.0, "lpips": 0.1}], [None, None], {})
    assert (set(one.intervals), set(two.intervals)) == (set(), {"psnr", "lpips"})
    assert "In brackets" in as_markdown([two], {})
    assert "In brackets" not in as_markdown([one], {})
    assert plot([one]).startswith(b"\x89PNG")
    assert plot([row_of("m", [{"psnr": math.inf, "lpips": 0.0}], [None], {})]) is None


def test_every_form_of_the_table(settings):
    result = evaluate(settings)
    lines = as_text(result.rows)
    assert len(lines) == 4
    assert lines[0].split() == ["method", "PSNR↑", "SSIM↑", "s/image"]
    rows = list(csv.DictReader(io.StringIO(as_csv(result.rows))))
    assert [float(row["psnr"]) for row in rows] == [row.means["psnr"] for row in result.rows]
    markdown = as_markdown(result.rows, {"task": "jpeg_restoration", "crop": None})
    assert markdown.splitlines()[0] == "| method | PSNR↑ | SSIM↑ |"
    assert "3 images; task jpeg_restoration. In brackets" in markdown
    tree = json.loads(json.dumps(as_dict(result.rows, {"seed": 0}, result.images), allow_nan=False))
    assert tree["images"]["ours"]["photo_2.png"]["psnr"] == result.images["ours"]["photo_2.png"]["psnr"]
    assert "torch" in tree["versions"]


def test_the_sheet_enlarges_where_the_images_differ():
    clean = np.full((200, 300, 3), 100, dtype=np.uint8)
    degraded = clean.copy()
    degraded[120:160, 200:240] += 50
    top, left, side = place_of_interest([degraded, clean])
    assert (top <= 120, top + side >= 160) == (True, True)
    assert (left <= 200, left + side >= 240) == (True, True)


def test_without_inception_the_distances_are_of_alexnet_and_have_other_names(
    settings, metric_weights, monkeypatch, tmp_path
):
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(2):
        picture(number, 300, 520).save(folder / f"{number}.png")
    large = replace(
        settings,
        cases=replace(settings.cases, clean=folder),
        methods=settings.methods[:1],
        metrics=("psnr", "fid", "kid"),
    )
    (row,) = evaluate(large).rows
    assert list(row.means) == ["psnr", "frechet_alexnet", "kernel_alexnet"]
    assert row.means["frechet_alexnet"] > 0
    small = evaluate(replace(large, cases=settings.cases, output=tmp_path / "small"))
    assert small.rows[0].means["frechet_alexnet"] is None, "no patch of 256 pixels fits"


def test_damaged_weights_are_reported_and_not_replaced_by_alexnet(metric_weights, monkeypatch, tmp_path):
    for file in metric_weights.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / INCEPTION.published_name).write_bytes(b"damaged")
    monkeypatch.setenv("UCDIR_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=INCEPTION.published_name):
        load_metrics(["fid"])


# ---------------------------------------------------------------------------------------------------- command


def test_the_command(clean, model_folder, tmp_path):
    arguments = [
        "evaluate", "--task", "jpeg_restoration", "--clean", str(clean), "--quality", "10", "-o", str(tmp_path / "out"),
        "--model", str(model_folder), "--steps", "1", "--steps", "2",
        "--given", "unknown", "--given", "jpeg_quality=60",
        "--metrics", "psnr,ssim", "--csv", str(tmp_path / "rows.csv"), "--restored", f"same={clean}",
    ]  # fmt: skip
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text())))
    assert [row["method"] for row in rows] == [
        "degraded", "predictor", "random, 1 step", "random, 2 steps", "random, given unknown",
        "random, given jpeg_quality=60", "same",
    ]  # fmt: skip
    assert float(rows[-1]["ssim"]) == pytest.approx(1)
    assert {"table.md", "table.csv", "table.json", "sheet.png"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }
    assert result.output.splitlines()[-1].startswith("restored images, table, sheet.png are in"), "no LPIPS"
    for wrong, message in {
        "iso=3": "'iso' is not a scalar",
        "gain=3": "this model knows nothing of gain",
        "jpeg_quality=200": "jpeg_quality 200 is out of range",
    }.items():
        with pytest.raises(ConfigError, match=message):
            CliRunner().invoke(cli.app, [*arguments, "--given", wrong], catch_exceptions=False)
    bare = ["evaluate", "--clean", str(clean), "--restored", str(clean), "-o", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="--steps and --given are of models"):
        CliRunner().invoke(cli.app, [*bare, "--steps", "2"], catch_exceptions=False)


def test_the_command_measures_what_its_options_name(clean, tmp_path):
    with Image.open(clean / "photo_0.png") as whole:
        (tmp_path / "middles").mkdir()
        whole.crop((16, 12, 32, 28)).save(tmp_path / "middles" / "photo_0.png")
    arguments = [
        "evaluate", "--clean", str(clean), "--restored", str(tmp_path / "middles"), "-o", str(tmp_path / "out"),
        "--metrics", "psnr", "--held-out", "2", "--limit", "1", "--crop", "16",
    ]  # fmt: skip
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert table["images"] == {"middles": {"photo_0.png": {"psnr": "inf"}}}
    assert [table["settings"][name] for name in ("held_out", "limit", "crop")] == [2, 1, 16]
