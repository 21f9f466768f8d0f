"""What a lower precision costs an ONNX source, foreseen without the artifact.

The graph runs in float32 on onnxruntime, with a cast to the lower type and back around every node
that the policy lowers. onnxruntime itself computes float16 nodes in float32 on the CPU, and rounds
nothing between them, so that it would show neither noise nor overflow.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.precision import MOVES, SPREADING, Precision, module_of

if TYPE_CHECKING:
    import onnx

MADE = "/unrounded"
"""What ends the name of a result before it is rounded."""


def rounded(path: Path, precision: Precision) -> "onnx.ModelProto":
    """Returns the model with every result that the policy lowers rounded to the lower type."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    _Rounding(precision).graph(model.graph, frozenset(), frozenset())
    return model


def unrounded_results(model: "onnx.ModelProto") -> list[str]:
    """Returns the results of the main graph before they are rounded, in its order."""
    return [name for node in model.graph.node for name in node.output if name.endswith(MADE)]


class _Rounding:
    def __init__(self, precision: Precision) -> None:
        self._precision = precision
        self._low = BY_NAME[precision.dtype].onnx

    def graph(
        self, graph: "onnx.GraphProto", floats: frozenset[str], beyond: frozenset[str]
    ) -> None:
        """Puts casts into a graph and its subgraphs, in place.

        Args:
            graph: the main graph, or one inside a node.
            floats: names of the float32 tensors that it sees.
            beyond: names of the tensors that carry constants out of the lower type's range.
        """
        floats |= _float32_names(graph)
        wide = set(beyond) | {t.name for t in graph.initializer if self._is_beyond(t)}
        nodes = list(graph.node)
        del graph.node[:]
        for index, node in enumerate(nodes):
            inner = [a.g for a in node.attribute if a.HasField("g")]
            for body in inner:
                self.graph(body, floats, frozenset(wide))
            touched = wide.intersection(node.input)
            if touched and node.op_type in MOVES | SPREADING:
                wide.update(node.output)
            if node.op_type == "Constant" and any(self._is_beyond(a.t) for a in node.attribute):
                wide.update(node.output)
            if inner or touched or not self._lowers(node):
                graph.node.append(node)
                continue
            graph.node.extend(self._around(node, index, floats))

    def _lowers(self, node: "onnx.NodeProto") -> bool:
        if node.op_type in MOVES or node.op_type in PLAIN:
            return False
        module = module_of({item.key: item.value for item in node.metadata_props})
        return not self._precision.keeps(node.op_type, module, node.name)

    def _around(
        self, node: "onnx.NodeProto", index: int, floats: frozenset[str]
    ) -> list["onnx.NodeProto"]:
        """Returns the node between casts of what it reads and of what it makes."""
        before: list[onnx.NodeProto] = []
        after: list[onnx.NodeProto] = []
        for place, name in enumerate(node.input):
            if name in floats:
                node.input[place] = f"{name}/rounded_{index}_{place}"
                before += self._pair(name, node.input[place])
        for place, name in enumerate(node.output):
            if name in floats:
                node.output[place] = f"{name}{MADE}"
                after += self._pair(node.output[place], name)
        return [*before, node, *after]

    def _pair(self, name: str, into: str) -> Iterator["onnx.NodeProto"]:
        import onnx

        yield onnx.helper.make_node("Cast", [name], [f"{into}/low"], to=self._low)
        yield onnx.helper.make_node("Cast", [f"{into}/low"], [into], to=onnx.TensorProto.FLOAT)

    def _is_beyond(self, tensor: "onnx.TensorProto") -> bool:
        import onnx

        if tensor.data_type != onnx.TensorProto.FLOAT:
            return False
        array = onnx.numpy_helper.to_array(tensor)
        finite = np.abs(array[np.isfinite(array)])
        return bool(finite.size) and float(finite.max()) > self._precision.largest


PLAIN = frozenset({"Cast", "Constant", "ConstantOfShape", "Range", "Shape", "Size"})
"""Operators that compute nothing that rounding would change, or have no lower form."""


def _float32_names(graph: "onnx.GraphProto") -> frozenset[str]:
    import onnx

    infos = (*graph.input, *graph.output, *graph.value_info)
    named = {i.name for i in infos if i.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    named |= {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    return frozenset(named)
