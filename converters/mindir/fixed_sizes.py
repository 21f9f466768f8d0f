"""Gives dynamic dimensions of an ONNX graph one size each, before any shape is inferred."""

import re
from collections.abc import Iterable, Mapping

import onnx

from ascend_migrate.pipeline.inputs import Dim, InputSpec


def fix_sizes(
    graph: onnx.GraphProto, inputs: Iterable[InputSpec], sizes: Mapping[str, int]
) -> None:
    """Replaces dimensions, and what the graph says about them, in place.

    Args:
        graph: its symbols may have other names than the declared dimensions.
        inputs: as declared.
        sizes: by name of the dimension; others stay dynamic.
    """
    declared = {item.name: item.shape for item in inputs}
    symbols: dict[str, int] = {}
    for info in graph.input:
        shape = declared.get(info.name, ())
        for dim, size in zip(shape, info.type.tensor_type.shape.dim, strict=False):
            if isinstance(dim, Dim) and dim.name in sizes and not size.HasField("dim_value"):
                symbols[size.dim_param] = sizes[dim.name]
                size.dim_value = sizes[dim.name]
    symbols.pop("", None)
    if not symbols:
        return
    mentioned = re.compile(rf"\b(?:{'|'.join(map(re.escape, symbols))})\b")
    for info in (*graph.input, *graph.value_info, *graph.output):
        for size in info.type.tensor_type.shape.dim:
            if size.dim_param in symbols:
                size.dim_value = symbols[size.dim_param]
            elif mentioned.search(size.dim_param):
                # An expression such as "time//2": shape inference will say what it comes to.
                size.Clear()
