"""Which engine runs a model, by what is asked for, what is installed and what the machine has."""

import sys

import pytest

from ucdir.engines import choice, choose_engine
from ucdir.errors import ConfigError, DeviceError, ExtraError, WeightsError
from ucdir.model import folder as files
from ucdir.model.pretrained import model_folder
from ucdir.workflows.export import export


@pytest.fixture
def machine(monkeypatch):
    """A function that sets what is installed and what the machine has."""

    def be(*, torch=True, gpu=False, bf16=False):
        monkeypatch.setattr(choice, "has_gpu", lambda: gpu)
        monkeypatch.setattr(choice, "has_bf16", lambda: bf16)
        if not torch:
            monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed

    return be


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("choice") / "model"
    export(model_folder("low_light"), folder)
    return folder


AUTO = [
    # torch installed, GPU, bf16, device, precision -> engine
    (True, False, False, "auto", "auto", "onnx"),
    (True, False, True, "auto", "auto", "torch"),
    (True, False, True, "cpu", "auto", "torch"),
    (True, False, True, "auto", "fp32", "onnx"),
    (True, True, False, "auto", "auto", "torch"),
    (True, True, False, "auto", "fp32", "torch"),
    (True, True, False, "cpu", "auto", "onnx"),
    (True, True, True, "auto", "fp16", "onnx"),
    (True, False, False, "cpu", "bf16", "torch"),
    (True, False, False, "cuda", "auto", "torch"),
    (False, True, True, "auto", "auto", "onnx"),
    (False, False, False, "cpu", "fp32", "onnx"),
]


@pytest.mark.parametrize(("torch", "gpu", "bf16", "device", "precision", "engine"), AUTO)
def test_auto(machine, torch, gpu, bf16, device, precision, engine):
    machine(torch=torch, gpu=gpu, bf16=bf16)
    assert choose_engine(model_folder("low_light"), device, precision) == engine
    assert choose_engine(None, device, precision) == engine


@pytest.mark.parametrize("torch", [True, False])
def test_a_folder_in_onnx_form_is_for_onnx(machine, exported, torch):
    machine(torch=torch, gpu=True, bf16=True)
    assert choose_engine(exported) == choose_engine(exported, engine="onnx") == "onnx"
    with pytest.raises(WeightsError, match="is a model in ONNX form; choose the engine onnx"):
        choose_engine(exported, engine="torch")


def test_the_authors_networks_are_for_torch(machine, tmp_path):
    config = files.read_index(model_folder("low_light"))[1]
    files.write_index(tmp_path, files.RELEASE, config)
    machine()
    assert choose_engine(tmp_path) == "torch"
    machine(torch=False)
    with pytest.raises(ExtraError, match="the authors' networks needs the package torch"):
        choose_engine(tmp_path)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"engine": "torch"}, "the engine torch"),
        ({"device": "cuda:1"}, "device 'cuda:1'"),
        ({"precision": "bf16"}, "precision 'bf16'"),
    ],
)
def test_a_missing_torch_is_one_sentence(machine, asked, words):
    machine(torch=False, gpu=True)
    with pytest.raises(
        ExtraError, match=f"^{words} needs the package torch, .* pip install 'ucdir\\[torch\\]'$"
    ):
        choose_engine(model_folder("low_light"), **asked)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ConfigError, match="engine 'other' is unknown; choose one of auto, torch, onnx"):
        choose_engine(engine="other")
    with pytest.raises(DeviceError, match="device 'cuda': the engine onnx is for CPUs"):
        choose_engine(device="cuda", engine="onnx")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512_bf16 sse\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("flags\t\t: fpu avx512f\nother\t: avx512_bf16\n", False),
        ("Features\t: fp asimd bf16\n", False),
        ("", False),
    ],
)
def test_bf16_of_the_cpu(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert choice.has_bf16(tmp_path / "cpuinfo") is expected
    assert choice.has_bf16(tmp_path / "none") is False


def test_it_finds_what_torch_finds():
    torch = pytest.importorskip("torch")
    from ucdir.engines import devices

    assert not torch.cuda.is_available() or choice.has_gpu()
    assert choice.has_bf16() == devices.has_bf16(torch.device("cpu"))
