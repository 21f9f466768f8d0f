"""What a case is: one small graph around one operator, and what it is fed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IR_VERSION = 10
"""Accepted by every onnxruntime of our range."""

RNG = np.random.default_rng(7)


def f(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def u(*shape: int, low: float = 0.1, high: float = 0.9) -> np.ndarray:
    return RNG.uniform(low, high, shape).astype(np.float32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@dataclass(frozen=True)
class Case:
    """One node.

    Attributes:
        id: name of the test.
        op: operator.
        inputs: arrays fed when the graph runs; None where an optional input is left out.
        constants: inputs that are initializers, by position.
        attributes: of the node.
        outputs: how many it has.
        opset: of the graph.
        dynamic: declared sizes of fed inputs: {0: ("n", 3)} makes the first dimension dynamic.
        sizes: dynamic sizes to run at besides those of the arrays themselves.
        rtol: tolerance, where rounding in another order is not all that differs.
    """

    id: str
    op: str
    inputs: Sequence[np.ndarray | None]
    constants: Mapping[int, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 17
    dynamic: Mapping[int, Sequence[int | str]] = field(default_factory=dict)
    sizes: Sequence[Mapping[str, int]] = ()
    rtol: float | None = None

    def model(self) -> onnx.ModelProto:
        slots = dict(enumerate(self.inputs)) | dict(self.constants)
        names = [f"x{i}" if slots.get(i) is not None else "" for i in range(max(slots) + 1)]
        fed = [
            helper.make_tensor_value_info(
                f"x{i}", helper.np_dtype_to_tensor_dtype(a.dtype), self._declared(i, a)
            )
            for i, a in self._fed()
        ]
        made = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.op, names, made, self.id, **dict(self.attributes))
        stored = [
            numpy_helper.from_array(np.asarray(v), f"x{i}") for i, v in self.constants.items()
        ]
        results = [onnx.ValueInfoProto(name=name) for name in made]
        graph = helper.make_graph([node], "case", fed, results, stored)
        opset = helper.make_opsetid("", self.opset)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        inferred = onnx.shape_inference.infer_shapes(model)
        for info in inferred.graph.output:
            if info.type.tensor_type.elem_type == TensorProto.UNDEFINED:
                # Function operators have no inference of their own; ours yield the input's type.
                info.type.tensor_type.elem_type = fed[0].type.tensor_type.elem_type
        return inferred

    def feeds(self, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Returns the arrays, repeated or cut where a dynamic size is another one."""
        return {f"x{i}": np.resize(a, self._sizes(i, a, sizes)) for i, a in self._fed()}

    def all_sizes(self) -> list[Mapping[str, int]]:
        """Returns the sizes of the arrays, then those given or else 1 and twice as many."""
        own = {
            name: size
            for i, a in self._fed()
            for name, size in zip(self._declared(i, a), a.shape, strict=True)
            if isinstance(name, str)
        }
        if not own:
            return [{}]
        others = [dict.fromkeys(own, 1), {name: 2 * size for name, size in own.items()}]
        return [own, *(self.sizes or others)]

    def as_type(self, dtype: type[np.floating[Any]]) -> "Case":
        """Returns the same case with its floating inputs in another type."""
        scales = 2 if self.op == "Resize" else None  # float32 whatever the image is
        return replace(
            self,
            id=f"{self.id}-{dtype.__name__}",
            inputs=[_cast(a, dtype) for a in self.inputs],
            constants={i: a if i == scales else _cast(a, dtype) for i, a in self.constants.items()},
            rtol=None,
        )

    def _fed(self) -> list[tuple[int, np.ndarray]]:
        return [
            (i, a) for i, a in enumerate(self.inputs) if a is not None and i not in self.constants
        ]

    def _declared(self, index: int, array: np.ndarray) -> Sequence[int | str]:
        return self.dynamic.get(index, array.shape)

    def _sizes(self, index: int, array: np.ndarray, sizes: Mapping[str, int]) -> list[int]:
        declared = self._declared(index, array)
        return [size if isinstance(size, int) else sizes[size] for size in declared]


def _cast(array: Any, dtype: type[np.floating[Any]]) -> Any:
    if array is None or np.asarray(array).dtype != np.float32:
        return array
    return np.asarray(array).astype(dtype)
