"""Table 4: its rows change one thing each, cost what the paper says, train and restore."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ucdir.ablations import ROWS, ablated, study
from ucdir.ablations import run as module
from ucdir.ablations.rows import PAPER_GMACS, Ablation, ablated_model
from ucdir.ablations.run import RowResult, ablate, as_markdown, paired
from ucdir.config import PRESETS, parse_config
from ucdir.errors import ConfigError
from ucdir.model.cost import denoiser_cost, parameters
from ucdir.model.framework import build
from ucdir.model.pretrained import model_folder
from ucdir.pipeline import load
from ucdir.tasks import TASKS
from ucdir.training.checks import check_settings

PREDICTOR = {"channels": 4, "multipliers": [1, 2], "blocks": [1, 1], "unshuffle": 2}


@pytest.fixture
def config(tmp_path):
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        noise = Image.effect_noise((48, 40), 60 + number).convert("RGB")
        noise.save(folder / f"{number}.png")
    values = {
        "preset": "paper",
        "model": {
            "predictor": PREDICTOR,
            "diffusion_model": {**PREDICTOR, "channels": 32, "kernel_bases": 2, "scalar_channels": 8},
        },
        "diffusion": {"residual_scale": 5.0},
        "data": {"photos": str(folder), "crop": 16, "hold_out": 2},
        "sampling": {"sampler": "ddim", "steps": 2, "start_fraction": 0.4, "eta": 0.0},
        "training": {"batch_size": 2, "workers": 0, "ema_decay": 0.5},
    }
    return parse_config(values, "the test's configuration")


def test_every_row_changes_one_field(config):
    assert sum(row.paper_lpips is not None for row in ROWS.values()) == 11, "the rows of Table 4"
    whole = config.model_dump()
    for row, ablation in ROWS.items():
        changed = ablated(config, row).model_dump()
        before, after = whole["model"]["diffusion_model"], changed["model"]["diffusion_model"]
        fields = [name for name in after if after[name] != before[name]]
        assert len(fields) == len(ablation.change) == (row != "Ours")
        changed["model"]["diffusion_model"] = before
        assert changed == whole
    with pytest.raises(ConfigError, match="ablation 'Attention' is unknown; choose one of w/o LayerNorm"):
        ablated(config, "Attention")


def test_costs_stand_to_ours_as_the_papers_do():
    costs = {row: denoiser_cost(ablated_model(PRESETS["paper"].model, row))[0] for row in ROWS}
    for row, ablation in ROWS.items():
        if ablation.paper_gmacs is None:
            continue
        paper = ablation.paper_gmacs / PAPER_GMACS
        ours = costs[row] / costs["Ours"]
        # our Concatenation doubles the input of one of two convolutions of every block, and of nothing else
        assert ours == pytest.approx(paper, abs=0.15 if row == "Concatenation" else 0.05), row
    assert max(costs, key=costs.get) == "Concatenation"
    assert costs["w/o Spatial guidance"] < costs["Ours"] < costs["Internal feature guidance"]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_learns_in_all_its_weights(config, row):
    predictor, diffusion_model = build(ablated(config, row).model)
    torch.manual_seed(0)
    image = torch.randn(2, 3, 16, 16)
    for weight in diffusion_model.parameters():  # the last layer starts at zero and would hide the others
        weight.data.add_(torch.randn_like(weight) * 0.1)
    scalars = {"jpeg_quality": torch.tensor([10.0, float("nan")])}
    diffusion_model(
        image, image, predictor(image), torch.tensor([0.5, 0.9]), scalars
    ).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in diffusion_model.parameters())


def test_rows_are_trained_alike_measured_and_not_done_again(config, tmp_path, metric_weights, monkeypatch):
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    rows = ("Addition", "DvSR", "Ours")
    settings = {"minutes": 0.01, "strength": 10, "images": 2, "crop": 40}
    first = ablate(config, tmp_path / "study", rows=rows, **settings)
    assert [one.row for one in first] == list(rows)
    assert len({one.steps for one in first}) == 1
    for one in first:
        assert one.lpips > 0
        assert one.images == 2
        load(tmp_path / "study" / one.row / "model", "cpu")
    assert first[2].parameters == parameters(build(config.model)[1])
    table = (tmp_path / "study" / "table.md").read_text()
    assert f"| DvSR | {first[1].lpips:.4f} |" in table
    assert f"{first[0].steps} steps each; 2 images." in table
    difference = first[1].lpips - first[2].lpips
    assert f"| DvSR | {first[1].lpips:.4f} | {difference:+.4f} (" in table
    assert f"| Ours | {first[2].lpips:.4f} |  |" in table

    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("trained once more"))
    assert ablate(config, tmp_path / "study", rows=rows, **settings) == first
    other = config.model_copy(update={"seed": 1})
    with pytest.raises(ConfigError, match="was made by another configuration"):
        ablate(other, tmp_path / "study", rows=rows, **settings)
    for change in ({"strength": 20}, {"images": 1}, {"crop": 32}):
        with pytest.raises(ConfigError, match="measured otherwise"):
            ablate(config, tmp_path / "study", rows=rows, **{**settings, **change})
    (config.data.photos / "5.png").rename(config.data.photos / "6.png")
    with pytest.raises(ConfigError, match="begun with 6 other photographs than the 6 of now"):
        ablate(config, tmp_path / "study", rows=rows, **settings)


def test_what_is_measured_was_not_trained_on(config, tmp_path, metric_weights, monkeypatch):
    from PIL import Image

    # too small to train on: the pictures after it take other numbers
    Image.new("RGB", (8, 8)).save(config.data.photos / "0_small.png")
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    (one,) = ablate(config, tmp_path / "study", steps=1, rows=("Ours",), images=2, crop=40)
    assert set(one.lpips_of) == {"1.png", "4.png"}


def test_a_study_that_cannot_be_measured_is_refused_before_it_is_trained(config, tmp_path):
    with pytest.raises(ConfigError, match="200"):
        ablate(config, tmp_path / "study", steps=1, strength=200)
    pairs = config.model_copy(update={"data": config.data.model_copy(update={"pairs": tmp_path})})
    with pytest.raises(ConfigError, match="leave the pairs out"):
        ablate(pairs, tmp_path / "study", steps=1)
    wrong = config.model_copy(
        update={"training": config.training.model_copy(update={"objective": "regresion"})}
    )
    with pytest.raises(ConfigError, match="training.objective 'regresion' is unknown"):
        ablate(wrong, tmp_path / "study", minutes=1)
    assert not (tmp_path / "study").exists()


def test_rows_are_compared_picture_by_picture():
    easy_and_hard = {"easy": 0.1, "hard": 0.5}
    ours = RowResult("Ours", 0.3, 0, 0, 1, 1, 1, 2, easy_and_hard)
    worse = RowResult("AdaIN", 0.31, 0, 0, 1, 1, 1, 2, {name: v + 0.01 for name, v in easy_and_hard.items()})
    assert paired(worse, ours) == "+0.0100 (+0.0100 to +0.0100)"  # though the pictures differ by far more
    assert paired(replace(worse, lpips_of={"easy": 0.12}), ours) == "+0.0200", "one picture has no interval"
    assert paired(replace(worse, lpips_of={"other": 0.1}), ours) == ""
    assert "| AdaIN | 0.3100 |  |" in as_markdown([worse]), "nothing to compare with"


def test_steps_are_timed_by_the_experiments_own_objective(config, metric_weights, monkeypatch):
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    few = {"objective": "sampler_aware", "freeze_predictor": True, "perceptual_weight": 1.0}
    data = config.data.model_copy(update={"crop": 40})
    longer = config.model_copy(update={"training": config.training.model_copy(update=few), "data": data})
    called = []
    real = module.new_model

    def counted(*arguments):
        model = real(*arguments)
        model.register_forward_hook(lambda _, __, losses: called.append(set(losses)))
        return model

    monkeypatch.setattr(module, "new_model", counted)
    assert module.seconds_a_step(longer) > 0
    assert called == [{"pixels", "predictor", "perceptual"}] * (module.TIMED_STEPS + 1)


def test_steps_of_the_energy_score_are_timed_too(config):
    """It is given a second noise and a diversity beside what every objective is given."""
    diverse = config.model.diffusion_model.model_copy(update={"scalars": ("jpeg_quality", "diversity")})
    score = {"objective": "energy_score", "perceptual_weight": 0.0}
    assert module.seconds_a_step(
        config.model_copy(
            update={
                "model": config.model.model_copy(update={"diffusion_model": diverse}),
                "training": config.training.model_copy(update=score),
            }
        )
    )


def test_a_stopped_study_goes_on(config, tmp_path, metric_weights, monkeypatch):
    monkeypatch.setenv("UCDIR_WEIGHTS", str(metric_weights))
    trained: list[str] = []
    real = module.train

    def stops(experiment, folder):
        trained.append(Path(folder).parent.name)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return real(experiment, folder)

    monkeypatch.setattr(module, "train", stops)
    settings = {"steps": 2, "rows": ("AdaIN", "Ours"), "images": 1, "crop": 40}
    with pytest.raises(KeyboardInterrupt):
        ablate(config, tmp_path / "study", **settings)
    results = ablate(config, tmp_path / "study", **settings)
    assert trained == ["AdaIN", "Ours", "Ours"]
    assert [(one.steps, one.images) for one in results] == [(2, 1), (2, 1)], "of two that were set aside"
    assert json.loads((tmp_path / "study" / "study.json").read_text())["steps"] == 2


@pytest.mark.parametrize("task", TASKS)
def test_the_study_of_a_task_can_be_trained(config, task):
    experiment = study(task, config.data.photos)
    assert experiment.task == task
    assert experiment.training.initial == task
    assert model_folder(experiment.training.initial).is_dir()
    for row in ROWS:
        check_settings(ablated(experiment, row), 1)


def test_wrong_settings_are_refused(config, tmp_path):
    for wrong in ({}, {"steps": 1, "minutes": 1}):
        with pytest.raises(ConfigError, match="give either steps or minutes"):
            ablate(config, tmp_path / "study", **wrong)
    for minutes in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="minutes of training are no time"):
            ablate(config, tmp_path / "study", minutes=minutes)
    without = config.model_copy(update={"data": config.data.model_copy(update={"hold_out": 0})})
    with pytest.raises(ConfigError, match=r"data\.hold_out of at least 1"):
        ablate(without, tmp_path / "study", steps=1)
    released = config.model_copy(
        update={"model": config.model.model_copy(update={"architecture": "release"})}
    )
    with pytest.raises(ConfigError, match="release has no settings that rows could change"):
        ablate(released, tmp_path / "study", steps=1)
    assert not (tmp_path / "study").exists()


def test_a_row_that_cannot_be_built_is_refused_before_the_first_is_trained(config, tmp_path, monkeypatch):
    """44 channels times 4 are no groups of about 32; only one row wants them."""
    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("trained"))
    wide = config.model.diffusion_model.model_copy(update={"channels": 44, "multipliers": (1, 4)})
    model = config.model.model_copy(update={"diffusion_model": wide})
    odd = config.model_copy(update={"model": model})
    check_settings(odd, 1)
    with pytest.raises(ConfigError, match="cannot split levels of .44, 176. channels"):
        ablate(odd, tmp_path / "study", steps=1)


def test_a_row_that_is_not_the_papers_has_no_values_of_the_paper(monkeypatch):
    monkeypatch.setitem(ROWS, "Swish → GELU", Ablation({"activation": "gelu"}))
    row = RowResult("Swish → GELU", 0.3, 26.0, 0.7, 2.8, 1000, 2, 1)
    assert "| 2.80 |  | 1,000 |  |  |" in as_markdown([row])
