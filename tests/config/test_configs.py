"""Every configuration that is shipped is valid, and says what its name promises."""

from ucdir.config import PRESETS, load_config
from ucdir.tasks import TASKS
from ucdir.training.checks import check_settings


def test_all_parse(root):
    for file in (root / "configs").iterdir():
        config = load_config(file)
        check_settings(config, processes=1)
        assert config.task in TASKS
        assert file.stem.startswith(config.task)
        assert not config.data.photos.is_absolute()


def test_the_shipped_size(root):
    config = load_config(root / "configs" / "jpeg_restoration.yaml")
    plain = config.model.diffusion_model.model_copy(update={"sigma_data": 0.0})
    assert config.model.model_copy(update={"diffusion_model": plain}) == PRESETS["default"]
    assert config.diffusion.focus >= config.sampling.start_fraction, "levels that sampling meets are trained"


def test_the_paper(root):
    """Sec. 4.2, and Eq. 1 as it stands."""
    config = load_config(root / "configs" / "jpeg_restoration_paper.yaml")
    check_settings(config, processes=8)
    training, diffusion, sampling = config.training, config.diffusion, config.sampling
    assert config.model == PRESETS["paper"]
    assert (training.steps, training.batch_size, training.learning_rate) == (500_000, 32, 1e-4)
    assert (training.ema_decay, training.decay_steps) == (0.9999, 0)
    assert (diffusion.timesteps, diffusion.residual_scale, diffusion.loss) == (2000, 1.0, "l1")
    assert (diffusion.predictor_training, diffusion.focus, diffusion.focus_probability) == ("joint", 1.0, 0.0)
    assert (sampling.sampler, sampling.steps, sampling.start_fraction, sampling.eta) == ("ddpm", 50, 1.0, 1.0)
