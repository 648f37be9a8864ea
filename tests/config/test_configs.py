"""Every configuration that is shipped is valid, and says what its name promises."""

from pathlib import Path

import pytest

from ucdir.config import PRESETS, load_config
from ucdir.model.reach import receptive_field
from ucdir.model.weights import load_model
from ucdir.tasks import TASKS
from ucdir.training.checks import check_settings

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
TRAINED = sorted((ROOT / "src" / "ucdir" / "weights").glob("*/training.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_an_example_is_valid(file):
    config = load_config(file)
    check_settings(config, processes=8)
    assert file.stem.startswith(config.task)
    assert not config.data.photos.is_absolute()
    assert config.diffusion.focus >= config.sampling.start_fraction, "levels that sampling meets are trained"


@pytest.mark.parametrize("file", TRAINED, ids=lambda file: file.parent.name)
def test_how_the_weights_were_trained(file):
    """Valid, and of these weights, whatever the default preset is today."""
    config = load_config(file)
    check_settings(config, processes=1)
    predictor, diffusion_model, pipeline = load_model(file.parent)
    assert predictor.config == config.model.predictor
    assert diffusion_model.config == config.model.diffusion_model
    assert pipeline == config.pipeline


def test_every_task_has_an_example():
    assert {load_config(file).task for file in CONFIGS} == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_the_example_of_a_task_has_the_shipped_settings(task):
    config, preset = load_config(ROOT / "configs" / f"{task}.yaml"), PRESETS["default"]
    assert config.model.diffusion_model.scalars == TASKS[task].scalars
    if task != "deblurring":
        assert config.model.predictor == preset.model.predictor
    for section in ("diffusion", "sampling"):
        assert getattr(config, section) == getattr(preset, section)
    rate = {"learning_rate": config.training.learning_rate}
    assert config.training == preset.training.model_copy(update=rate)
    assert rate["learning_rate"] <= preset.training.learning_rate


def test_deblurring_sees_far_enough():
    """Blurs are up to 48 pixels long: a crop holds several, and each pixel of a network depends on as many."""
    config = load_config(ROOT / "configs" / "deblurring.yaml")
    longest = config.blur.lengths[1]
    for network in (config.model.predictor, config.model.diffusion_model):
        assert receptive_field(network) >= 2.5 * longest
    assert config.data.crop >= 4 * longest
    assert receptive_field(PRESETS["default"].model.predictor) < 2.5 * longest, "control: others do not"


def test_the_paper():
    """Sec. 4.2, and Eq. 1 as it stands."""
    config = load_config(ROOT / "configs" / "jpeg_restoration_paper.yaml")
    training, diffusion, sampling = config.training, config.diffusion, config.sampling
    assert config.model == PRESETS["paper"].model
    assert (training.steps, training.batch_size, training.learning_rate) == (500_000, 32, 1e-4)
    assert (training.ema_decay, training.decay_steps) == (0.9999, 0)
    assert (diffusion.timesteps, diffusion.residual_scale, diffusion.loss) == (2000, 1.0, "l1")
    assert (diffusion.predictor_training, diffusion.focus, diffusion.focus_probability) == ("joint", 1.0, 0.0)
    assert (sampling.sampler, sampling.steps, sampling.start_fraction, sampling.eta) == ("ddpm", 50, 1.0, 1.0)
