"""A head as ONNX, written without the onnx package: a model of a few nodes is a few messages of protocol buffers.

Field numbers are those of onnx.proto3 (IR version 8), operators those of opset 13, which every runtime of the last years has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path, ordinary_mode
from tessera_core.heads.portable import PortableHead
from tessera_core.provenance import SOFTWARE

IR_VERSION, OPSET = 8, 13
FLOAT, INT8, INT32, INT64 = 1, 3, 6, 7
_KINDS: dict[np.dtype[Any], int] = {np.dtype(np.float32): FLOAT, np.dtype(np.int32): INT32, np.dtype(np.int64): INT64}
_INT_ATTRIBUTE = 2
BATCH = "pixels"


def write_onnx(path: str | Path, head: PortableHead) -> Path:
    """Write a head as an ONNX model.

    Inputs: ``codes`` int8 (pixels, D) and ``scales`` float32 (pixels, 1), as rasters hold them; the vectors are ``codes * scales``,
    so that vectors float32 may be given in parts of one code each, or quantised. Outputs: ``class_id`` int32 (pixels,), 0 where the
    scale is not above 0; ``probabilities`` float32 (pixels, K) in the order of the classes in the model's metadata; ``confidence``
    float32 (pixels,), the largest of them.

    Raises:
        ExportError: the file cannot be written.
    """
    with atomic_path(path) as part:
        part.write_bytes(onnx_bytes(head, quantised=True))
        ordinary_mode(part)
    return Path(path)


def onnx_bytes(head: PortableHead, *, quantised: bool = True) -> bytes:
    """The model as bytes.

    Args:
        head: to write.
        quantised: takes ``codes`` and ``scales``; else ``embeddings`` float32 (pixels, D).
    """
    ids = np.array([c.id for c in head.classes], np.int32)
    constants: dict[str, NDArray[np.generic]] = {"ids": ids}
    nodes: list[bytes] = []
    if quantised:
        constants |= {"zero": np.zeros(1, np.float32), "none": np.zeros(1, np.int32), "flat": np.array([-1], np.int64)}
        inputs = [_value("codes", INT8, (BATCH, head.dim)), _value("scales", FLOAT, (BATCH, 1))]
        nodes += [
            _node("Greater", ["scales", "zero"], ["has_data"]),
            _node("Where", ["has_data", "scales", "zero"], ["usable"]),
            _node("Cast", ["codes"], ["values"], to=FLOAT),
            _node("Mul", ["values", "usable"], ["embeddings"]),
        ]
    else:
        inputs = [_value("embeddings", FLOAT, (BATCH, head.dim))]
    x = "embeddings"
    for number, (weight, bias) in enumerate(head.layers):
        constants |= {f"weight{number}": weight, f"bias{number}": bias}
        last = number == len(head.layers) - 1
        out = "logits" if last else f"sum{number}"
        nodes.append(_node("Gemm", [x, f"weight{number}", f"bias{number}"], [out], transB=1))
        if not last:
            x = f"hidden{number}"
            nodes.append(_node("Relu", [out], [x]))
    nodes += [
        _node("Softmax", ["logits"], ["probabilities"], axis=1),
        _node("ReduceMax", ["probabilities"], ["confidence"], axes=[1], keepdims=0),
        _node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0),
        _node("Gather", ["ids", "best"], ["found" if quantised else "class_id"], axis=0),
    ]
    if quantised:
        nodes += [
            _node("Reshape", ["has_data", "flat"], ["inside"]),
            _node("Where", ["inside", "found", "none"], ["class_id"]),
        ]
    outputs = [
        _value("class_id", INT32, (BATCH,)),
        _value("probabilities", FLOAT, (BATCH, len(ids))),
        _value("confidence", FLOAT, (BATCH,)),
    ]
    graph = b"".join(
        [
            *(_message(1, node) for node in nodes),
            _text(2, "tessera_head"),
            *(_message(5, _tensor(name, array)) for name, array in constants.items()),
            *(_message(11, value) for value in inputs),
            *(_message(12, value) for value in outputs),
        ]
    )
    told = {key: value for key, value in head.to_json().items() if key in ("classes", "dataset", "card", "provenance")}
    metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in told.items()}
    return b"".join(
        [
            _whole(1, IR_VERSION),
            _text(2, SOFTWARE),
            _message(7, graph),
            _message(8, _text(1, "") + _whole(2, OPSET)),
            *(_message(14, _text(1, key) + _text(2, value)) for key, value in metadata.items()),
        ]
    )


# --------------------------------------------------------------------------------------------------- protocol buffers


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _whole(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int | list[int]) -> bytes:
    parts = [*(_text(1, one) for one in inputs), *(_text(2, one) for one in outputs), _text(4, kind)]
    for name, value in attributes.items():
        if isinstance(value, list):
            # ints = 8, of the type INTS.
            body = b"".join(_whole(8, one) for one in value) + _whole(20, 7)
        else:
            body = _whole(3, value) + _whole(20, _INT_ATTRIBUTE)
        parts.append(_message(5, _text(1, name) + body))
    return b"".join(parts)


def _tensor(name: str, array: NDArray[np.generic]) -> bytes:
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    dims = b"".join(_whole(1, size) for size in array.shape)
    return dims + _whole(2, _KINDS[array.dtype]) + _text(8, name) + _message(9, little.tobytes())


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_message(1, _text(2, one) if isinstance(one, str) else _whole(1, one)) for one in shape)
    tensor = _whole(1, kind) + _message(2, dims)
    return _text(1, name) + _message(2, _message(1, tensor))
