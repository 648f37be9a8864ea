"""ONNX Runtime's engine: the picture of the torch engine, from either form of a folder; bad folders in one sentence."""

import json
import math
import os
import shutil

import numpy as np
import pytest
from random_images import image_of

import ucdir
from ucdir.engines import load_engine, onnx_engine
from ucdir.engines.onnx_engine import OnnxEngine, threads
from ucdir.errors import ConfigError, DeviceError, WeightsError
from ucdir.pipeline import load

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _one_thread_of_onnx(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "model")


@pytest.mark.parametrize("known", [{}, {"jpeg_quality": 30}])
def test_the_picture_is_the_torch_engines(model_folder, exported, known):
    image = image_of(53, 70)
    expected = load(model_folder, "cpu", "fp32", engine="torch").restore_signal(image, scalars=known)
    for folder, engine in ((model_folder, "onnx"), (exported, "onnx"), (exported, "auto")):
        pipe = load(folder, engine=engine)
        assert isinstance(pipe.engine, OnnxEngine)
        assert np.abs(pipe.restore_signal(image, scalars=known) - expected).max() < 2e-5
    assert np.abs(pipe.restore_signal(image, scalars={"jpeg_quality": 5}) - expected).max() > 1e-4, "control"


def test_in_patches_and_batches(exported):
    pipe, image = load(exported), image_of(120, 104)
    whole = pipe.restore_signal(image)
    assert np.abs(pipe.restore_signal(image, patch_size=84) - whole).max() < 1e-4
    both = pipe.restore_signal(np.concatenate([image, image[..., ::-1]]), seed=[0, 1])
    assert np.abs(both[:1] - whole).max() < 1e-4


def test_what_it_says_is_what_the_torch_engine_says(model_folder, exported):
    ours, config = load_engine(exported)
    torch, same = load_engine(model_folder, "cpu", engine="torch")
    names = ("receptive_field", "multiple_of", "scalars", "prediction")
    assert [getattr(ours, name) for name in names] == [getattr(torch, name) for name in names]
    assert config == same
    assert ours.device == "cpu"


def test_a_full_memory_is_a_memory_error(exported, monkeypatch):
    engine = load(exported).engine
    image = image_of(16, 24)

    class Full:
        def run(self, *_):
            raise RuntimeError(
                "bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer"
            )

    monkeypatch.setattr(engine, "predictor", Full())
    with pytest.raises(MemoryError, match="Failed to allocate memory"):
        engine.predict(image)


def test_smaller_patches_where_the_memory_is_full(exported, monkeypatch):
    pipe = load(exported)
    image, run = image_of(64, 200), pipe.engine.predict
    expected = pipe.restore_signal(image)
    sizes = []

    def small_only(degraded):
        sizes.append(degraded.shape[-1])
        if degraded.shape[-1] > 150:
            raise MemoryError
        return run(degraded)

    monkeypatch.setattr(pipe.engine, "predict", small_only)
    assert np.abs(pipe.restore_signal(image) - expected).max() < 1e-4
    assert sizes[0] == 200


def test_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
    for odd in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", odd)
        assert threads() >= 1


@pytest.mark.parametrize(
    ("membership", "groups", "expected"),
    [
        ("0::/a/b\n", {"a": {"cpu.max": "150000 100000\n"}, "a/b": {"cpu.max": "max 100000\n"}}, [1.5]),
        ("0::/a\n", {".": {"cpu.max": "50000 100000\n"}, "a": {"cpu.max": "400000 100000\n"}}, [0.5, 4]),
        (
            "4:cpu,cpuacct:/x\n0::/\n",
            {"cpu/x": {"cpu.cfs_quota_us": "200000\n", "cpu.cfs_period_us": "100000\n"}}, [2],
        ),
        ("4:cpu:/x\n", {"cpu/x": {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}}, []),
        ("3:cpuset:/x\n", {"cpu/x": {"cpu.cfs_quota_us": "200000\n", "cpu.cfs_period_us": "100000\n"}}, []),
        ("0::/a\n", {"a": {"cpu.max": "what\n"}}, []),
    ],
)  # fmt: skip
def test_what_control_groups_allow(tmp_path, monkeypatch, membership, groups, expected):
    (tmp_path / "self").write_text(membership)
    for name, files in groups.items():
        (tmp_path / "sys" / name).mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (tmp_path / "sys" / name / file).write_text(text)
    found = list(onnx_engine.cpu_quotas(tmp_path / "self", tmp_path / "sys"))
    assert found == expected
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3), raising=False)
    monkeypatch.setattr(onnx_engine, "cpu_quotas", lambda: found)
    assert threads() == min([3, *(max(1, math.ceil(one)) for one in expected)])


def swapped(folder):
    (folder / "predictor.onnx").replace(folder / "other")
    (folder / "diffusion_model.onnx").replace(folder / "predictor.onnx")
    (folder / "other").replace(folder / "diffusion_model.onnx")


def cut(name):
    def damage(folder):
        file = folder / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return damage


def manifest(**changes):
    def damage(folder):
        file = folder / "ucdir.json"
        values = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut("predictor.onnx"), "predictor: ONNX Runtime does not take this network"),
        (cut("ucdir.json"), "ucdir.json: cannot be read"),
        (swapped, "predictor: its inputs are degraded, guidance.*, expected degraded"),
        (lambda folder: (folder / "diffusion_model.onnx").unlink(), "diffusion_model.onnx: is missing"),
        (lambda folder: (folder / "predictor.onnx").write_bytes(b"no network"), "does not take this network"),
        (lambda folder: (folder / "predictor.onnx").write_bytes(b""), "does not take this network"),
        (manifest(format=2), "its format is 2, and this version of ucdir reads 1"),
        (manifest(format=None), "its format is None"),
        (manifest(multiple_of=0), "multiple_of"),
        (manifest(multiple_of="8"), "multiple_of"),
        (manifest(receptive_field=None), "'receptive_field' is missing"),
        (manifest(prediction="other"), "prediction 'other' is unknown"),
        (manifest(scalars={"other": {"unit": "", "range": [0, 1]}}), "scalar 'other' is unknown"),
        (manifest(scalars={}), "its inputs are .*, expected"),
        (manifest(pipeline={"sampler": "other"}), "sampler 'other' is unknown"),
        (manifest(pipeline={"task": "other"}), "task 'other' is unknown"),
    ],
)  # fmt: skip
def test_damaged_folders_are_refused(copied, damage, message):
    load(copied)  # the control
    damage(copied)
    with pytest.raises(WeightsError, match=message) as refusal:
        load(copied)
    assert str(refusal.value).startswith(str(copied))
    assert "\n" not in str(refusal.value)


def foreign(folder, shape, value):
    """A network with the right names that gives something else."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Reshape", ["degraded", "shape"], ["output"])], "foreign",
        [helper.make_tensor_value_info("degraded", TensorProto.FLOAT, ("b", 3, "h", "w"))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(shape, np.int64), "shape")],
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    (folder / "predictor.onnx").write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("shape", "message"),
    [([1, -1], "networks give \\[1, 1152\\] of images"), ([7, -1], "cannot run its networks")],
)
def test_networks_that_give_something_else_are_refused(copied, shape, message):
    foreign(copied, shape, 0)
    with pytest.raises(WeightsError, match=message):
        load(copied).restore_signal(image_of(16, 24))


def test_weights_in_other_files_are_not_read(copied):
    import onnx

    file, other = copied / "predictor.onnx", copied / "other"
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="other", size_threshold=0)
    assert other.exists()
    with pytest.raises(WeightsError, match="does not take this network"):
        load(copied)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"device": "cuda"}, DeviceError, "device 'cuda': the engine onnx is for CPUs"),
        ({"precision": "bf16"}, ConfigError, "precision 'bf16': .* was exported in fp32"),
        ({"engine": "torch"}, WeightsError, "is a model in ONNX form; choose the engine onnx"),
        ({"engine": "other"}, ConfigError, "engine 'other' is unknown; choose one of auto, torch, onnx"),
    ],
)
def test_what_it_cannot_do_is_refused(exported, arguments, error, message):
    with pytest.raises(error, match=message):
        load(exported, **arguments)


def test_precisions_of_a_model_in_the_usual_form(model_folder):
    image = image_of(40, 48)
    exact = load(model_folder, engine="onnx", precision="fp32").restore_signal(image)
    half = load(model_folder, engine="onnx", precision="fp16").restore_signal(image)
    assert 0 < np.abs(exact - half).mean() < 0.5 * 2 / 255
    with pytest.raises(ConfigError, match="precision 'bf16' is none of ONNX; choose one of fp32, fp16"):
        load(model_folder, engine="onnx", precision="bf16")


def test_a_file_in_memory(exported, test_data):
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (24, 16), "teal").save(file, "JPEG", quality=10)
    result = ucdir.restore(file.getvalue(), pipeline=load(exported), format="png")
    assert Image.open(BytesIO(result)).size == (24, 16)
