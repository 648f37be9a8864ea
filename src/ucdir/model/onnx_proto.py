"""The file format of ONNX, as far as our graphs need it: protocol buffers written by hand.

The package onnx, which would do the same, is 40 MB with what it requires, and ONNX Runtime does not need it. The
numbers are those of onnx.proto3; `tests/model/test_onnx_proto.py` reads what is written here with that package.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

OPSET: Final = 21
IR_VERSION: Final = 10
"""Of the file format; runtimes from 2024 on read it."""
DATA_TYPES: Final = {np.dtype(np.float32): 1, np.dtype(np.int64): 7, np.dtype(np.float16): 10}
"""`TensorProto.DataType` of each type of a tensor."""


def field(number: int, value: int | float | str | bytes) -> bytes:
    """One field of a message: a varint, a float of 32 bits, or what has a length (text, bytes, another message)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers as 64 bits in two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]) -> bytes:
    """A `NodeProto`."""
    parts = [field(1, name) for name in inputs] + [field(2, name) for name in outputs] + [field(4, kind)]
    return b"".join([*parts, *(field(5, attribute(name, value)) for name, value in attributes.items())])


def attribute(name: str, value: int | float | str | Sequence[int]) -> bytes:
    """An `AttributeProto`: its name, its value, and the type of the value."""
    match value:
        case int():
            parts, kind = [field(3, value)], 2
        case float():
            parts, kind = [field(2, value)], 1
        case str():
            parts, kind = [field(4, value)], 3
        case _:
            parts, kind = [field(8, one) for one in value], 7
    return b"".join([field(1, name), *parts, field(20, kind)])


def tensor(name: str, array: NDArray[Any]) -> bytes:
    """A `TensorProto`."""
    dims = [field(1, length) for length in array.shape]
    raw = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return b"".join([*dims, field(2, DATA_TYPES[array.dtype]), field(8, name), field(9, raw)])


def value_info(name: str, shape: Sequence[str | int]) -> bytes:
    """A `ValueInfoProto` of float32: a number is a fixed length, a name one that may vary."""
    dims = b"".join(field(1, field(2 if isinstance(length, str) else 1, length)) for length in shape)
    return field(1, name) + field(2, field(1, field(1, DATA_TYPES[np.dtype(np.float32)]) + field(2, dims)))


def model(
    nodes: Sequence[bytes],
    constants: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, Sequence[str | int]],
    outputs: Mapping[str, Sequence[str | int]],
) -> bytes:
    """A `ModelProto`, which is what a file holds; inputs and outputs are names and shapes."""
    graph = b"".join(
        [
            *(field(1, one) for one in nodes), field(2, "ucdir"),
            *(field(5, tensor(name, array)) for name, array in constants.items()),
            *(field(11, value_info(name, shape)) for name, shape in inputs.items()),
            *(field(12, value_info(name, shape)) for name, shape in outputs.items()),
        ]
    )  # fmt: skip
    opset = field(1, "") + field(2, OPSET)
    return field(1, IR_VERSION) + field(2, "ucdir") + field(7, graph) + field(8, opset)
