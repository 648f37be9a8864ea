"""A model folder comes back as it was written, older folders load, and each fault is named with its file."""

import json
import os
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ucdir.config.pipeline import PipelineConfig
from ucdir.diffusion.samplers import SAMPLERS
from ucdir.errors import ConfigError, OutputError, WeightsError
from ucdir.model.folder import NETWORKS, SCHEDULERS, WEIGHTS_FILE, read_header, write_index
from ucdir.model.framework import build
from ucdir.model.pretrained import list_models, model_folder
from ucdir.model.release import (
    ReleaseDiffusionModel,
    ReleaseDiffusionModelConfig,
    ReleasePredictor,
    ReleasePredictorConfig,
)
from ucdir.model.weights import load_model, save_model

WEIGHTS = Path("predictor", WEIGHTS_FILE)
SCHEDULER = Path("scheduler", "scheduler_config.json")
SETTINGS = PipelineConfig(steps=3, start_fraction=0.4, eta=0.0, residual_scale=5.0, timesteps=100)


@pytest.fixture(scope="module")
def networks(tiny, filled):
    return [filled(network) for network in build(tiny(sigma_data=0.3))]


@pytest.fixture
def folder(networks, tmp_path):
    save_model(tmp_path / "model", *networks, SETTINGS)
    return tmp_path / "model"


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refused(folder, message):
    with pytest.raises(WeightsError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 4000


def same_weights(networks, others):
    for network, other in zip(networks, others, strict=True):
        ours, theirs = network.state_dict(), other.state_dict()
        assert list(ours) == list(theirs)
        assert all(torch.equal(a, theirs[name]) for name, a in ours.items())


# --------------------------------------------------------------------------------------------- there and back


def test_it_comes_back_as_it_was(folder, networks):
    *loaded, config = load_model(folder)
    assert config == SETTINGS
    assert [n.config for n in loaded] == [n.config for n in networks]
    same_weights(networks, loaded)
    for network in loaded:
        assert not network.training
        assert (network.dtype, network.device.type) == (torch.float32, "cpu")
        # at an address that is not a multiple of 64 matrix products may round differently
        assert all(p.data_ptr() % 64 == 0 for p in network.parameters())
        assert all(
            p.is_contiguous(memory_format=torch.channels_last) for p in network.parameters() if p.ndim == 4
        )
    assert {p.suffix for p in folder.rglob("*") if p.is_file()} == {".json", ".safetensors"}


def test_a_model_of_the_straight_path_comes_back(tiny, filled, tmp_path):
    networks = [filled(network) for network in build(tiny(prediction="residual"))]
    config = PipelineConfig(sampler="euler", steps=8, start_fraction=0.3, spacing="sigma")
    save_model(tmp_path / "model", *networks, config)
    _, diffusion_model, loaded = load_model(tmp_path / "model")
    assert (diffusion_model.prediction, loaded) == ("residual", config)
    edit(tmp_path / "model" / "diffusion_model" / "config.json", prediction="velocity")
    refused(tmp_path / "model", "prediction 'velocity' is unknown; choose one of noise, residual")


def test_a_folder_from_before_there_was_a_choice_predicts_noise_in_even_time(folder):
    for file, key in (
        (folder / "diffusion_model" / "config.json", "prediction"),
        (folder / "model_index.json", "spacing"),
    ):
        settings = json.loads(file.read_text())
        assert settings.pop(key)
        file.write_text(json.dumps(settings))
    _, diffusion_model, config = load_model(folder)
    assert (diffusion_model.prediction, config.spacing) == ("noise", "time")


def test_weights_keep_their_type_in_the_folder_and_are_loaded_in_any(networks, tmp_path):
    half = [network.to(torch.float16) for network in (build_copy(n) for n in networks)]
    save_model(tmp_path / "half", *half, SETTINGS)
    assert {t.dtype for t in load_file(tmp_path / "half" / WEIGHTS).values()} == {torch.float16}
    assert load_model(tmp_path / "half")[0].dtype == torch.float32
    assert load_model(tmp_path / "half", torch.bfloat16)[1].dtype == torch.bfloat16


def build_copy(network):
    copy = type(network)(network.config)
    copy.load_state_dict(network.state_dict())
    return copy


def test_channels_last_weights_are_written_too(networks, tmp_path):
    last = [build_copy(network).to(memory_format=torch.channels_last) for network in networks]
    save_model(tmp_path / "last", *last, SETTINGS)
    same_weights(networks, load_model(tmp_path / "last")[:2])


def test_every_sampler_has_a_scheduler():
    assert SCHEDULERS.keys() == SAMPLERS.keys()


@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize("betas", [None, (0.1, 0.2, 0.4)])
def test_every_sampler_and_schedule_comes_back(folder, sampler, betas):
    config = PipelineConfig(
        sampler=sampler, timesteps=3, noise_scale=1.02, residual_range="unit", betas=betas
    )
    write_index(folder, NETWORKS, config)
    assert load_model(folder)[2] == config


def test_the_released_networks_come_back(filled, tmp_path):
    with torch.device("meta"):
        predictor = ReleasePredictor(ReleasePredictorConfig(channels=8))
        diffusion_model = ReleaseDiffusionModel(ReleaseDiffusionModelConfig(channels=8))
    networks = [filled(n.to_empty(device="cpu")) for n in (predictor, diffusion_model)]
    save_model(tmp_path / "released", *networks, SETTINGS)
    same_weights(networks, load_model(tmp_path / "released")[:2])


def test_a_full_disk_leaves_nothing(networks, tmp_path, monkeypatch):
    def full(state, file, metadata):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ucdir.model.weights.save_file", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_model(tmp_path / "model", *networks, SETTINGS)
    assert not any(tmp_path.iterdir())


def test_a_kernel_that_is_none_is_no_fault_of_the_folder(folder, monkeypatch):
    monkeypatch.setenv("UCDIR_KERNEL", "magic")
    with pytest.raises(ConfigError, match=r"^UCDIR_KERNEL 'magic' is unknown; choose one of [a-z, ]+\.$"):
        load_model(folder)


def test_a_folder_with_files_is_not_overwritten(folder, networks):
    before = (folder / WEIGHTS).read_bytes()
    with pytest.raises(OutputError, match="exists already; name a new folder"):
        save_model(folder, *networks, SETTINGS)
    assert (folder / WEIGHTS).read_bytes() == before
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", list_models())
def test_pretrained_models_load_without_drawing_random_numbers(name):
    before = torch.get_rng_state()
    *_, config = load_model(model_folder(name))
    assert name.startswith(config.task)
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------------------ folders of earlier versions

OLD = Path(__file__).parent / "data" / "folder_of_version_0_1"


@pytest.fixture
def old_folder(tmp_path):
    """The JSON files of the first JPEG model as they were written then, with weights that are only zeros."""
    shutil.copytree(OLD, tmp_path / "old")
    weights = model_folder("jpeg_restoration_small")
    for name in NETWORKS:
        tensors = load_file(weights / name / WEIGHTS_FILE)
        save_file(
            {k: torch.zeros_like(t) for k, t in tensors.items()}, tmp_path / "old" / name / WEIGHTS_FILE
        )
    return tmp_path / "old"


def test_an_old_folder_loads(old_folder):
    predictor, diffusion_model, config = load_model(old_folder)
    assert config == PipelineConfig(steps=1, start_fraction=0.3, eta=0.0, residual_scale=5.0)
    assert diffusion_model.config.sigma_data == 0.3
    assert (predictor.config, diffusion_model.config) == tuple(
        network.config for network in load_model(model_folder("jpeg_restoration_small"))[:2]
    )


def test_an_old_folder_samples_as_it_did(old_folder):
    index, scheduler = old_folder / "model_index.json", old_folder / SCHEDULER
    edit(index, eta=1.0, noise=1.02, residual_range="unit")
    edit(scheduler, trained_betas=[0.1, 0.2], num_train_timesteps=2)
    config = load_model(old_folder)[2]
    assert (config.sampler, config.noise_scale, config.betas) == ("ddim", 1.02, (0.1, 0.2))
    edit(index, scheduler=["diffusers", "DPMSolverMultistepScheduler"])
    assert load_model(old_folder)[2].sampler == "dpm_solver++"
    edit(scheduler, algorithm_type="sde-dpmsolver++")
    refused(old_folder, r"algorithm_type is 'sde-dpmsolver\+\+'.*ucdir\.diffusers\.RestorationPipeline")


@pytest.mark.parametrize("kind", ["DDPMScheduler", "PNDMScheduler", "UniPCMultistepScheduler"])
def test_other_schedulers_are_for_the_adapter(old_folder, kind):
    edit(old_folder / "model_index.json", scheduler=["diffusers", kind])
    refused(old_folder, rf"'{kind}'.* as scheduler.*`ucdir\.diffusers\.RestorationPipeline\.from_pretrained`")


# ------------------------------------------------------------------------------------------------------ faults


def test_no_folder(folder):
    refused(folder / "absent", "there is no such folder")
    refused(folder / "model_index.json", "there is no such folder")


@pytest.mark.parametrize(
    "missing",
    [
        "model_index.json",
        "predictor/config.json",
        "diffusion_model/config.json",
        SCHEDULER,
        WEIGHTS,
        Path("diffusion_model", WEIGHTS_FILE),
    ],
)
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    refused(folder, f"{Path(missing).name}: is missing; the model's folder is incomplete")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("_class_name", "StableDiffusionPipeline", "is not a model of ucdir .*'StableDiffusionPipeline'"),
        ("_class_name", None, "is not a model of ucdir"),
        ("predictor", ["os", "system"], r"names \['os', 'system'\] as predictor, expected InitialPredictor"),
        ("predictor", {}, "as predictor, expected InitialPredictor"),
        ("diffusion_model", ["diffusers", "UNet2DModel"], "expected DiffusionModel"),
        ("diffusion_model", None, "expected DiffusionModel"),
        ("scheduler", ["os", "system"], r"\['os', 'system'\] as scheduler"),
        ("scheduler", ["diffusers", "EulerDiscreteScheduler"], "as scheduler"),
        ("scheduler", None, "as scheduler"),
        ("sampler", "unipc", "sampler 'unipc' is unknown; choose one of ddpm"),
        ("sampler", ["ddim"], "is unknown"),
        ("steps", 0, "'steps'"),
        ("steps", "3", "'steps'.*integer"),
        ("noise_scale", float("nan"), "'noise_scale'.*finite"),
        ("noise_scale", "1", "'noise_scale'.*number"),
        ("noise_scale", 10**400, "'noise_scale'"),
        ("noise", [1.0], "'noise_scale'.*number"),
        ("residual_scale", 0, "'residual_scale'"),
        ("residual_scale", True, "'residual_scale'"),
        ("residual_scale", 1e-30, "'residual_scale'"),  # would be a picture of black and white noise
        ("noise_scale", 1e30, "'noise_scale'"),
        ("residual_range", "none", "'residual_range'"),
        ("task", 3, "'task'"),
        ("guess", 3, "unknown key 'guess'"),
    ],
)
def test_an_index_that_is_none(folder, key, value, message):
    edit(folder / "model_index.json", **{key: value})
    refused(folder, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is True"),
        ({"prediction_type": "v_prediction"}, "prediction_type is 'v_prediction'.*only 'epsilon'"),
        ({"prediction_type": ["epsilon"]}, "prediction_type is"),
        ({"timestep_spacing": "leading"}, "timestep_spacing is 'leading'"),
        ({"beta_schedule": "scaled_linear"}, "beta_schedule is 'scaled_linear'"),
        ({"clip_sample": True}, "clip_sample is True"),
        ({"rescale_betas_zero_snr": "no"}, "rescale_betas_zero_snr is 'no'"),
        ({"sigma_max": float("nan")}, "sigma_max is nan"),
        ({"final_sigmas_type": "sigma_min"}, "final_sigmas_type is 'sigma_min'"),
        ({"num_train_timesteps": None}, "'num_train_timesteps'"),
        ({"beta_start": "0.1"}, "'beta_start'.*number"),
        ({"beta_start": float("nan")}, "'beta_start'"),
        ({"num_train_timesteps": 10**9}, "'num_train_timesteps'"),
        ({"num_train_timesteps": 100.5}, "'num_train_timesteps'"),
        ({"beta_start": 0.5}, "beta_start 0.5 is above beta_end"),
        ({"beta_end": float("inf")}, "'beta_end'"),
        ({"trained_betas": [0.1, 1.0], "num_train_timesteps": 2}, r"'trained_betas\.1'"),
        ({"trained_betas": [2.0] * 20_000, "num_train_timesteps": 20_000}, r"'trained_betas\.0'"),
        ({"trained_betas": [0.1, "0.2"], "num_train_timesteps": 2}, r"'trained_betas\.1'"),
        ({"trained_betas": [], "num_train_timesteps": 0}, "'trained_betas'"),
        ({"trained_betas": 0.1}, "'trained_betas'"),
        ({"trained_betas": [0.1]}, "1 trained_betas for 100 num_train_timesteps"),
        ({"trained_betas": [0.1] * 30_000, "num_train_timesteps": 30_000}, "'trained_betas'.*at most 20000"),
        ({"trained_betas": [0.1] * 1_000_001, "num_train_timesteps": 1_000_001}, "larger than 1048576 bytes"),
    ],
)
def test_a_noise_schedule_that_is_none(folder, changes, message):
    edit(folder / SCHEDULER, **changes)
    refused(folder, rf"scheduler_config\.json: .*{message}")


def test_a_noise_schedule_that_is_not_said(folder):
    (folder / SCHEDULER).write_text("{}")
    refused(folder, r"scheduler_config\.json: 'num_train_timesteps' is missing; 'beta_start' is missing")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[]", "contains no keys and values"),
        (b"[" * 100_000, "cannot be read"),
        (b" " * (1 << 20) + b"{}", "larger than 1048576 bytes"),
    ],
)
@pytest.mark.parametrize("file", ["model_index.json", "predictor/config.json", SCHEDULER])
def test_json_that_is_none(folder, content, message, file):
    (folder / file).write_bytes(content)
    refused(folder, f"{Path(file).name}: .*{message}")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("channels", 6, "weights and config.json do not fit"),
        ("channels", 10**6, "'channels'.*less than or equal to 4096"),
        ("channels", 4096, "weights and config.json do not fit"),
        ("multipliers", [1, 2, 4], "multipliers has 3 levels and blocks 2"),
        ("activation", "swosh", "activation 'swosh' is unknown"),
        ("channels", "4", "'channels'"),
        ("chanels", 4, "unknown key 'chanels'"),
        ("activation", "x" * 5000, "activation 'xx"),
        ("x" * 5000, 4, "unknown key 'xx"),
    ],
)
def test_settings_that_are_none_of_the_network(folder, key, value, message):
    edit(folder / "predictor" / "config.json", **{key: value})
    refused(folder, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unshuffle": 512}, "a stride of 1024 pixels, more than 512"),
        ({"multipliers": [1] * 12, "blocks": [1] * 12}, "a stride of 4096 pixels"),
        ({"blocks": [64, 64, 64], "multipliers": [1, 1, 1]}, "blocks are 192 in all, more than 128"),
    ],
)
def test_networks_of_absurd_depth_are_not_built(folder, changes, message):
    edit(folder / "predictor" / "config.json", **changes)
    refused(folder, message)


def test_pipes_are_not_waited_for(folder):
    for file, message in ((WEIGHTS, "is not a file"), (SCHEDULER, "is not a file")):
        (folder / file).unlink()
        os.mkfifo(folder / file)
        refused(folder, message)


def test_absurd_sizes_take_no_memory(folder):
    """A network of these settings would have 10^13 weights."""
    edit(folder / "diffusion_model" / "config.json", channels=4096, multipliers=[64, 64])
    refused(folder, "do not fit")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("unet.stem.bias"), r"1 differ, the first is 'unet\.stem\.bias'"),
        (lambda t: t.update(extra=torch.zeros(1)), "1 differ, the first is 'extra'"),
        (lambda t: t.update({"unet.stem.bias": torch.zeros(5)}), r"found \[5\], expected \[4\]"),
        (lambda t: t.update({"unet.stem.bias": torch.zeros(4, dtype=torch.int32)}), "bytes of type I32"),
        (
            lambda t: t["unet.stem.bias"].fill_(float("nan")),
            r"unet\.stem\.bias holds values that are not finite",
        ),
    ],
)
def test_weights_of_another_network(folder, change, message):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    refused(folder, f"{WEIGHTS_FILE}: .*{message}")


def test_weights_too_large_for_a_type(networks, tmp_path):
    large = [build_copy(network) for network in networks]
    large[0].unet.stem.bias.data.fill_(1e30)
    save_model(tmp_path / "large", *large, SETTINGS)
    load_model(tmp_path / "large", torch.bfloat16)
    with pytest.raises(WeightsError, match="not finite"):
        load_model(tmp_path / "large", torch.float16)


def test_weights_whose_header_overlaps_itself(folder):
    """Of the right names, shapes and total length, so that only safetensors itself refuses it."""
    content = (folder / WEIGHTS).read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    same = [n for n, e in header.items() if n != "__metadata__" and e["shape"] == [4]]
    header[same[0]]["data_offsets"] = header[same[1]]["data_offsets"]
    (folder / WEIGHTS).write_bytes(frame(json.dumps(header).encode(), content[8 + length :]))
    refused(folder, "copy it again")


def frame(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


ENTRY = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        b"\x80\x04pickle of something",
        struct.pack("<Q", 2**63) + ENTRY,
        struct.pack("<Q", len(ENTRY) + 1) + ENTRY,
        frame(b""),
        frame(b"{}"),
        frame(b"[]"),
        frame(b"not json"),
        frame(b"\xff\xfe{}"),
        frame(b"[" * 100_000),
        frame(b'{"a":1}'),
        frame(b'{"a":{"dtype":"F32","shape":[1]}}', bytes(4)),
        frame(b'{"a":{"data_offsets":"0"}}', bytes(4)),
        frame(b'{"a":{"data_offsets":[0,null]}}', bytes(4)),
        frame(b'{"a":{"data_offsets":[0,4,4]}}', bytes(4)),
        frame(b'{"a":{"data_offsets":["0",4]}}', bytes(4)),
        frame(b'{"__metadata__":{}}'),
        frame(ENTRY),
        frame(ENTRY, bytes(3)),
        frame(ENTRY, bytes(5)),
    ],
)
def test_weights_that_are_no_safetensors(folder, content):
    (folder / WEIGHTS).write_bytes(content)
    refused(folder, f"{WEIGHTS_FILE}: .*copy it again")


def test_control_the_smallest_frame_is_read(tmp_path):
    (tmp_path / "one").write_bytes(frame(ENTRY, bytes(4)))
    assert list(read_header(tmp_path / "one")) == ["a"]


def test_weights_of_another_length_say_how_long_they_should_be(folder):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-5])
    refused(folder, f"{len(whole) - 5} bytes, expected {len(whole)}; it is cut short")
    (folder / WEIGHTS).write_bytes(whole + b"tail")
    refused(folder, f"{len(whole) + 4} bytes, expected {len(whole)}; it has bytes left over")


FRAME_FAULTS = [
    "html.pt",
    "empty.pt",
    "pickle_plain.pth",
    "pickle_named.safetensors",
    "object_array.npz",
    "st_hdr_len_2e63.safetensors",
    "st_hdr_len_past_eof.safetensors",
    "st_hdr_101MB_claim.safetensors",
    "st_hdr_zero.safetensors",
    "st_json_array.safetensors",
    "st_not_json.safetensors",
    "st_not_utf8.safetensors",
    "st_offset_past_end.safetensors",
    "st_seven_bytes.safetensors",
]


@pytest.mark.parametrize("name", FRAME_FAULTS)
def test_hostile_files_in_place_of_weights(folder, test_data, name):
    shutil.copyfile(test_data / "hostile" / "checkpoints" / name, folder / WEIGHTS)
    refused(folder, WEIGHTS_FILE)
