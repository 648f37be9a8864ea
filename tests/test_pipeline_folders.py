"""A pipeline saved to a folder and loaded again, and folders that hold none."""

import pytest
import torch
from diffusers import (
    DiffusionPipeline,
)
from random_images import image_of, run

from ucdir.errors import WeightsError
from ucdir.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pipeline(random_pipeline):
    return random_pipeline()


def test_the_same_bits_after_saving_and_loading(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "model")
    assert {p.suffix for p in (tmp_path / "model").rglob("*") if p.is_file()} == {".json", ".safetensors"}
    loaded = Pipeline.from_pretrained(tmp_path / "model")
    loaded.set_progress_bar_config(disable=True)
    image = image_of(50, 46)
    assert torch.equal(run(loaded, image), run(pipeline, image))
    assert {k: loaded.config[k] for k in ("residual_scale", "start", "default_steps", "eta", "task")} == {
        "residual_scale": 5.0, "start": 0.4, "default_steps": 3, "eta": 0.0, "task": "jpeg_restoration",
    }  # fmt: skip


def test_in_half_precision(model_folder):
    assert Pipeline.from_pretrained(model_folder).predictor.dtype == torch.float32
    loaded = Pipeline.from_pretrained(model_folder, dtype=torch.bfloat16)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.diffusion_model.dtype == torch.bfloat16
    assert run(loaded, image_of(16, 16)).dtype == torch.float32


def test_loading_leaves_the_settings_of_diffusers_alone(model_folder, tmp_path):
    from diffusers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    Pipeline.from_pretrained(model_folder)
    with pytest.raises(WeightsError):
        Pipeline.from_pretrained(tmp_path)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such folder"):
        Pipeline.from_pretrained(tmp_path / "nothing")
    with pytest.raises(WeightsError, match=r"model_index\.json: is missing"):
        Pipeline.from_pretrained(tmp_path)


def test_weights_of_another_size_are_refused(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    config = tmp_path / "predictor" / "config.json"
    config.write_text(config.read_text().replace('"channels": 8', '"channels": 16'))
    with pytest.raises(WeightsError, match="do not fit"):
        Pipeline.from_pretrained(tmp_path)


def test_it_is_a_diffusion_pipeline(pipeline):
    assert isinstance(pipeline, DiffusionPipeline)
    assert set(pipeline.components) == {"predictor", "diffusion_model", "scheduler"}
