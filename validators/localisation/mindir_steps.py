"""A MindIR graph whose intermediates are made outputs, some hundred at a time, for MindSpore."""

import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ascend_migrate.pipeline import mind_ir_pb2 as pb
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.mindir_format import (
    DATA_TYPES,
    external_files,
    read_model,
    read_signature,
)
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.closing import Closing
from ascend_migrate.validators.localisation.steps import Alone, Seen, Step, depends
from ascend_migrate.validators.mindir_edit import link, write_model
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.original import Outputs

_AT_A_TIME = 256
"""Intermediates that are made outputs together: their memory counts, and each time is a compile."""

_NO_TENSORS = frozenset({"MakeTuple", "Shape", "Partial", "Switch"})
"""Primitives whose result is a tuple, a size or a function; so is every one named Scalar."""


class MindirSteps(Closing):
    """The main graph in the file ``path``, in a MindSpore process of its own.

    Args:
        path: a .mindir file written by us.
        limits: of that process.

    Raises:
        SourceError: not such a file.
        ToolchainError: MindSpore is missing.
    """

    def __init__(self, path: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self._path = path
        self._signature = read_signature(path)
        self._model = read_model(path)
        graph = self._model.graph
        self._operators = {entry.name: entry.op_type for entry in self._model.primitives}
        constants = {n.output[0] for n in graph.node if n.op_type == "Constant"}
        self._stored = constants | {tensor.name for tensor in graph.parameter}
        self._given = [info.name for info in graph.input]
        self._last = graph.output[0].name
        self._nodes = {n.output[0]: n for n in graph.node if n.op_type != "Constant"}
        results = list(self._nodes.pop(self._last).input)
        names = [info.name for info in self._signature.outputs]
        self.outputs: Mapping[str, str] = dict(zip(names, results, strict=True))
        self.steps: Sequence[Step] = [self._step(node) for node in self._nodes.values()]
        self._process = MindSporeProcess(limits)

    def close(self) -> None:
        """Ends the process."""
        self._process.close()

    def observe(
        self, feeds: Mapping[str, Array], seen: Seen, replace: Mapping[str, Array]
    ) -> Outputs:
        """Runs the graph once for some hundred intermediates, and returns its outputs."""
        given = [_plain(feeds[info.name]) for info in self._signature.inputs]
        found: list[np.ndarray] = []
        for start in range(0, max(1, len(self._shown)), _AT_A_TIME):
            names = self._shown[start : start + _AT_A_TIME]
            with tempfile.TemporaryDirectory(prefix="steps-") as folder:
                path = self._written(Path(folder), names, replace)
                key = self._process.load(path, self._signature.inputs)
                found = self._process.run(key, given)
            if len(found) != len(self.outputs) + len(names):
                raise CheckError(f"{self._path}: MindSpore shows other values than asked for")
            for name, array in zip(names, found[len(self.outputs) :], strict=True):
                seen(name, array)
        return dict(zip(self.outputs, found[: len(self.outputs)], strict=True))

    def alone(self, numbers: Sequence[int], known: Mapping[str, Array]) -> Alone:
        """Returns a few steps as a MindIR model, weights inside."""
        steps = [self.steps[number] for number in numbers]
        made = [name for step in steps for name in step.outputs]
        read = dict.fromkeys(name for step in steps for name in step.inputs)
        outer = [name for name in read if name not in made and name not in self._stored]
        model = pb.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        kept = [n for n in graph.node if n.output[0] in made or n.output[0] in read]
        last = next(n for n in self._model.graph.node if n.output[0] == self._last)
        kept = [n for n in kept if n.op_type == "Constant" or n.output[0] in made]
        del graph.node[:], graph.input[:]
        graph.node.extend([*kept, last])
        del graph.node[-1].input[:]
        graph.node[-1].input.append(made[-1])
        for name in outer:
            tensor = graph.input.add(name=name).tensor.add(dims=known[name].shape)
            tensor.data_type = DATA_TYPES[known[name].dtype.name]
        weights = [p for p in graph.parameter if p.name in read]
        del graph.parameter[:]
        for weight in weights:
            graph.parameter.add().CopyFrom(self._inside(weight))
        return Alone(
            model.SerializeToString(deterministic=True), ".mindir", {n: known[n] for n in outer}
        )

    def _inside(self, tensor: pb.TensorProto) -> pb.TensorProto:
        """Returns a weight with its bytes."""
        if tensor.HasField("external_data"):
            place = tensor.external_data
            with (self._path.parent / place.location).open("rb") as stream:
                stream.seek(place.offset)
                tensor.raw_data = stream.read(place.length)
            tensor.ClearField("external_data")
        return tensor

    def numbers(self, number: int) -> dict[str, Any]:
        """Returns the constants that a step takes."""
        found = {}
        for node in self._model.graph.node:
            if node.op_type == "Constant" and node.output[0] in self.steps[number].stored:
                value = node.attribute[0]
                if value.type in (pb.AttributeProto.FLOAT, pb.AttributeProto.INT64):
                    found[node.name] = value.f or value.i
        return found

    @cached_property
    def _shown(self) -> list[str]:
        """Names of the tensors that depend on the inputs."""
        live = depends(self.steps, self._given)
        tuples = {n.input[0] for n in self._nodes.values() if self._operator(n) == "TupleGetItem"}
        return [
            name
            for name, node in self._nodes.items()
            if name in live and name not in tuples and self._is_tensor(node)
        ]

    def _is_tensor(self, node: pb.NodeProto) -> bool:
        operator = self._operator(node)
        if operator == "TupleGetItem":
            source = self._nodes.get(node.input[0])
            return source is not None and self._operator(source) not in _NO_TENSORS | {""}
        return bool(operator) and operator not in _NO_TENSORS and "Scalar" not in operator

    def _step(self, node: pb.NodeProto) -> Step:
        reads = tuple(dict.fromkeys(node.input))
        stored = tuple(name for name in reads if name in self._stored)
        operator = self._operator(node)
        return Step(node.domain or node.name, operator, "", reads, stored, tuple(node.output))

    def _operator(self, node: pb.NodeProto) -> str:
        return self._operators.get(node.op_type.removeprefix("REF::"), "")

    def _written(self, folder: Path, names: Sequence[str], replace: Mapping[str, Array]) -> Path:
        model = pb.ModelProto()
        model.CopyFrom(self._model)
        for node in model.graph.node:
            if node.output[0] == self._last:
                node.input.extend(names)
            elif node.output[0] in replace:
                _hold(node, replace[node.output[0]])
        for name in external_files(self._path):
            link((self._path.parent / name).resolve(), folder / name)
        return write_model(model, self._path, folder)


def _plain(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _hold(node: pb.NodeProto, array: Array) -> None:
    """Makes a constant of a node."""
    node.op_type = "Constant"
    del node.input[:], node.attribute[:]
    attribute = node.attribute.add(name="value", type=pb.AttributeProto.TENSORS)
    tensor = attribute.tensors.add(data_type=DATA_TYPES[array.dtype.name])
    tensor.dims.extend(array.shape)
    tensor.raw_data = np.ascontiguousarray(array).tobytes()
