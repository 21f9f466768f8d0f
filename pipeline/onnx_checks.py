"""What an ONNX file claims, proved before a library is let loose on it.

onnx.checker does not look at the places of external data, and passes unknown domains; onnx_ir and
onnxruntime follow functions and values wherever they lead. What is refused here is refused by the
format's own rules (docs/IR.md, docs/ExternalData.md of onnx).
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ascend_migrate.pipeline.checkpoint.faults import FormatError, named, shown
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.onnx_signature import all_tensors, confined

_MAX_NODES = 1_000_000
"""Nodes once all functions are written out; the largest public models have some ten thousand."""

_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_COMPLEX = (14, 15)
"""TensorProto.COMPLEX64 and COMPLEX128, whose elements are two numbers each."""

_STRING = 8
_EXTERNAL = 1


def check_source(path: Path, model: Any) -> None:
    """Refuses what the ONNX libraries would read without a complaint, or never finish.

    Args:
        path: where the graph was read.
        model: the graph, its external data not loaded.

    Raises:
        SourceError: names the tensor, node or value, and the reason.
    """
    with named(path, "an ONNX graph"):
        for graph in (model.graph, *inner_graphs(model.graph.node)):
            _check_weights(graph)
        for tensor in all_tensors(model):
            _check_tensor(path, tensor)
        _check_functions(model)
        _check_domains(model)
        if not model.graph.output:
            raise FormatError("its graph has no output")
        _check_values(model.graph, frozenset())


def _check_weights(graph: Any) -> None:
    names = Counter(tensor.name for tensor in graph.initializer)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise FormatError(f"initializer {shown(twice)} occurs twice")
    if graph.sparse_initializer:
        raise FormatError("sparse initializers are not supported; store them dense")


def _check_tensor(path: Path, tensor: Any) -> None:
    """Holds sizes, element type and data of a tensor against each other."""
    said = f"tensor {shown(tensor.name)}"
    if any(size < 0 for size in tensor.dims):
        raise FormatError(f"{said} has a negative size")
    elements = math.prod(tensor.dims)
    filled = {field: len(getattr(tensor, field)) for field in (*_TYPED, "raw_data")}
    filled = {field: count for field, count in filled.items() if count}
    external = tensor.data_location == _EXTERNAL
    if len(filled) + (external or bool(tensor.external_data)) > 1:
        raise FormatError(f"{said} has its data in two places, inline and external or twice inline")
    if external:
        _check_range(path, said, tensor, _nbytes(said, tensor, elements))
    elif tensor.data_type == _STRING:
        if filled.get("string_data", 0) != elements:
            raise FormatError(f"{said} is not as long as its shape says")
    elif "raw_data" in filled or not filled:
        if filled.get("raw_data", 0) != _nbytes(said, tensor, elements):
            raise FormatError(f"{said} is not as long as its shape and type say")
    else:
        count = next(iter(filled.values()))
        whole = elements * (2 if tensor.data_type in _COMPLEX else 1)
        # Types of 4 and 2 bits may be packed.
        if count != whole and not _bits(said, tensor) < 8 <= _bits(said, tensor) * elements / count:  # noqa: PLR2004
            raise FormatError(f"{said} is not as long as its shape and type say")


def _bits(said: str, tensor: Any) -> int:
    import onnx_ir as ir

    try:
        return int(ir.DataType(tensor.data_type).bitwidth)
    except (ValueError, TypeError):
        raise FormatError(f"{said} has the unknown element type {tensor.data_type}") from None


def _nbytes(said: str, tensor: Any, elements: int) -> int:
    return -(-_bits(said, tensor) * elements // 8)


def _check_range(path: Path, said: str, tensor: Any, needed: int) -> None:
    """Checks the external byte range against what is needed and the file's size."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) != len(tensor.external_data) or "location" not in entries:
        raise FormatError(f"{said} has no single external location")
    try:
        size = confined(path, entries["location"]).stat().st_size
    except SourceError as error:
        raise SourceError(f"{error} ({said})") from None
    offset = _number(said, entries.get("offset") or "0")
    length = _number(said, entries.get("length") or str(needed))
    if length != needed or offset + length > size:
        raise FormatError(
            f"{said} claims bytes {offset}..{offset + length} of {shown(entries['location'])} "
            f"({size} bytes), and its shape and type need {needed}"
        )


def _number(said: str, text: str) -> int:
    # int() would also take signs, blanks, underscores and the digits of other scripts.
    if not (text.isascii() and text.isdecimal() and len(text) < 20):  # noqa: PLR2004 (64 bits)
        raise FormatError(f"{said} has an external offset or length that is no natural number")
    return int(text)


def inner_graphs(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yields the graphs inside nodes, at every depth; the parser ends at 100."""
    for node in nodes:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for graph in (*inner, *attribute.graphs):
                yield graph
                yield from inner_graphs(graph.node)


def _all_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    nodes = list(nodes)
    yield from nodes
    for graph in inner_graphs(nodes):
        yield from graph.node


def _check_functions(model: Any) -> None:
    """Proves that functions do not call themselves, nor grow out of bounds when written out."""
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Iterable[Any], path: frozenset[tuple[str, str]]) -> int:
        total = 0
        for node in _all_nodes(nodes):
            called = (node.domain, node.op_type)
            if called in path:
                raise FormatError(f"function {shown(node.op_type)} calls itself")
            if called in functions and called not in sizes:
                sizes[called] = size(functions[called].node, path | {called})
            total += sizes.get(called, 1)
            if total > _MAX_NODES:
                raise FormatError(f"its functions become more than {_MAX_NODES} nodes; refused")
        return total

    size(model.graph.node, frozenset())
    for key, function in functions.items():
        size(function.node, frozenset((key,)))


def _check_domains(model: Any) -> None:
    known = {"", "ai.onnx", *(function.domain for function in model.functions)}
    nodes = [*model.graph.node, *(n for function in model.functions for n in function.node)]
    for node in _all_nodes(nodes):
        if node.domain not in known:
            raise FormatError(
                f"node {shown(node.name)} ({shown(node.op_type)[1:-1]}) is of the unknown domain "
                f"{shown(node.domain)}; export the model with standard operators"
            )


def _check_values(graph: Any, outer: frozenset[str]) -> set[str]:
    """Proves that each value is made once, and before it is read in some order of the nodes.

    Args:
        graph: the graph, or one inside a node.
        outer: values of the graphs around it, which it may read.

    Returns:
        Those of ``outer`` that it reads.
    """
    known = {item.name for item in (*graph.input, *graph.initializer)}
    makers: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for value in filter(None, node.output):
            _ = value.encode("utf-8")
            if value in makers or value in known:
                raise FormatError(f"the value {shown(value)} is made twice")
            makers[value] = index
    visible = outer | known | makers.keys()
    borrowed: set[str] = set()
    waiting: list[set[int]] = []
    for node in graph.node:
        read = set(filter(None, node.input))
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for one in (*inner, *attribute.graphs):
                read |= _check_values(one, visible)
        if unknown := read - visible:
            raise FormatError(
                f"node {shown(node.name)} reads {shown(min(unknown))}, which nothing makes"
            )
        borrowed |= read - known - makers.keys()
        waiting.append({makers[value] for value in read if value in makers})
    for item in graph.output:
        if item.name not in visible:
            raise FormatError(f"nothing makes its output {shown(item.name)}")
        borrowed |= {item.name} - known - makers.keys()
    if (stuck := _unordered(waiting)) is not None:
        raise FormatError(f"node {shown(graph.node[stuck].name)} waits for its own result")
    return borrowed


def _unordered(waiting: list[set[int]]) -> int | None:
    """Returns a node in a cycle, if there is one; ``waiting`` has what each node waits for."""
    followers: dict[int, list[int]] = {}
    for index, needed in enumerate(waiting):
        for other in needed:
            followers.setdefault(other, []).append(index)
    open_ = [len(needed) for needed in waiting]
    ready = [index for index, count in enumerate(open_) if not count]
    done = 0
    while ready:
        done += 1
        for follower in followers.get(ready.pop(), ()):
            open_[follower] -= 1
            if not open_[follower]:
                ready.append(follower)
    return None if done == len(waiting) else next(i for i, n in enumerate(open_) if n)
