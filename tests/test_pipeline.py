"""Restoring an image: guidance, residual, sum."""

import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image
from random_images import image_of

from ucdir.diffusion.noise import noise_by_place
from ucdir.diffusion.samplers import SAMPLERS, adds_noise
from ucdir.errors import ConfigError, DeviceError, ResultError
from ucdir.patches import TileRunner, tile_runner
from ucdir.pipeline import load, whole_images

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pipeline(random_pipeline):
    return random_pipeline()


def test_one_step_by_hand(pipeline):
    """u_φ(x), noise of the start level, f_θ, its residual, sum."""
    engine, image = pipeline.engine, image_of(12, 16)
    guidance = engine.predict(image)
    level = float(np.cumprod(1 - np.linspace(1e-6, 1e-2, 2000))[799] ** 0.5)
    spread = (1 - level**2) ** 0.5
    noisy = np.float32(spread) * noise_by_place(3, 0, 12, 16)
    known = {"jpeg_quality": np.array([30], np.float32)}
    noise = engine.denoise(noisy, image, guidance, level=level, scalars=known)
    residual = (noisy - spread * noise) / level / 5.0
    expected = np.clip(guidance + residual, -1, 1)
    ours = pipeline.restore_signal(image, steps=1, seed=3, scalars={"jpeg_quality": 30})
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert np.abs(ours - np.clip(guidance, -1, 1)).mean() > 0.05, "control: the residual matters"


def test_a_predicted_residual_is_taken_as_it_is(random_pipeline):
    """x̂ = σ₀ε, then two steps of Euler, uniform in σ, by hand."""
    pipeline = random_pipeline(sampler="euler", spacing="sigma")
    pipeline.engine.diffusion_model.prediction = "residual"
    engine, image = pipeline.engine, image_of(12, 16)
    guidance = engine.predict(image)
    start = float(np.cumprod(1 - np.linspace(1e-6, 1e-2, 2000))[799] ** -1 - 1) ** 0.5
    x = np.float32(start) * noise_by_place(3, 0, 12, 16)
    for sigma, following in ((start, start / 2), (start / 2, 0.0)):
        level = 1 / (1 + sigma**2) ** 0.5
        residual = engine.denoise(np.float32(level) * x, image, guidance, level=level, scalars={})
        residual = residual.clip(5 * (-1 - guidance), 5 * (1 - guidance))
        x = residual + np.float32(following / sigma) * (x - residual)
    found = pipeline.restore_signal(image, steps=2, seed=3)
    np.testing.assert_allclose(found, np.clip(guidance + x / 5, -1, 1), atol=1e-4)
    engine.diffusion_model.prediction = "noise"
    assert np.abs(pipeline.restore_signal(image, steps=2, seed=3) - found).max() > 1e-2, "control"


def test_without_sampling_it_is_the_initial_prediction(pipeline):
    image = image_of(20, 28)
    expected = np.clip(pipeline.engine.predict(image), -1, 1)
    for options in ({"start_fraction": 0}, {"fidelity": 1}):
        np.testing.assert_allclose(pipeline.restore_signal(image, **options), expected, atol=1e-6)


def test_fidelity_is_the_share_of_the_residual_that_is_left_out(random_pipeline):
    pipeline, image = random_pipeline(residual_scale=50.0), image_of(20, 28) * 0.5
    whole, half, none = (pipeline.restore_signal(image, fidelity=f) for f in (0, 0.5, 1))
    inside = np.maximum(np.abs(whole), np.abs(none)) < 1
    assert inside.mean() > 0.5
    np.testing.assert_allclose(half[inside], ((whole + none) / 2)[inside], atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (130, 90), (97, 64)])
def test_the_same_picture_whatever_the_patch_size(pipeline, size):
    image = image_of(*size)
    whole = pipeline.restore_signal(image)
    assert whole.shape == image.shape
    for patch_size in (84, np.int64(100)):
        assert np.abs(pipeline.restore_signal(image, patch_size=patch_size) - whole).max() <= 1e-4
    other = pipeline.restore_signal(image, seed=1)
    assert np.abs(other - whole).max() > 1e-2, "control: another seed is another picture"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_split_equals_whole(random_pipeline, sampler):
    pipeline, image = random_pipeline(sampler=sampler, eta=1.0), image_of(20, 120)
    whole = pipeline.restore_signal(image)
    assert np.abs(pipeline.restore_signal(image, patch_size=84) - whole).max() <= 1e-4
    assert np.abs(whole).max() <= 1


@pytest.mark.parametrize("size", [(20, 120), (97, 64)])
def test_a_predicted_residual_split_equals_whole(random_pipeline, size):
    pipeline, image = random_pipeline(sampler="euler", spacing="sigma"), image_of(*size)
    pipeline.engine.diffusion_model.prediction = "residual"
    whole = pipeline.restore_signal(image)
    assert np.abs(pipeline.restore_signal(image, patch_size=84) - whole).max() <= 1e-4
    assert np.abs(pipeline.restore_signal(image, seed=1) - whole).max() > 1e-2, "control"


def test_a_batch_is_its_images(pipeline):
    images = image_of(24, 20, batch=3)
    seeds = [0, 7, 0]
    together = pipeline.restore_signal(images, seed=seeds, scalars={"jpeg_quality": [10, 50, float("nan")]})
    for i, quality in enumerate((10, 50, None)):
        known = {} if quality is None else {"jpeg_quality": quality}
        alone = pipeline.restore_signal(images[i : i + 1], seed=seeds[i], scalars=known)
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)


def test_the_number_of_threads_changes_nothing(pipeline):
    image, before = image_of(40, 40), torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(pipeline.restore_signal(image))
    torch.set_num_threads(before)
    np.testing.assert_allclose(*results, atol=1e-5)


def test_no_other_randomness_is_touched(pipeline):
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    pipeline.restore_signal(image_of(16, 16), eta=1.0)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_ancestral_noise_is_by_place_too(pipeline):
    image = image_of(130, 60)
    whole = pipeline.restore_signal(image, eta=1.0)
    assert np.abs(pipeline.restore_signal(image, eta=1.0, patch_size=84) - whole).max() <= 1e-4
    assert np.abs(pipeline.restore_signal(image, eta=0.0) - whole).max() > 1e-2


def test_a_residual_beyond_all_bounds_cannot_leave_the_range(random_pipeline):
    pipeline = random_pipeline()
    with torch.no_grad():
        pipeline.engine.diffusion_model.unet.head.bias.fill_(1000.0)
    assert np.abs(pipeline.restore_signal(image_of(16, 16))).max() <= 1


@pytest.mark.parametrize("network", ["predictor", "diffusion_model"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_no_picture(random_pipeline, network, number):
    pipeline = random_pipeline()
    with torch.no_grad():
        getattr(pipeline.engine, network).unet.head.bias[0] = number
    with pytest.raises(ResultError, match="not finite.*precision fp32"):
        pipeline.restore_signal(image_of(16, 16))


def test_the_quality_guides_the_result(pipeline):
    image = image_of(16, 16)
    unknown = pipeline.restore_signal(image)
    assert not np.array_equal(pipeline.restore_signal(image, scalars={"jpeg_quality": 10}), unknown)
    given = pipeline.restore_signal(image, scalars={"jpeg_quality": float("nan")})
    assert np.array_equal(given, unknown)


def test_each_step_is_told(pipeline):
    steps = []
    pipeline.restore_signal(image_of(8, 8), on_step=lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]


# ---------------------------------------------------------------------------------------------------- kinds of images


def test_what_comes_out_is_of_the_kind_that_went_in(pipeline):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    restored = pipeline(pixels)
    assert (restored.shape, restored.dtype) == (pixels.shape, np.uint8)
    assert np.array_equal(np.asarray(pipeline(Image.fromarray(pixels))), restored)
    floating = pipeline((pixels / 255).astype(np.float32))
    assert floating.dtype == np.float32
    assert np.abs(floating * 255 - restored).max() <= 0.51
    tensor = torch.from_numpy((pixels / 255).astype(np.float32)).permute(2, 0, 1)
    np.testing.assert_allclose(pipeline(tensor).permute(1, 2, 0).numpy(), floating, atol=1e-5)
    assert pipeline(pixels[None]).shape == (1, 16, 20, 3)


def test_the_callers_image_is_left_alone(pipeline):
    for image in (image_of(16, 16), image_of(16, 16)[0].transpose(1, 2, 0) / 2 + 0.5):
        before = image.copy()
        for start in (0, 0.4):
            restore = pipeline.restore_signal if image.ndim == 4 else pipeline
            restore(image, start_fraction=start)[:] = 7
        assert np.array_equal(image, before)


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 2.5}, "steps 2.5"),
        ({"steps": "4"}, "steps '4'"),
        ({"steps": True}, "steps True"),
        ({"steps": 0}, "steps 0"),
        ({"steps": 2001}, "steps 2001"),
        (
            {"steps": 5, "start_fraction": 0.001},
            "5 sampling steps are more than the 2 below start_fraction 0.001",
        ),
        ({"start_fraction": float("nan")}, "start_fraction nan"),
        ({"start_fraction": 1.5}, "start_fraction 1.5"),
        ({"start_fraction": "x"}, "start_fraction 'x'"),
        ({"fidelity": 2}, "fidelity 2"),
        ({"fidelity": "a"}, "fidelity 'a'"),
        ({"eta": "all"}, "eta 'all'"),
        ({"eta": -1.0}, "eta -1.0"),
        ({"seed": -3}, "seed -3"),
        ({"seed": 1.5}, "seed 1.5"),
        ({"seed": "1"}, "seed '1'"),
        ({"seed": [1, 2]}, "2 seeds for 1 images"),
        ({"patch_size": 100.5}, "patch size of 100.5 pixels is not a whole number"),
        ({"patch_size": "100"}, "patch size of '100' pixels is not a whole number"),
        ({"patch_size": 0}, "patch size of 0"),
        ({"patch_size": -100}, "patch size of -100"),
        ({"patch_size": 16}, "patch size of 16 pixels is too small"),
        ({"scalars": {"jpeg_quality": "high"}}, "jpeg_quality 'high' is not a number"),
        ({"scalars": {"jpeg_quality": [1, 2, 3]}}, "3 values for 1 images"),
        ({"scalars": {"jpeg_quality": 101}}, "jpeg_quality 101 is out of range; it goes from 1 to 100"),
        ({"scalars": {"blur": 3}}, "knows nothing of blur; it takes jpeg_quality"),
    ],
)
def test_arguments_out_of_range(pipeline, options, words):
    with pytest.raises(ConfigError, match=words):
        pipeline.restore_signal(image_of(64, 64), **options)


def test_eta_of_a_sampler_that_adds_no_noise_is_refused(random_pipeline):
    pipeline = random_pipeline(sampler="euler", eta=1.0)
    pipeline.restore_signal(image_of(8, 8))
    with pytest.raises(ConfigError, match=r"eta 0\.5: the sampler 'euler' adds no noise"):
        pipeline.restore_signal(image_of(8, 8), eta=0.5)


@pytest.mark.parametrize("size", [(33, 1), (64, 7), (512, 8), (8, 512)])
def test_narrow_images_in_bf16(size):
    """One-pixel-wide maps at the coarsest level came out as NaN on processors with AMX."""
    reduced = load("jpeg_restoration_small", "cpu", "bf16").restore_signal(image_of(*size))
    exact = load("jpeg_restoration_small", "cpu", "fp32", engine="torch").restore_signal(image_of(*size))
    assert np.abs(reduced - exact).mean() < 0.02


# --------------------------------------------------------------------------------------------------- limits of memory


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_whole_images_are_as_many_as_are_counted_on(random_pipeline, monkeypatch, sampler, steps):
    eta = 0.5 if adds_noise(sampler) else 0.0
    pipeline = random_pipeline(sampler=sampler, steps=steps, eta=eta, start_fraction=1.0)
    monkeypatch.setattr(pipeline.engine, "_run", lambda _network, _forward, images, *_: images[0] * 0.5)
    image = image_of(768, 512)
    tracemalloc.start()
    pipeline.restore_signal(image, patch_size=96)
    peak = tracemalloc.get_traced_memory()[1] / image.nbytes
    tracemalloc.stop()
    assert peak <= whole_images(sampler, steps) <= 1.7 * peak


def test_little_memory_gives_the_same_images_one_by_one(random_pipeline, monkeypatch):
    pipeline, images = random_pipeline(), image_of(160, 150, batch=3)
    options = {"seed": [3, 4, 5], "scalars": {"jpeg_quality": [10, 50, 80]}}
    whole = pipeline.restore_signal(images, **options)
    sizes, fit, steps = [], TileRunner.fitted, []
    predict = pipeline.engine.predict
    monkeypatch.setattr(pipeline.engine, "predict", lambda image: sizes.append(image.shape) or predict(image))

    def with_room_for_one(tiles, shape, count, limit):
        assert limit == 2_000_000_000
        room = int(count * 3 * 4 * shape[2] * shape[3]) + tiles.needed(1, 100, 100)
        monkeypatch.setattr(tile_runner, "free_memory", lambda limit: room)
        return fit(tiles, shape, count, limit)

    monkeypatch.setattr(TileRunner, "fitted", with_room_for_one)
    found = pipeline.restore_signal(images, max_memory="2GB", on_step=lambda *at: steps.append(at), **options)
    assert np.abs(found - whole).max() <= 1e-4
    assert {size[0] for size in sizes} == {1}
    assert len(sizes) > 3, "in patches"
    assert max(size[2] * size[3] for size in sizes) <= 10_000
    assert steps == [(3, 9), (6, 9), (9, 9)]


def test_what_does_not_fit_is_refused_by_call_or_by_load(model_folder):
    image = np.zeros((600, 700, 3), np.uint8)
    for pipe, options in (
        (load(model_folder), {"max_memory": "1MB"}),
        (load(model_folder, max_memory=10**6), {}),
    ):
        with pytest.raises(
            DeviceError, match=r"^an image of 700x600 pixels: this needs about \d+ MB more memory, and"
        ):
            pipe(image, **options)
    with pytest.raises(ConfigError, match="'much' is not a size of memory"):
        load(model_folder, max_memory="much")


# ---------------------------------------------------------------------------------------------------------- amount


def test_amount_is_how_far_from_the_degraded_to_the_restored_image(pipeline):
    image = image_of(20, 28)
    whole = pipeline.restore_signal(image, amount=1)
    np.testing.assert_array_equal(whole, pipeline.restore_signal(image))
    np.testing.assert_array_equal(pipeline.restore_signal(image, amount=0), image)
    found = pipeline.restore_signal(image, amount=0.3)
    np.testing.assert_allclose(found, image + 0.3 * (whole - image), atol=1e-6)
    assert np.abs(whole - image).max() > 0.1, "control"


def test_less_is_applied_the_better_the_jpeg_is(pipeline):
    qualities, seeds = [10, 30, 60, 90, 100, float("nan")], [0] * 6
    images = image_of(12, 16, batch=6)

    def run(**options):
        return pipeline.restore_signal(images, seed=seeds, scalars={"jpeg_quality": qualities}, **options)

    whole, found = run(amount=1), run()
    for i, share in enumerate([1, 1, 0.65, 0.2, 0, 1]):
        np.testing.assert_allclose(found[i], images[i] + share * (whole[i] - images[i]), atol=1e-6)
    assert np.array_equal(found[:2], whole[:2]), "to the bit where all is applied"
    np.testing.assert_allclose(run(patch_size=84), found, atol=1e-4)


@pytest.mark.parametrize("amount", [-0.1, 1.5, float("nan"), "half"])
def test_an_amount_is_a_share(pipeline, amount):
    with pytest.raises(ConfigError, match=r"amount .* is not a number from 0 to 1"):
        pipeline(np.zeros((8, 8, 3), np.uint8), amount=amount)
