"""Fourier transforms as products with their matrices, and the tables that go with them."""

import numpy as np
import onnx
import onnx_ir as ir

from ascend_migrate.converters.cann.registry import surgery
from ascend_migrate.converters.onnx_building import (
    Builder,
    NoExactRuleError,
    constant_of,
    dtype_of,
    given,
    rank_of,
    replace,
    size_of,
)
from ascend_migrate.converters.onnx_functions import write_out

_OPSET = 17
_LARGEST = 1 << 22
"""Elements of a transform's matrix: 16 MiB; longer transforms are refused."""


@surgery("unregistered", "DFT")
def dft(node: ir.Node) -> bool:
    """A product with the matrix of the transform (https://onnx.ai/onnx/operators/onnx__DFT.html)."""
    make, source, rank = Builder(node), node.inputs[0], rank_of(node.inputs[0])
    axis = node.attributes.get_int("axis", 1) % rank
    length = _number(node, 1) if given(node, 1) is not None else size_of(source, axis)
    order = [*(i for i in range(rank - 1) if i != axis), axis, rank - 1]
    moved = source if order == list(range(rank)) else make("Transpose", source, perm=order)
    inverse = bool(node.attributes.get_int("inverse", 0))
    half = bool(node.attributes.get_int("onesided", 0))
    if inverse and half:
        raise NoExactRuleError("onesided=1 with inverse=1")
    parts = size_of(source, rank - 1)
    matrix = _matrix(size_of(source, axis), length, parts, inverse=inverse, half=half)
    found = _transformed(make, moved, rank, matrix, dtype_of(source))
    if moved is not source:
        found = make("Transpose", found, perm=[order.index(i) for i in range(rank)])
    replace(node, found)
    return True


@surgery("unregistered", "STFT")
def stft(node: ir.Node) -> bool:
    """Frames gathered, then transformed (https://onnx.ai/onnx/operators/onnx__STFT.html)."""
    make, signal = Builder(node), node.inputs[0]
    flat = rank_of(signal) == 2  # noqa: PLR2004 - a real signal without its last dimension
    parts = 1 if flat else size_of(signal, 2)
    wide = make("Unsqueeze", signal, make.ints(2)) if flat else signal
    step, window = _number(node, 1), given(node, 2)
    if given(node, 3) is not None:
        length = _number(node, 3)
    elif window is not None:
        length = size_of(window, 0)
    else:
        raise NoExactRuleError("neither a window nor a frame length is given")
    count = (size_of(signal, 1) - length) // step + 1
    index = np.arange(count, dtype=np.int64)[:, None] * step + np.arange(length, dtype=np.int64)
    frames = make("Gather", wide, make.constant(index), axis=1)
    if window is not None:
        frames = make("Mul", frames, make("Unsqueeze", window, make.ints(1)))
    half = bool(node.attributes.get_int("onesided", 1)) and parts == 1
    matrix = _matrix(length, length, parts, inverse=False, half=half)
    node.outputs[0].shape = None  # ONNX infers all frequencies where half of them are the default
    replace(node, _transformed(make, frames, 4, matrix, dtype_of(signal)))
    return True


@surgery("unregistered", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix")
def table(node: ir.Node) -> bool:
    """The numbers that onnxruntime computes, where the sizes are known."""
    try:
        arrays = [constant_of(node, place) for place in range(len(node.inputs))]
    except NoExactRuleError:
        if write_out(node, _OPSET):
            return True
        raise
    replace(node, Builder(node).constant(_computed(node, arrays)))
    return True


def _computed(node: ir.Node, arrays: list[np.ndarray | None]) -> np.ndarray:
    """Runs a node alone in onnxruntime."""
    import onnxruntime

    proto = ir.to_proto(node)
    proto.input[:], proto.output[:] = [f"x{i}" for i in range(len(arrays))], ["y"]
    tensors = [
        onnx.numpy_helper.from_array(array, f"x{i}")
        for i, array in enumerate(arrays)
        if array is not None
    ]
    result = onnx.ValueInfoProto(name="y")
    graph = onnx.helper.make_graph([proto], "one", [], [result], tensors)
    imports = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {})[0])


def _number(node: ir.Node, place: int) -> int:
    found = constant_of(node, place)
    if found is None:
        raise NoExactRuleError(f"input {place} is missing")
    return int(found.reshape(-1)[0])


def _matrix(size: int, length: int, parts: int, *, inverse: bool, half: bool) -> np.ndarray:
    """Returns [size * parts, results * 2], real and imaginary numbers side by side."""
    results = length // 2 + 1 if half else length
    if size * parts * results * 2 > _LARGEST:
        raise NoExactRuleError(f"a transform of {length} points, whose matrix is too large")
    taken = np.arange(min(size, length))  # what is longer is cut, what is shorter filled with zeros
    # The product first, in integers: the angle of a large one would lose its digits.
    angle = 2 * np.pi * (np.outer(taken, np.arange(results)) % length) / length
    cos, sin = np.cos(angle), np.sin(angle) * (-1 if inverse else 1)
    whole = np.zeros((size, parts, results, 2))
    whole[: len(taken), 0] = np.stack([cos, -sin], axis=-1)
    if parts == 2:  # noqa: PLR2004 - real and imaginary
        whole[: len(taken), 1] = np.stack([sin, cos], axis=-1)
    return (whole / length if inverse else whole).reshape(size * parts, results * 2)


def _transformed(
    make: Builder, value: ir.Value | None, rank: int, matrix: np.ndarray, kind: ir.DataType
) -> ir.Value:
    """Multiplies the last two dimensions, laid side by side, with the matrix of a transform."""
    kept = [0] * (rank - 2)
    flat = make("Reshape", value, make.ints(*kept, matrix.shape[0]))
    product = make("MatMul", flat, make.constant(matrix.astype(kind.numpy())))
    return make("Reshape", product, make.ints(*kept, matrix.shape[1] // 2, 2))
