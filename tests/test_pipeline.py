"""The way of one image, and the conventions of diffusers."""

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from PIL import Image

from ucdir.diffusion.noise import noise_by_place
from ucdir.errors import ConfigError, WeightsError
from ucdir.pipeline import Pipeline


@pytest.fixture(scope="module")
def pipeline(random_pipeline):
    return random_pipeline()


def image_of(height, width, seed=1, batch=1):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def run(pipeline, image, **options):
    return pipeline(image, output_type="pt", **options).images


# ------------------------------------------------------------------------------------------------ the way itself


def test_one_step_by_hand(pipeline):
    """u_φ(x), noise of the start level, f_θ, its residual, sum."""
    image = image_of(12, 16)
    with torch.no_grad():
        guidance = pipeline.predictor(image)
        levels = np.cumprod(1 - np.linspace(1e-6, 1e-2, 2000)) ** 0.5
        root = torch.tensor([levels[799]], dtype=torch.float32)
        spread = (1 - root**2) ** 0.5
        noisy = spread * noise_by_place(3, 0, 12, 16)
        noise = pipeline.diffusion_model(noisy, image, guidance, root, {"jpeg_quality": torch.tensor([30.0])})
    residual = (noisy - spread * noise) / root / 5.0
    expected = (guidance + residual).clamp(-1, 1)
    ours = run(pipeline, image, num_inference_steps=1, seed=3, scalars={"jpeg_quality": 30})
    assert torch.allclose(ours, expected, atol=1e-4)
    assert (ours - guidance.clamp(-1, 1)).abs().mean() > 0.05, "control: the residual matters"


def test_start_0_is_the_initial_prediction(pipeline):
    image = image_of(20, 28)
    with torch.no_grad():
        expected = pipeline.predictor(image).clamp(-1, 1)
    assert torch.allclose(run(pipeline, image, start=0), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (130, 90), (97, 64)])
def test_the_same_picture_whatever_the_patch_size(pipeline, size):
    image = image_of(*size)
    whole = run(pipeline, image)
    assert whole.shape == image.shape
    for patch_size in (84, 100):
        assert (run(pipeline, image, patch_size=patch_size) - whole).abs().max() <= 1e-4
    # sums run along other pixels, but the noise is the same
    other = run(pipeline, image, seed=1)
    assert (other - whole).abs().max() > 1e-2, "control: another seed is another picture"


def test_a_batch_is_its_images(pipeline):
    images = image_of(24, 20, batch=3)
    together = run(pipeline, images, scalars={"jpeg_quality": [10, 50, float("nan")]})
    for i, quality in enumerate((10, 50, None)):
        alone = run(pipeline, images[i], scalars={} if quality is None else {"jpeg_quality": quality})
        assert torch.allclose(together[i], alone[0], atol=1e-5)


def test_the_number_of_threads_changes_nothing(pipeline):
    image, before = image_of(40, 40), torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(run(pipeline, image))
    torch.set_num_threads(before)
    assert torch.allclose(*results, atol=1e-5)


def test_ancestral_noise_is_by_place_too(pipeline):
    image = image_of(130, 60)
    whole = run(pipeline, image, eta=1.0)
    assert (run(pipeline, image, eta=1.0, patch_size=84) - whole).abs().max() <= 1e-4
    assert (run(pipeline, image, eta=0.0) - whole).abs().max() > 1e-2


def test_what_is_restored_stays_in_range_at_every_step(pipeline):
    image = torch.ones(1, 3, 16, 16)
    guidance = image * 0.9
    inside = []

    def check(noisy, level):
        noise = pipeline._predicted_noise(noisy, image, guidance, level=level, scalars={})
        restored = guidance + (noisy - (1 - level**2) ** 0.5 * noise) / level / 5.0
        inside.append(bool((restored.abs() <= 1 + 1e-4).all()))
        return noise

    large = 30 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        corrected = check(large, 0.5)
        raw = pipeline.diffusion_model(large, image, guidance, torch.tensor([0.5]), {})
    assert inside == [True]
    assert not torch.allclose(corrected, raw, atol=1e-2), "control: something had to be corrected"


def test_the_quality_steers_the_result(pipeline):
    image = image_of(16, 16)
    told = run(pipeline, image, scalars={"jpeg_quality": 10})
    assert not torch.equal(told, run(pipeline, image))
    assert torch.equal(run(pipeline, image), run(pipeline, image, scalars={"jpeg_quality": float("nan")}))


# --------------------------------------------------------------------------------------------------- conventions


def test_kinds_of_input_and_output_agree(pipeline):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    first = pipeline(Image.fromarray(pixels)).images
    assert isinstance(first, list)
    assert first[0].size == (20, 16)
    array = pipeline(pixels, output_type="np").images
    assert array.shape == (1, 16, 20, 3)
    assert np.array_equal((array[0] * 255).round().astype(np.uint8), np.asarray(first[0]))
    assert pipeline(pixels, return_dict=False)[0][0] == first[0]
    assert len(pipeline([pixels, pixels]).images) == 2


def test_generators(pipeline):
    image = image_of(16, 16)

    def generator(seed):
        return torch.Generator().manual_seed(seed)

    a = run(pipeline, image, generator=generator(5))
    assert torch.equal(a, run(pipeline, image, generator=generator(5)))
    assert not torch.equal(a, run(pipeline, image, generator=generator(6)))
    used = generator(5)
    run(pipeline, image, generator=used)
    assert not torch.equal(a, run(pipeline, image, generator=used)), "a generator goes on"
    two = run(pipeline, image.repeat(2, 1, 1, 1), generator=[generator(5), generator(6)])
    assert torch.allclose(two[:1], a, atol=1e-5)
    before = torch.random.get_rng_state()
    run(pipeline, image)
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator is left alone"


def test_callback_sees_and_changes_the_sample(pipeline):
    seen = []

    def look(pipe, step, timestep, tensors):
        seen.append((pipe is pipeline, step, timestep))
        return tensors

    image = image_of(16, 16)
    assert torch.equal(run(pipeline, image, callback_on_step_end=look), run(pipeline, image))
    assert seen == [(True, 0, 799), (True, 1, 532), (True, 2, 266)]
    none = run(
        pipeline, image, callback_on_step_end=lambda p, i, t, tensors: {"sample": tensors["sample"] * 0}
    )
    assert torch.allclose(none, run(pipeline, image, start=0), atol=1e-6)


def test_progress_bar(random_pipeline, capfd):
    pipeline = random_pipeline()
    pipeline.set_progress_bar_config(disable=False, desc="steps of it")
    run(pipeline, image_of(8, 8))
    assert "steps of it" in capfd.readouterr().err
    pipeline.set_progress_bar_config(disable=True)
    run(pipeline, image_of(8, 8))
    assert capfd.readouterr().err == ""


def test_another_scheduler_may_take_over(random_pipeline):
    pipeline = random_pipeline()
    image = image_of(16, 16)
    fine = run(pipeline, image, num_inference_steps=60)
    for kind in (DPMSolverMultistepScheduler, EulerDiscreteScheduler):
        pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
        assert (run(pipeline, image, num_inference_steps=60) - fine).abs().mean() < 0.02, kind
    assert pipeline.to("cpu") is pipeline


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps 0"),
        ({"num_inference_steps": 2001}, "num_inference_steps 2001"),
        ({"start": 1.5}, "start 1.5"),
        ({"eta": -1.0}, "eta -1.0"),
        ({"seed": -3}, "seed -3"),
        ({"scalars": {"blur": 3}}, "knows nothing of blur; it takes jpeg_quality"),
        ({"scalars": {"jpeg_quality": [1, 2, 3]}}, "3 values for 1 images"),
        ({"patch_size": 16}, "patch size of 16 pixels is too small"),
        ({"output_type": "jpeg"}, "'jpeg' is unknown"),
    ],
)
def test_arguments_out_of_range(pipeline, options, words):
    with pytest.raises(ConfigError, match=words):
        pipeline(image_of(64, 64), **options)


# ------------------------------------------------------------------------------------------------------- folders


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
