"""Published files of PyTorch tensors (.pth), read without running code from them and without trusting their sizes.

`torch.load(weights_only=True)` runs no code either, but a file of 100 bytes can make it ask for any amount of memory:
by a tensor of stride 0, a storage that claims to be large, `bytearray(10**12)`, a compressed record. Here the pickle is
stepped through opcode by opcode, only what a state dict needs is known, and no tensor is larger than what the file
holds of it.

    zip (since PyTorch 1.6)   NAME/data.pkl, and each storage as NAME/data/KEY, not compressed
    legacy                    five pickles: magic number, version, machine, state dict, keys; then the storages
"""

from __future__ import annotations

import io
import itertools
import math
import mmap
import pickletools
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from ucdir.errors import WeightsError
from ucdir.limits import MAX_CHECKPOINT_BYTES, MAX_CHECKPOINT_OPCODES

DTYPES: Final = {
    "torch DoubleStorage": torch.float64, "torch FloatStorage": torch.float32, "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16, "torch LongStorage": torch.int64, "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16, "torch CharStorage": torch.int8, "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}  # fmt: skip
"""Types of storages, as pickles name them."""
DICT, TENSOR, PARAMETER = (
    "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
)  # fmt: skip
"""What else a pickle may name. Nothing is imported by its name, and nothing but these is called."""
MAGIC_NUMBER: Final = 0x1950A86A20F9469CFC6C
MAX_DIMENSIONS: Final = 8

FAULTS: Final = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError,
    RecursionError, struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What reading a file that is none can raise."""


class _Storage(NamedTuple):
    """A storage by its key, before it is read."""

    key: str
    dtype: torch.dtype
    numel: int


class _Tensor(NamedTuple):
    """A tensor before its storage is read."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def tensors_of(file: Path) -> dict[str, Tensor]:
    """The named tensors of a .pth file, on the CPU.

    Raises:
        WeightsError: it is not such a file, or too large, or a tensor in it is larger than what the file holds of it.
    """
    try:
        size_bytes = file.stat().st_size
        if not file.is_file():  # a pipe would be waited for
            raise WeightsError(f"{file}: is not a file; check the name.")
        if size_bytes > MAX_CHECKPOINT_BYTES:
            raise WeightsError(
                f"{file}: {size_bytes} bytes is more than the limit of {MAX_CHECKPOINT_BYTES}."
            )
        state, storages = (_zip if zipfile.is_zipfile(file) else _legacy)(file)
    except FileNotFoundError:
        raise WeightsError(f"{file}: there is no such file; check the name.") from None
    except FAULTS as error:
        raise WeightsError(f"{file}: cannot be read as PyTorch weights; download it again.") from error
    pairs = [*state.items()] if isinstance(state, dict) else state
    if not isinstance(pairs, list) or not all(map(_is_named_tensor, pairs)):
        raise WeightsError(f"{file}: contains no named tensors, so it is not a file of weights.")
    left_bytes = size_bytes  # tensors may share a storage, but not so that they are more than the file
    for name, (storage, offset, size, stride) in pairs:
        numel = math.prod(size)
        end = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1 if numel else 0
        left_bytes -= numel * storage.dtype.itemsize
        if max(numel, end) > len(storages[storage.key]) or left_bytes < 0:
            raise WeightsError(
                f"{file}: {name:.80} is larger than what the file holds of it; download it again."
            )
    return {name: storages[t.storage.key].as_strided(t.size, t.stride, t.offset) for name, t in pairs}


def _is_named_tensor(pair: object) -> bool:
    match pair:
        case (str(), _Tensor()):
            return True
        case _:
            return False


# ------------------------------------------------------------------------------------------------------ layouts


def _zip(file: Path) -> tuple[Any, dict[str, Tensor]]:
    """The unpickled contents of a zip file, and its storages by their keys."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        total_bytes = sum(entry.file_size for entry in entries.values())
        compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values())
        if compressed or total_bytes > file.stat().st_size:
            raise ValueError("it is compressed, or its records overlap")
        (pickled,) = (name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1)
        root = pickled.removesuffix("data.pkl")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("its byte order is not little-endian")
        state, storages = _unpickled(io.BytesIO(archive.read(pickled)))
        return state, {
            s.key: _elements(bytearray(archive.read(f"{root}data/{s.key}")), s.dtype, 0, s.numel)
            for s in storages.values()
        }


def _legacy(file: Path) -> tuple[Any, dict[str, Tensor]]:
    """The same of a file of the layout before PyTorch 1.6."""
    with file.open("rb") as stream:
        # a private copy, of which only what is read takes memory
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    if _unpickled(content)[0] != MAGIC_NUMBER:
        raise ValueError("it does not begin as such a file does")
    _unpickled(content)  # the layout's version
    machine = _unpickled(content)[0]
    if machine.get("little_endian") is not True:
        raise ValueError("its byte order is not little-endian")
    state, storages = _unpickled(content)
    found: dict[str, Tensor] = {}
    for key in _unpickled(content)[0]:
        (numel,) = struct.unpack("<q", content.read(8))
        storage = storages[_name(key)]
        if numel != storage.numel or key in found:
            raise ValueError("a storage is of another size than its tensors say, or there twice")
        found[key] = _elements(content, storage.dtype, content.tell(), numel)
        content.seek(numel * storage.dtype.itemsize, 1)
    return state, found


def _elements(content: Any, dtype: torch.dtype, offset_bytes: int, numel: int) -> Tensor:
    """A writable buffer's `numel` elements from a byte on: [numel]. Raises ValueError where it has fewer."""
    if numel < 0:
        raise ValueError(f"{numel} elements")
    return (
        torch.frombuffer(content, dtype=dtype, offset=offset_bytes, count=numel)
        if numel
        else torch.empty(0, dtype=dtype)
    )


# ------------------------------------------------------------------------------------------------------- pickle
#
# Objects of a pickle may hold one another many times over, so that a short one is exponentially large when it is
# printed, compared or hashed: here that is only done to strings and integers, and nothing is copied but short tuples.


def _unpickled(stream: Any) -> tuple[Any, dict[str, _Storage]]:  # noqa: PLR0912, PLR0915 (one case an opcode)
    """What the next pickle of a stream holds, with `_Tensor` in place of tensors, and the storages that they lie in.

    An OrderedDict made of pairs stays the list of them.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is no pickle, or not one of a state dict.
    """
    stack: list[Any] = []
    outer: list[list[Any]] = []
    memo: dict[int, Any] = {}
    storages: dict[str, _Storage] = {}
    argument: Any
    for opcode, argument, _ in itertools.islice(pickletools.genops(stream), MAX_CHECKPOINT_OPCODES):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop(), storages
            case "MARK":
                outer.append(stack)
                stack = []
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINSTRING":
                stack.append(argument)
            case "GLOBAL":
                if argument not in DTYPES and argument not in (DICT, TENSOR, PARAMETER):
                    raise ValueError(f"it names {argument}")
                stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [(*stack[-count:],)]
            case "TUPLE" | "APPENDS" | "SETITEMS":
                items, stack = stack, outer.pop()
                if opcode.name == "TUPLE":
                    stack.append(tuple(items))
                elif opcode.name == "APPENDS":
                    stack[-1].extend(items)
                else:
                    stack[-1].update(zip(map(_name, items[::2]), items[1::2], strict=True))
            case "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1].update({_name(key): value})
            case "BUILD":
                stack.pop()  # a state dict's versions of its layers
            case "BINPERSID":
                storage = _storage(*stack.pop())
                if storages.setdefault(storage.key, storage) != storage:
                    raise ValueError("two storages have the same key")
                stack.append(storage)
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_made(stack.pop(), *arguments))
            case name:
                raise ValueError(f"opcode {name}")
    raise ValueError("it has no end, or is too long")


def _name(key: object) -> str:
    """A key of a dict."""
    if not isinstance(key, str):
        raise TypeError("a key is no name")
    return key


def _storage(
    kind: object, storage_type: object, key: object, place: object, numel: object, view: object = None
) -> _Storage:
    """A storage by its persistent id."""
    if kind != "storage" or view is not None or type(numel) is not int:
        raise ValueError("it is not a whole storage")
    return _Storage(_name(key), DTYPES[_name(storage_type)], numel)


def _made(name: object, *arguments: Any) -> Any:
    """What calling one of the permitted names gives."""
    match name, arguments:
        case "collections OrderedDict", ():
            return {}
        case "collections OrderedDict", (list() as pairs,):  # Python 2
            return pairs
        case "torch._utils _rebuild_parameter", (_Tensor() as tensor, *_):
            return tensor
        case "torch._utils _rebuild_tensor_v2", (
            _Storage() as storage,
            offset,
            tuple(size),
            tuple(stride),
            *_,
        ):
            numbers = (offset, *size[:MAX_DIMENSIONS], *stride[:MAX_DIMENSIONS])
            odd = any(type(n) is not int or not 0 <= n < 2**48 for n in numbers)
            if odd or len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
                raise ValueError("it is no tensor")
            return _Tensor(storage, offset, size, stride)
        case _:
            raise ValueError("it calls what it may not")
