"""The adapter of diffusers: its conventions, its schedulers, its folders, and the picture of the core."""

import json
import subprocess
import sys

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image
from random_images import image_of

from ucdir.config.pipeline import PipelineConfig
from ucdir.diffusers import RestorationPipeline
from ucdir.diffusion.samplers import SAMPLERS
from ucdir.engines import denoiser
from ucdir.errors import ConfigError, OutputError, ResultError, WeightsError
from ucdir.model.folder import scheduler_settings
from ucdir.model.release import (
    ReleaseDiffusionModel,
    ReleaseDiffusionModelConfig,
    ReleasePredictor,
    ReleasePredictorConfig,
)
from ucdir.model.weights import load_model, save_model
from ucdir.pipeline import RestorationPipeline as Core
from ucdir.pipeline import load

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def adapter(random_pipeline):
    """A function that makes the adapter of a small pipeline of random weights.

    It starts at 0.3: diffusers' DDIM goes back by T/n rounded down, so its levels are the core's where n divides T.
    """

    def make(**settings):
        pipe = RestorationPipeline.from_core(random_pipeline(**{"start_fraction": 0.3, **settings}))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return make


@pytest.fixture(scope="module")
def pipe(adapter):
    return adapter()


def tensor_of(height, width, **options):
    """[B,3,H,W] in [0,1]."""
    return torch.from_numpy(image_of(height, width, **options) / 2 + 0.5)


def run(pipe, image, *arguments, **options):
    """What the pipeline makes of it: a tensor [B,3,H,W] in [0,1]."""
    return pipe(image, *arguments, output_type="pt", **options).images


def core_of(pipe, config):
    """The core around the networks of an adapter."""
    from ucdir.engines.torch_engine import TorchEngine

    return Core(TorchEngine(pipe.predictor, pipe.diffusion_model), config)


# ------------------------------------------------------------------------------------------ the core's picture


@pytest.mark.parametrize("sampler", [*SAMPLERS])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_picture_is_the_cores(adapter, random_pipeline, sampler, steps):
    settings = {"sampler": sampler, "eta": 1.0 if sampler == "ddpm" else 0.0, "start_fraction": 0.3}
    image, pipe = tensor_of(40, 28), adapter(**settings)
    expected = random_pipeline(**settings)(image, steps=steps, seed=3, scalars={"jpeg_quality": 30})
    restored = run(pipe, image, steps, seed=3, scalars={"jpeg_quality": 30})
    assert (restored - expected).abs().max() <= 1e-4
    for control in ({"seed": 4, "scalars": {"jpeg_quality": 30}}, {"seed": 3}):
        assert (run(pipe, image, steps, **control) - restored).abs().max() > 1e-5


def test_what_else_a_call_says_is_the_cores(random_pipeline, pipe):
    image, core = tensor_of(20, 24), random_pipeline(start_fraction=0.3)
    for ours, theirs in (
        ({"start_fraction": 0}, {"strength": 0}),
        ({"start_fraction": 1.0, "steps": 4}, {"strength": 1.0, "num_inference_steps": 4}),
        ({"start_fraction": 0.1, "steps": 2}, {"strength": 0.1, "num_inference_steps": 2}),
        ({"eta": 0.5}, {"eta": 0.5}),
        ({"fidelity": 0.3}, {"fidelity": 0.3}),
        ({"fidelity": 1}, {"fidelity": 1}),
        ({"seed": 5}, {"seed": [5]}),
    ):
        torch.testing.assert_close(run(pipe, image, **theirs), core(image, **ours), atol=1e-4, rtol=0)


def test_the_schedule_of_the_release_has_its_own_betas(adapter):
    betas = tuple(np.linspace(1e-4, 0.3, 20).tolist())
    settings = {"sampler": "ddpm", "eta": 1.0, "betas": betas, "steps": 20, "start_fraction": 1.0}
    config = PipelineConfig(**settings, noise_scale=1.02, residual_range="unit")
    pipe = adapter(**{**config.model_dump(), "residual_scale": 1.0})
    image = tensor_of(24, 20)
    for ours, theirs in (
        ({}, {}),
        ({"start_fraction": 0.5, "steps": 5}, {"strength": 0.5, "num_inference_steps": 5}),
    ):
        torch.testing.assert_close(
            run(pipe, image, **theirs), core_of(pipe, config)(image, **ours), atol=1e-4, rtol=0
        )
    other = core_of(pipe, config.model_copy(update={"noise_scale": 1.0}))(image)
    assert (run(pipe, image) - other).abs().max() > 1e-3, "control: the scale of the noise matters"


def test_a_batch_is_its_images(pipe):
    images = tensor_of(24, 20, batch=3)
    together = run(pipe, images, scalars={"jpeg_quality": [10, 50, float("nan")]})
    for i, quality in enumerate((10, 50, None)):
        alone = run(pipe, images[i], scalars={} if quality is None else {"jpeg_quality": quality})
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------------- conventions


def test_it_is_a_diffusion_pipeline(pipe):
    assert isinstance(pipe, diffusers.DiffusionPipeline)
    assert set(pipe.components) == {"predictor", "diffusion_model", "scheduler"}
    assert pipe.to("cpu") is pipe
    assert (pipe.device.type, pipe.dtype) == ("cpu", torch.float32)


def test_kinds_of_input_and_output_agree(pipe):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    first = pipe(Image.fromarray(pixels)).images
    assert isinstance(first, list)
    assert (first[0].size, first[0].mode) == ((20, 16), "RGB")
    array = pipe(pixels, output_type="np").images
    assert (array.shape, array.dtype) == ((1, 16, 20, 3), np.float32)
    tensor = torch.from_numpy(pixels / 255).permute(2, 0, 1)
    for same in (Image.fromarray(pixels), pixels / 255, pixels[None], [pixels], tensor, tensor.half()):
        assert np.allclose(
            pipe(same, output_type="np").images, array, atol=1e-2 if same is tensor.half() else 2e-3
        )
    assert np.array_equal(np.round(array[0] * 255).astype(np.uint8), np.asarray(first[0]))
    assert np.array_equal(run(pipe, pixels).permute(0, 2, 3, 1).numpy(), array)
    assert pipe(pixels, return_dict=False)[0][0] == first[0]
    assert len(pipe([pixels, pixels]).images) == 2


def test_a_grey_image_comes_back_as_rgb(pipe):
    assert pipe(Image.new("L", (8, 8), 128)).images[0].mode == "RGB"


def test_generators(pipe):
    image = tensor_of(16, 16)

    def generator(seed):
        return torch.Generator().manual_seed(seed)

    a = run(pipe, image, generator=generator(5))
    assert torch.equal(a, run(pipe, image, generator=generator(5)))
    assert not torch.equal(a, run(pipe, image, generator=generator(6)))
    used = generator(5)
    run(pipe, image, generator=used)
    assert not torch.equal(a, run(pipe, image, generator=used)), "a generator goes on"
    two = run(pipe, image.repeat(2, 1, 1, 1), generator=[generator(5), generator(6)])
    torch.testing.assert_close(two[:1], a, atol=1e-5, rtol=0)
    both = run(pipe, image.repeat(2, 1, 1, 1), generator=generator(5))
    assert (both[0] - both[1]).abs().max() > 1e-2, "one generator gives each image its own noise"


def test_callback_sees_and_changes_the_sample(pipe):
    seen = []

    def look(pipeline, step, timestep, tensors):
        seen.append((pipeline is pipe, step, timestep))
        return tensors

    image = tensor_of(16, 16)
    assert torch.equal(run(pipe, image, callback_on_step_end=look), run(pipe, image))
    assert seen == [(True, 0, 599), (True, 1, 399), (True, 2, 199)]
    none = run(pipe, image, callback_on_step_end=lambda p, i, t, tensors: {"sample": tensors["sample"] * 0})
    torch.testing.assert_close(none, run(pipe, image, strength=0), atol=1e-6, rtol=0)


def test_what_a_callback_was_shown_stays_as_it_was(pipe):
    kept, copies = [], []

    def keep(_, __, ___, tensors):
        kept.append(tensors["sample"])
        copies.append(tensors["sample"].clone())
        return tensors

    run(pipe, tensor_of(16, 16), eta=1.0, callback_on_step_end=keep)
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))
    assert not torch.equal(kept[0], kept[1])


def test_the_callers_tensor_is_left_alone(pipe):
    image = tensor_of(16, 16)
    before = image.clone()
    for strength in (0, 0.3):
        run(pipe, image, strength=strength).fill_(7)
    assert torch.equal(image, before)


def test_progress_bar(adapter, capfd):
    pipe = adapter()
    pipe.set_progress_bar_config(disable=False, desc="steps of it")
    run(pipe, tensor_of(8, 8))
    assert "steps of it" in capfd.readouterr().err
    pipe.set_progress_bar_config(disable=True)
    run(pipe, tensor_of(8, 8))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_of_16_bits(adapter, dtype):
    pipe, image = adapter(), tensor_of(20, 24)
    exact = run(pipe, image)
    assert pipe.to(dtype).dtype == dtype
    restored = run(pipe, image)
    assert restored.dtype == torch.float32
    assert 0 < (restored - exact).abs().mean() < 0.02
    assert pipe(image).images[0].size == (24, 20)
    torch.testing.assert_close(run(pipe.to(torch.float32), image), exact, atol=0.1, rtol=0)


def test_precision_is_an_attribute(adapter):
    pipe, image = adapter(), tensor_of(40, 24)
    exact = run(pipe, image)
    pipe.precision = torch.bfloat16
    assert 0 < (run(pipe, image) - exact).abs().mean() < 0.01
    assert pipe.dtype == torch.float32


def test_of_a_pipeline_of_the_core_it_takes_precision_and_networks(random_pipeline):
    core = random_pipeline()
    core.engine.precision, core.engine.cuda_graphs = torch.bfloat16, False
    pipe = RestorationPipeline.from_core(core)
    assert (pipe.precision, pipe.cuda_graphs) == (torch.bfloat16, False)
    assert pipe.diffusion_model is core.engine.diffusion_model
    with pytest.raises(ConfigError, match="SimpleNamespace has no networks of PyTorch"):
        RestorationPipeline.from_core(Core(type("SimpleNamespace", (), {})(), core.config))


# -------------------------------------------------------------------------------------------------- schedulers


@pytest.mark.parametrize(
    "kind",
    [DPMSolverMultistepScheduler, UniPCMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler],
)
def test_a_foreign_scheduler_finds_the_same_picture(adapter, kind):
    pipe, image = adapter(), tensor_of(16, 16)
    fine = run(pipe, image, 60)
    pipe.scheduler = kind.from_config(pipe.scheduler.config)
    assert (run(pipe, image, 60) - fine).abs().mean() < 0.01


@pytest.mark.parametrize("kind", [DDPMScheduler, EulerAncestralDiscreteScheduler])
def test_schedulers_that_sample_their_own_noise_are_reproducible_too(adapter, kind):
    pipe = adapter()
    pipe.scheduler = kind.from_config(pipe.scheduler.config)
    images = tensor_of(130, 20, batch=2)
    together = run(pipe, images, seed=3)
    assert torch.equal(together, run(pipe, images, seed=3))
    torch.testing.assert_close(run(pipe, images[1], seed=3), together[1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(run(pipe, images, seed=3, patch_size=84), together, atol=1e-4, rtol=0)
    assert (run(pipe, images, seed=4) - together).abs().max() > 1e-2
    before = torch.random.get_rng_state()
    run(pipe, images)
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator is left alone"


@pytest.mark.parametrize("sampler", [*SAMPLERS, "sde"])
def test_split_equals_whole(adapter, sampler):
    pipe, image = adapter(sampler="ddpm" if sampler == "sde" else sampler, eta=1.0), tensor_of(20, 120)
    if sampler == "sde":
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(
            pipe.scheduler.config, algorithm_type="sde-dpmsolver++"
        )
    whole = run(pipe, image)
    assert (run(pipe, image, patch_size=84) - whole).abs().max() <= 1e-4
    assert (run(pipe, image, seed=1) - whole).abs().max() > 1e-2, "control: another seed is another picture"


def test_a_late_start_is_on_the_levels_of_any_schedule_of_betas(adapter, monkeypatch):
    """What the networks are given is √γ of the whole schedule at that time."""
    pipe = adapter()
    config = {**pipe.scheduler.config, "beta_schedule": "scaled_linear"}
    pipe.scheduler = type(pipe.scheduler).from_config(config)
    told = []
    real = denoiser.Denoiser.__call__

    def watch(self, noisy, level):
        told.append(level)
        return real(self, noisy, level)

    monkeypatch.setattr(denoiser.Denoiser, "__call__", watch)
    run(pipe, tensor_of(8, 8), 4, strength=0.2)
    whole = pipe.scheduler.alphas_cumprod[[399, 299, 199, 99]] ** 0.5
    np.testing.assert_allclose(told, whole, atol=1e-6)


@pytest.mark.parametrize(
    "scheduler",
    [
        FlowMatchEulerDiscreteScheduler(),
        EDMEulerScheduler(),
        EulerDiscreteScheduler(prediction_type="v_prediction"),
    ],
)
def test_schedulers_of_another_kind_are_refused(adapter, scheduler):
    pipe = adapter()
    pipe.scheduler = scheduler
    with pytest.raises(ConfigError, match=f"scheduler: {type(scheduler).__name__} is not one of"):
        pipe(tensor_of(8, 8))


# ----------------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize("sampler", [*SAMPLERS])
def test_a_folder_with_one_of_our_samplers_is_the_cores_too(adapter, sampler, tmp_path):
    pipe, image = adapter(sampler=sampler, eta=1.0, task="deblurring"), tensor_of(50, 46)
    pipe.save_pretrained(tmp_path / "model")
    assert {p.suffix for p in (tmp_path / "model").rglob("*") if p.is_file()} == {".json", ".safetensors"}
    loaded = RestorationPipeline.from_pretrained(tmp_path / "model")
    loaded.set_progress_bar_config(disable=True)
    assert dict(loaded.config) == dict(pipe.config)
    assert torch.equal(run(loaded, image), run(pipe, image))
    core = load(tmp_path / "model", "cpu", "fp32", engine="torch")
    assert core.config.task == "deblurring"
    torch.testing.assert_close(core(image), run(pipe, image), atol=1e-3, rtol=0)


def test_a_folder_with_a_foreign_scheduler_is_the_adapters_alone(adapter, tmp_path):
    pipe, image = adapter(), tensor_of(20, 24)
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, solver_order=3)
    pipe.save_pretrained(tmp_path / "model")
    loaded = RestorationPipeline.from_pretrained(tmp_path / "model")
    loaded.set_progress_bar_config(disable=True)
    assert loaded.scheduler.config.solver_order == 3
    assert torch.equal(run(loaded, image), run(pipe, image))
    with pytest.raises(
        WeightsError, match="'UniPCMultistepScheduler' .* none of our samplers; .*ucdir.diffusers"
    ):
        load_model(tmp_path / "model")


def test_one_of_our_schedulers_with_foreign_settings_is_the_adapters_alone(adapter, tmp_path):
    pipe = adapter()
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, timestep_spacing="leading")
    pipe.save_pretrained(tmp_path / "model")
    assert (
        RestorationPipeline.from_pretrained(tmp_path / "model").scheduler.config.timestep_spacing == "leading"
    )
    with pytest.raises(WeightsError, match="timestep_spacing is 'leading'"):
        load_model(tmp_path / "model")


def test_a_folder_of_an_earlier_version_loads(random_pipeline, tmp_path):
    """As version 0.1 wrote it: other keys, other names, and everything that diffusers has on its scheduler."""
    core, image = random_pipeline(start_fraction=0.3), tensor_of(20, 24)
    networks = core.engine.predictor, core.engine.diffusion_model
    save_model(tmp_path / "model", *networks, core.config)
    index, scheduler = (
        tmp_path / "model" / "model_index.json",
        tmp_path / "model" / "scheduler" / "scheduler_config.json",
    )
    values = json.loads(index.read_text())
    del values["sampler"]
    old = {"steps": "default_steps", "start_fraction": "start", "noise_scale": "noise"}
    values = {old.get(k, k): v for k, v in values.items()}
    index.write_text(json.dumps({**values, "_class_name": "Pipeline", "_diffusers_version": "0.42.1"}))
    kind, settings = scheduler_settings(core.config)
    whole = getattr(diffusers, kind)(**settings).config
    scheduler.write_text(json.dumps({**whole, "_class_name": kind, "_diffusers_version": "0.42.1"}))
    pipe = RestorationPipeline.from_pretrained(tmp_path / "model")
    pipe.set_progress_bar_config(disable=True)
    torch.testing.assert_close(run(pipe, image), core(image), atol=1e-4, rtol=0)


def test_a_model_of_the_package_by_its_name():
    pipe = RestorationPipeline.from_pretrained("jpeg_restoration_small", torch.bfloat16)
    assert (pipe.dtype, pipe.config.task, pipe.config.residual_scale) == (
        torch.bfloat16,
        "jpeg_restoration",
        5.0,
    )


def test_the_authors_networks_come_back(tmp_path):
    networks = (
        ReleasePredictor(ReleasePredictorConfig(channels=8)),
        ReleaseDiffusionModel(ReleaseDiffusionModelConfig(channels=8)),
    )
    betas = tuple(np.linspace(1e-4, 0.3, 20).tolist())
    config = PipelineConfig(sampler="ddpm", betas=betas, steps=20, noise_scale=1.02, residual_range="unit")
    save_model(tmp_path / "release", *networks, config)
    pipe = RestorationPipeline.from_pretrained(tmp_path / "release")
    pipe.save_pretrained(tmp_path / "again")
    assert load_model(tmp_path / "again")[2] == config.model_copy(update={"sampler": "ddim", "timesteps": 20})
    pipe.set_progress_bar_config(disable=True)
    restored = run(pipe, image := tensor_of(32, 32), 2)
    torch.testing.assert_close(restored, core_of(pipe, config)(image, steps=2), atol=1e-4, rtol=0)


def test_what_is_no_model_is_refused(adapter, tmp_path):
    with pytest.raises(WeightsError, match="no such folder"):
        RestorationPipeline.from_pretrained(tmp_path / "nothing")
    with pytest.raises(WeightsError, match=r"model_index\.json: is missing"):
        RestorationPipeline.from_pretrained(tmp_path)
    adapter().save_pretrained(tmp_path / "model")
    with pytest.raises(OutputError, match="exists already; name a new folder"):
        adapter().save_pretrained(tmp_path / "model")
    index, scheduler = (
        tmp_path / "model" / name for name in ("model_index.json", "scheduler/scheduler_config.json")
    )
    good = scheduler.read_text()
    scheduler.write_text(good.replace('"linear"', '"none such"'))
    with pytest.raises(WeightsError, match=r"scheduler_config\.json: DDIMScheduler cannot be made of it"):
        RestorationPipeline.from_pretrained(tmp_path / "model")
    for changed, message in (
        ('"timestep_spacing": [1]', r"DDIMScheduler cannot be made of it \(\[1\] is not supported"),
        ('"timestep_spacing": 7', r"DDIMScheduler cannot be made of it \(7 is not supported"),
        ('"timestep_spacing": "trailing", "num_train_timesteps": 1000000000000', "'num_train_timesteps'"),
        ('"timestep_spacing": "trailing", "beta_start": NaN', "'beta_start'"),
        (
            '"timestep_spacing": "trailing", "thresholding": true, "sample_max_value": "x"',
            "cannot be made of it",
        ),
    ):
        scheduler.write_text(good.replace('"timestep_spacing": "trailing"', changed))
        assert changed in scheduler.read_text()
        with pytest.raises(WeightsError, match=rf"scheduler_config\.json: .*{message}"):
            RestorationPipeline.from_pretrained(tmp_path / "model")
    scheduler.write_text(good)
    RestorationPipeline.from_pretrained(tmp_path / "model")
    for name in ("NoSuchScheduler", "UNet2DModel", "__name__"):
        index.write_text(index.read_text().replace("DDIMScheduler", name))
        with pytest.raises(WeightsError, match=f"'{name}' is not a scheduler of the installed diffusers"):
            RestorationPipeline.from_pretrained(tmp_path / "model")
        index.write_text(index.read_text().replace(name, "DDIMScheduler"))


# ---------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "'steps'"),
        ({"steps": 2.5}, "'steps'"),
        ({"start_fraction": 2.0}, "'start_fraction'"),
        ({"eta": -0.5}, "'eta'"),
        ({"residual_scale": 0.0}, "'residual_scale'"),
        ({"residual_scale": float("nan")}, "'residual_scale'"),
        ({"residual_range": "none"}, "'residual_range'"),
    ],
)
def test_a_pipeline_is_not_made_of_what_cannot_run(pipe, options, words):
    with pytest.raises(ConfigError, match=words):
        RestorationPipeline(**pipe.components, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_inference_steps": 2.5}, "num_inference_steps 2.5"),
        ({"num_inference_steps": "4"}, "num_inference_steps '4'"),
        ({"num_inference_steps": True}, "num_inference_steps True"),
        ({"num_inference_steps": 0}, "num_inference_steps 0"),
        ({"num_inference_steps": 2001}, "num_inference_steps 2001"),
        (
            {"num_inference_steps": 5, "strength": 0.001},
            "num_inference_steps 5 is more than the 2 below strength 0.001",
        ),
        ({"strength": float("nan")}, "strength nan"),
        ({"strength": 1.5}, "strength 1.5"),
        ({"eta": -1.0}, "eta -1.0"),
        ({"fidelity": "a"}, "fidelity 'a'"),
        ({"fidelity": 2}, "fidelity 2"),
        ({"seed": -3}, "seed -3"),
        ({"seed": [1, 2]}, "2 seeds for 1 images"),
        ({"generator": [torch.Generator(), torch.Generator()]}, "2 generators for 1 images"),
        ({"patch_size": 16}, "patch size of 16 pixels is too small"),
        ({"scalars": {"jpeg_quality": "high"}}, "jpeg_quality 'high' is not a number"),
        ({"scalars": {"blur": 3}}, "knows nothing of blur; it takes jpeg_quality"),
        ({"output_type": "latent"}, "'latent' is unknown"),
    ],
)
def test_arguments_out_of_range_are_refused_before_the_work(adapter, monkeypatch, options, words):
    pipe = adapter()
    monkeypatch.setattr(pipe.predictor, "forward", lambda *_: pytest.fail("the work was begun"))
    with pytest.raises(ConfigError, match=words):
        pipe(tensor_of(64, 64), **options)


def test_a_tensor_beyond_its_range_is_refused(pipe):
    with pytest.raises(ConfigError, match=r"where \[0,1\] is expected; convert \[-1,1\]"):
        pipe(tensor_of(8, 8) * 2 - 1)


def test_what_is_not_finite_is_refused(adapter):
    pipe = adapter()
    with torch.no_grad():
        pipe.predictor.unet.stem.weight.fill_(float("nan"))
    with pytest.raises(ResultError, match="not finite"):
        pipe(tensor_of(8, 8))


def test_a_residual_beyond_all_bounds_cannot_leave_the_range(adapter):
    pipe, residuals = adapter(), []
    with torch.no_grad():
        pipe.diffusion_model.unet.head.bias.fill_(1000.0)

    def look(_, __, ___, tensors):
        residuals.append(tensors["sample"].abs().max())
        return tensors

    assert run(pipe, tensor_of(16, 16), callback_on_step_end=look).max() <= 1
    assert max(residuals) < 100, "5 is the residual's scale; control: 1000 would have shown"


# ------------------------------------------------------------------------------------------------------ import


def outcome(root, program):
    command = sys.executable, "-c", program
    return subprocess.run(command, cwd=root / "src", capture_output=True, text=True, timeout=120, check=False)


def test_nothing_else_imports_diffusers(root):
    modules = "ucdir, ucdir.pipeline, ucdir.engines.torch_engine, ucdir.model.weights"
    result = outcome(
        root, f"import sys, {modules}; print('diffusers' in sys.modules, 'torch' in sys.modules)"
    )
    assert result.stdout.split() == ["False", "True"], result.stderr


def test_without_diffusers_one_sentence_tells_what_to_install(root):
    missing = "import sys; sys.modules['diffusers'] = None\n"
    result = outcome(
        root, missing + "try:\n    import ucdir.diffusers\nexcept ImportError: print('an ImportError')"
    )
    assert result.stdout == "an ImportError\n"
    result = outcome(root, missing + "import ucdir.diffusers")
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ucdir.errors.ExtraError: ")
    assert last.endswith(
        "ucdir.diffusers needs the package diffusers, which is not installed; run: pip install 'ucdir[diffusers]'"
    )
