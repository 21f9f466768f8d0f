"""Faults planted in exported artifacts, the way that a broken converter or a bad copy would."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.records import Artifact, Form

Weights = dict[str, np.ndarray]
Fault = Callable[[Weights], Weights]

LARGE_EPSILON = 1e-4
"""Above it a small constant is no epsilon."""


def swapped(weights: Weights) -> Weights:
    """Exchanges two weights of the same sizes."""
    matrices = [n for n, a in weights.items() if a.ndim > 1]
    one, other = next(
        (a, b)
        for i, a in enumerate(matrices)
        for b in matrices[i + 1 :]
        if weights[a].shape == weights[b].shape
    )
    return {one: weights[other], other: weights[one]}


def negated_bias(weights: Weights) -> Weights:
    """Turns the sign of one bias, or of one vector where there is no bias."""
    vectors = [n for n, a in weights.items() if a.ndim == 1 and a.size > 1]
    name = next((n for n in vectors if "bias" in n), vectors[0])
    return {name: -weights[name]}


def scaled(place: float) -> Fault:
    """Makes one weight larger by one percent; ``place`` says how far down the model."""

    def fault(weights: Weights) -> Weights:
        names = [n for n, a in weights.items() if a.size > 1]
        name = names[int(place * (len(names) - 1))]
        return {name: weights[name] * np.float32(1.01)}

    return fault


WEIGHT_FAULTS: dict[str, Fault] = {
    "swapped weights": swapped,
    "negated bias": negated_bias,
    "first weight scaled": scaled(0),
    "middle weight scaled": scaled(0.5),
    "last weight scaled": scaled(1),
}


def plant(artifact: Artifact, names: Sequence[str], fault: Fault) -> None:
    """Rewrites the artifact's file with the fault in the weights ``names``, which come first."""
    if artifact.form is Form.ONNX:
        _plant_onnx(artifact.path, names, fault)
    else:
        _plant_mindir(artifact.path, names, fault)


def change_epsilon(artifact: Artifact) -> None:
    """Makes the first epsilon of the graph ten times as large."""
    if artifact.form is Form.ONNX:
        model = onnx.load(artifact.path)
        changed = _onnx_epsilon(model)
        onnx.save(model, artifact.path)
    else:
        graph = pb.ModelProto.FromString(artifact.path.read_bytes())
        changed = _mindir_epsilon(graph)
        artifact.path.write_bytes(graph.SerializeToString(deterministic=True))
    assert changed, "the graph has no epsilon"


def _plant_onnx(path: Path, names: Sequence[str], fault: Fault) -> None:
    model = onnx.load(path)
    tensors = {t.name: t for t in model.graph.initializer}
    for name, array in fault({n: numpy_helper.to_array(tensors[n]) for n in names}).items():
        tensors[name].CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, path)


def _plant_mindir(path: Path, names: Sequence[str], fault: Fault) -> None:
    model = pb.ModelProto.FromString(path.read_bytes())
    tensors = {t.name.partition(":")[2]: t for t in model.graph.parameter}
    weights = {
        n: np.frombuffer(tensors[n].raw_data, np.float32).reshape(tensors[n].dims) for n in names
    }
    for name, array in fault(weights).items():
        tensors[name].raw_data = array.tobytes()
    path.write_bytes(model.SerializeToString(deterministic=True))


def _onnx_epsilon(model: onnx.ModelProto) -> bool:
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "epsilon":
                attribute.f *= 10
                return True
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size == 1 and 0 < array.item() < LARGE_EPSILON:
            tensor.CopyFrom(numpy_helper.from_array(array * np.float32(10), tensor.name))
            return True
    return False


def _mindir_epsilon(model: pb.ModelProto) -> bool:
    attributes: list[Any] = [a for node in model.graph.node for a in node.attribute]
    attributes += [a for primitive in model.primitives for a in primitive.attribute]
    for attribute in attributes:
        if 0 < attribute.f < LARGE_EPSILON:
            attribute.f *= 10
            return True
        if any(_enlarge(tensor) for tensor in attribute.tensors):
            return True
    return any(_enlarge(tensor) for tensor in model.graph.parameter)


def _enlarge(tensor: pb.TensorProto) -> bool:
    """Multiplies a tensor by ten if it is one small float32."""
    if tensor.data_type != pb.TensorProto.FLOAT or len(tensor.raw_data) != np.float32().nbytes:
        return False
    value = np.frombuffer(tensor.raw_data, np.float32)
    if not 0 < value[0] < LARGE_EPSILON:
        return False
    tensor.raw_data = (value * np.float32(10)).tobytes()
    return True
