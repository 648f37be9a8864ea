"""The way of one image, and the conventions of diffusers."""

import weakref

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)
from PIL import Image
from random_images import image_of, run

from ucdir import pipeline as pipeline_module
from ucdir.diffusion.noise import noise_by_place
from ucdir.errors import ConfigError
from ucdir.inputs import to_tensor
from ucdir.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pipeline(random_pipeline):
    return random_pipeline()


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
        network = pipeline.diffusion_model
        noise = pipeline._predicted_noise(network, noisy, image, guidance, level=level, scalars={})
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
    for same in (Image.fromarray(pixels), pixels / 255, pixels[None], [pixels], to_tensor(pixels)):
        assert np.allclose(pipeline(same, output_type="np").images, array, atol=1e-5)
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


def test_a_callback_that_keeps_nothing_costs_no_second_image(pipeline, monkeypatch):
    alive = []

    def report(_, step, __, tensors):
        alive.append(weakref.ref(tensors["sample"]))
        return tensors

    held = []
    real = pipeline.diffusion_model.forward

    def evaluate(*arguments):
        held.append(sum(one() is not None for one in alive))
        return real(*arguments)

    monkeypatch.setattr(pipeline.diffusion_model, "forward", evaluate)
    run(pipeline, image_of(12, 16), callback_on_step_end=report)
    assert held == [0, 0, 0]
    assert len(alive) == 3, "control: it was called"


def test_what_a_callback_was_shown_stays_as_it_was(pipeline):
    image, kept, copies = image_of(16, 16), [], []

    def keep(pipe, step, timestep, tensors):
        kept.append(tensors["sample"])
        copies.append(tensors["sample"].clone())
        return tensors

    run(pipeline, image, eta=1.0, callback_on_step_end=keep)
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))
    assert not torch.equal(kept[0], kept[1])


def test_the_callers_tensor_is_left_alone(pipeline):
    image = image_of(16, 16)
    before = image.clone()
    for start in (0, 0.4):
        run(pipeline, image, start=start).fill_(7)
    assert torch.equal(image, before)


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


@pytest.mark.parametrize("kind", [DDPMScheduler, EulerAncestralDiscreteScheduler])
def test_schedulers_that_draw_their_own_noise_are_reproducible_too(random_pipeline, kind):
    pipeline = random_pipeline()
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
    images = image_of(130, 20, batch=2)
    together = run(pipeline, images, seed=3)
    assert torch.equal(together, run(pipeline, images, seed=3))
    assert torch.allclose(run(pipeline, images[1], seed=3), together[1:], atol=1e-5)
    assert torch.allclose(run(pipeline, images, seed=3, patch_size=84), together, atol=1e-4)
    assert (run(pipeline, images, seed=4) - together).abs().max() > 1e-2
    before = torch.random.get_rng_state()
    run(pipeline, images)
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator is left alone"


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm_solver++"])
def test_every_sampler_split_equals_whole(random_pipeline, sampler):
    pipeline = random_pipeline(sampler=sampler, eta=1.0)
    image = image_of(20, 120)
    whole = run(pipeline, image)
    assert (run(pipeline, image, patch_size=84) - whole).abs().max() <= 1e-4
    assert whole.abs().max() <= 1


def test_a_residual_beyond_all_bounds_cannot_leave_the_range(random_pipeline):
    pipeline = random_pipeline()
    with torch.no_grad():
        pipeline.diffusion_model.unet.head.bias.fill_(1000.0)
    residuals = []

    def look(pipe, step, timestep, tensors):
        residuals.append(tensors["sample"].abs().max())
        return tensors

    result = run(pipeline, image_of(16, 16), callback_on_step_end=look)
    assert result.isfinite().all()
    assert result.abs().max() <= 1
    # 5 is the residual's scale: |y - u| <= 1 + |u|, and what noise is left grows with it
    assert max(residuals) < 100, "control: 1000 would have shown"


def test_large_images_and_large_batches_are_split(pipeline):
    side = pipeline_module._automatic_patch_size
    model = pipeline.predictor
    assert side((1, 3, 1000, 1400), model) >= 1400, "one patch"
    assert side((1, 3, 3000, 4000), model) == 896
    assert side((4, 3, 3000, 4000), model) == 448
    assert 4 * side((4, 3, 1000, 1000), model) ** 2 <= 1_400_000, "control: four of 1 MP are no single patch"
    assert side((10_000, 3, 100, 100), model) >= 3 * model.receptive_field


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"default_steps": 0}, "num_inference_steps 0"),
        ({"default_steps": 2.5}, "num_inference_steps 2.5"),
        ({"start": 2.0}, "start 2.0"),
        ({"eta": -0.5}, "eta -0.5"),
        ({"residual_scale": 0.0}, "residual_scale 0.0"),
        ({"residual_scale": float("nan")}, "residual_scale nan"),
    ],
)
def test_a_pipeline_is_not_made_of_what_cannot_run(pipeline, options, words):
    with pytest.raises(ConfigError, match=words):
        Pipeline(pipeline.predictor, pipeline.diffusion_model, pipeline.scheduler, **options)


def test_an_unknown_kind_of_output_is_refused_before_the_work(random_pipeline, monkeypatch):
    pipeline = random_pipeline()
    monkeypatch.setattr(pipeline.predictor, "forward", lambda *_: pytest.fail("the work was begun"))
    with pytest.raises(ConfigError, match="'latent' is unknown"):
        pipeline(image_of(8, 8), output_type="latent")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_inference_steps": 2.5}, "num_inference_steps 2.5"),
        ({"num_inference_steps": "4"}, "num_inference_steps '4'"),
        ({"num_inference_steps": True}, "num_inference_steps True"),
        ({"start": float("nan")}, "start nan"),
        ({"patch_size": 100.5}, "patch size of 100.5"),
        ({"patch_size": 0}, "patch size of 0"),
        ({"patch_size": -100}, "patch size of -100"),
        ({"scalars": {"jpeg_quality": "high"}}, "jpeg_quality 'high' is no number"),
        ({"scalars": {"jpeg_quality": None}}, "jpeg_quality None is no number"),
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
