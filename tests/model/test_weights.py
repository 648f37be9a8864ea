"""A folder of weights is checked before anything of it is loaded; each fault is named with its file."""

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ucdir.errors import WeightsError
from ucdir.model.weights import NETWORKS, WEIGHTS_FILE, check_folder

WEIGHTS = Path("predictor", WEIGHTS_FILE)


@pytest.fixture
def folder(tmp_path):
    """As `Pipeline.save_pretrained` lays it out, with a weight or two."""
    index = {"_class_name": "Pipeline", "scheduler": ["diffusers", "DDIMScheduler"], **NETWORKS}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for name in NETWORKS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        tensors = {"a": torch.zeros(3, 2), "b": torch.zeros(1, dtype=torch.float16)}
        save_file(tensors, tmp_path / name / WEIGHTS_FILE, metadata={"format": "pt"})
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text("{}")
    return tmp_path


def refused(folder, message):
    with pytest.raises(WeightsError, match=message):
        check_folder(folder)


def test_a_sound_folder_passes(folder):
    check_folder(folder)


def test_no_folder(folder):
    refused(folder / "absent", "there is no such folder")
    refused(folder / "model_index.json", "there is no such folder")


@pytest.mark.parametrize(
    "missing",
    [
        "model_index.json",
        "predictor/config.json",
        "diffusion_model/config.json",
        "scheduler/scheduler_config.json",
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
        ("diffusion_model", ["diffusers", "UNet2DModel"], "expected DiffusionModel"),
        ("diffusion_model", None, "expected DiffusionModel"),
        ("scheduler", ["os", "system"], r"\['os', 'system'\] as scheduler, expected one of diffusers"),
        ("scheduler", "diffusers", "as scheduler"),
        ("scheduler", None, "as scheduler"),
    ],
)
def test_only_our_classes_are_named(folder, key, value, message):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, key: value}))
    refused(folder, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[]", "holds no keys and values"),
        (b"[" * 100_000, "cannot be read"),
        (b" " * (1 << 20) + b"{}", "larger than 1048576 bytes"),
    ],
)
def test_json_that_is_none(folder, content, message):
    (folder / "predictor" / "config.json").write_bytes(content)
    refused(folder, f"config.json: {message}")


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
        frame(ENTRY),
        frame(ENTRY, bytes(3)),
        frame(ENTRY, bytes(5)),
    ],
)
def test_weights_that_are_no_safetensors(folder, content):
    (folder / WEIGHTS).write_bytes(content)
    refused(folder, f"{WEIGHTS_FILE}: .*copy it again")


def test_control_the_smallest_frame_passes(folder):
    (folder / WEIGHTS).write_bytes(frame(ENTRY, bytes(4)))
    check_folder(folder)


def test_weights_cut_short_say_how_long_they_should_be(folder):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-5])
    refused(folder, f"{len(whole) - 5} bytes, expected {len(whole)}; it is cut short")


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
