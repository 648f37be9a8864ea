"""Checkpoints are read as PyTorch reads them, and none takes more memory or time than its bytes justify."""

import io
import os
import pickle
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch

from ucdir.errors import WeightsError
from ucdir.pth_file import MAGIC_NUMBER, tensors_of


def state():
    weights = torch.arange(12.0).reshape(3, 4)
    return {
        "weight": torch.nn.Parameter(weights.t()),
        "row": weights[1],
        "half": torch.tensor([1.5, -2.0]).half(),
        "bf16": torch.tensor([3.0]).bfloat16(),
        "double": torch.tensor([0.1], dtype=torch.float64),
        "count": torch.tensor(7),
        "flag": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_it_reads_what_torch_reads(tmp_path, zipped):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
    ).state_dict()  # with _metadata
    torch.save({**net, **state()}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    torch.save(net, tmp_path / "ordered.pth", _use_new_zipfile_serialization=zipped)
    for file in (tmp_path / "net.pth", tmp_path / "ordered.pth"):
        found, expected = tensors_of(file), torch.load(file, weights_only=True)
        assert list(found) == list(expected)
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor), name
            assert (found[name].dtype, found[name].stride()) == (tensor.dtype, tensor.stride())


def test_a_pickle_of_python_2_is_read(tmp_path):
    pair = [("a", Call("torch._utils\n_rebuild_tensor_v2\n", stored(2), 0, (2,), (1,), False, 0))]
    pickled = b"\x80\x02ccollections\nOrderedDict\n" + body(pair) + b"\x85R."
    data = struct.pack("<2f", 1, 2)
    assert tensors_of(legacy(tmp_path, pickled, ["0"], struct.pack("<q", 2) + data))["a"].tolist() == [1, 2]
    assert tensors_of(zipped(tmp_path, pickled, {"0": data}))["a"].tolist() == [1, 2]


# ------------------------------------------------------------------------- pickles by hand, without a memo


class Call:
    """What a callable of the pickle gives of these arguments."""

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments


class Stored:
    """A storage by its persistent id."""

    def __init__(self, *identity):
        self.identity = identity


def stored(numel, key="0"):
    return Stored("storage", Call("torch\nFloatStorage\n"), key, "cpu", numel)


def body(value):  # noqa: PLR0911
    match value:
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            data = pickle.encode_long(value)
            return b"\x8a" + bytes([len(data)]) + data
        case str():
            return b"X" + struct.pack("<I", len(value)) + value.encode()
        case tuple():
            return b"(" + b"".join(map(body, value)) + b"t"
        case list():
            return b"](" + b"".join(map(body, value)) + b"e"
        case dict():
            return b"}(" + b"".join(body(part) for pair in value.items() for part in pair) + b"u"
        case Stored():
            return body(value.identity) + b"Q"
        case Call(arguments=()):
            return b"c" + value.name.encode()
    return b"c" + value.name.encode() + body(value.arguments) + b"R"


def pickled(value):
    return b"\x80\x02" + body(value) + b"."


def tensor(numel=1, offset=0, size=(1,), stride=(1,), key="0"):
    return Call("torch._utils\n_rebuild_tensor_v2\n", stored(numel, key), offset, size, stride, False, 0)


def zipped(folder, data_pkl, records, **options):
    with zipfile.ZipFile(folder / "net.pth", "w", **options) as archive:
        archive.writestr("net/data.pkl", data_pkl)
        for name, content in records.items():
            archive.writestr(f"net/data/{name}", content)
    return folder / "net.pth"


def legacy(folder, state_pickle, keys, data):
    parts = (MAGIC_NUMBER, 1001, {"protocol_version": 1001, "little_endian": True})
    content = b"".join(map(pickled, parts)) + state_pickle + pickled(keys) + data
    (folder / "net.pth").write_bytes(content)
    return folder / "net.pth"


def test_control_pickles_by_hand_are_read(tmp_path):
    good = pickled({"a": tensor(2, 0, (2, 1), (1, 1))})
    assert tensors_of(zipped(tmp_path, good, {"0": bytes(8)}))["a"].shape == (2, 1)
    assert tensors_of(legacy(tmp_path, good, ["0"], struct.pack("<q", 2) + bytes(8)))["a"].shape == (2, 1)


BIG = 10**11
LARGER = "larger than what the file holds"
HOSTILE = {
    "stride 0": ({"a": tensor(1, 0, (BIG,), (0,))}, LARGER),
    "beyond its storage": ({"a": tensor(1, 0, (BIG,), (1,))}, LARGER),
    "an offset beyond it": ({"a": tensor(1, BIG, (1,), (1,))}, LARGER),
    "a stride beyond it": ({"a": tensor(1, 0, (2,), (BIG,))}, LARGER),
    "a negative size": ({"a": tensor(1, 0, (-1,), (1,))}, "cannot be read"),
    "a negative stride": ({"a": tensor(1, 0, (1,), (-1,))}, "cannot be read"),
    "a size of 10^30": ({"a": tensor(1, 0, (10**30,), (1,))}, "cannot be read"),
    "a size that is no number": ({"a": tensor(1, 0, ("1",), (1,))}, "cannot be read"),
    "a large storage": ({"a": tensor(BIG)}, "cannot be read"),
    "a storage of -1": ({"a": tensor(-1)}, "cannot be read"),
    "bytearray": ({"a": Call("builtins\nbytearray\n", BIG)}, "cannot be read"),
    "a tensor of a size": ({"a": Call("torch\nFloatTensor\n", BIG)}, "cannot be read"),
    "code": ({"a": Call("os\nsystem\n", "echo >> /tmp/CANARY_pth")}, "cannot be read"),
    "a class of ours": ({"a": Call("ucdir.pth_file\ntensors_of\n", "x")}, "cannot be read"),
    "many tensors of one storage": (
        {str(number): tensor(1000, 0, (1000,), (1,)) for number in range(1000)}, LARGER,
    ),
    "a key that is no name": ({("a",): tensor()}, "cannot be read"),
    "no tensors": ({"a": 1}, "no named tensors"),
}  # fmt: skip


@pytest.mark.parametrize("layout", ["zip", "legacy"])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_file_claims_takes_no_memory(tmp_path, name, layout):
    value, message = HOSTILE[name]
    if layout == "zip":
        file = zipped(tmp_path, pickled(value), {"0": bytes(4000)})
    else:
        file = legacy(tmp_path, pickled(value), ["0"], struct.pack("<q", 1) + bytes(4000))
        message = f"{message}|cannot be read"
    before = vm_peak()
    tracemalloc.start()
    with pytest.raises(WeightsError, match=message):
        tensors_of(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert vm_peak() - before < 100e6


def vm_peak():
    """Most address space that the process has had, in bytes; 0 where the system does not say."""
    try:
        with Path("/proc/self/status").open() as lines:
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmPeak"))
    except OSError:
        return 0


def test_control_pytorch_would_ask_for_it(tmp_path):
    file = zipped(tmp_path, pickled({"a": tensor(1, 0, (BIG,), (0,))}), {"0": bytes(4)})
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("net/version", "3\n")
    assert torch.load(file, weights_only=True)["a"].numel() == BIG


def test_objects_that_are_exponentially_large_are_not_looked_at(tmp_path):
    """200 tuples, each of three times the one before: a key, a name, a size, a storage."""
    nested = b")" + b"q\x01h\x01h\x01h\x01\x87" * 200
    for around in (
        b"}" + nested + b"K\x00s.",
        nested + b"(tR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + body(stored(1)) + b"K\x00" + nested + b"q\x02h\x02tR.",
        nested + b"Q.",
        nested + b".",
    ):
        with pytest.raises(WeightsError):
            tensors_of(zipped(tmp_path, b"\x80\x02" + around, {}))


def test_a_compressed_file_is_refused(tmp_path):
    good = pickled({"a": tensor(10_000_000, 0, (1,), (1,))})
    file = zipped(tmp_path, good, {"0": bytes(40_000_000)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="cannot be read"):
        tensors_of(file)


def test_records_that_overlap_are_refused(tmp_path):
    file = zipped(tmp_path, pickled({"a": tensor()}), {"0": bytes(100_000), "1": bytes(4)})
    content = bytearray(file.read_bytes())
    first, second = (at.start() for at in [*re.finditer(b"PK\x01\x02", content)][1:])  # of the directory
    content[second + 20 : second + 28] = content[first + 20 : first + 28]  # both sizes
    content[second + 42 : second + 46] = content[first + 42 : first + 46]  # where it begins
    assert tensors_of(file)
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read"):
        tensors_of(file)


def test_a_long_pickle_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("ucdir.pth_file.MAX_CHECKPOINT_OPCODES", 1000)
    with pytest.raises(WeightsError, match="cannot be read"):
        tensors_of(zipped(tmp_path, b"\x80\x02" + b"]" * 2000 + b".", {}))


@pytest.mark.parametrize("zip_layout", [True, False])
def test_every_cut_and_every_changed_byte_has_an_outcome(tmp_path, zip_layout):
    file = tmp_path / "net.pth"
    torch.save({"a": torch.ones(2)}, file, _use_new_zipfile_serialization=zip_layout)
    whole = file.read_bytes()
    outcomes = set()
    for at in range(0, len(whole), 9):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            file.write_bytes(content)
            try:
                tensors_of(file)
                outcomes.add("read")
            except WeightsError:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_big_endian_file_is_not_read_wrongly(tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(2)}, buffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        root = archive.namelist()[0].split("/")[0]
    content = buffer.getvalue().replace(b"little", b"bigger")
    (tmp_path / "net.pth").write_bytes(content)
    assert f"{root}/byteorder".encode() in content
    with pytest.raises(WeightsError, match="cannot be read"):
        tensors_of(tmp_path / "net.pth")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(WeightsError, match="is not a file; check the name"):
            tensors_of(path)
