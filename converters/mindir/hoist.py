"""Moves the initializers of inner graphs to the main graph, where every weight is looked for."""

from collections.abc import Iterator

import onnx


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Returns the branches or the body of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Returns the nodes of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node
        for inner in inner_graphs(node):
            yield from all_nodes(inner)


def hoist_initializers(main: onnx.GraphProto) -> None:
    """Moves them in place; one whose name is taken gets that of its node before it.

    An inner graph sees all that is around it, so that nothing else changes.
    """
    taken = {tensor.name for tensor in main.initializer}
    taken.update(info.name for info in main.input)
    taken.update(name for node in all_nodes(main) for name in node.output)
    for node in all_nodes(main):
        for graph in inner_graphs(node):
            for tensor in graph.initializer:
                name = tensor.name
                while name in taken:
                    name = f"{node.name or node.output[0]}/{name}"
                taken.add(name)
                if name != tensor.name:
                    _rename(graph, tensor.name, name)
                main.initializer.add().CopyFrom(tensor)
                main.initializer[-1].name = name
            del graph.initializer[:]


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in all_nodes(graph):
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
    for inner in (graph, *(g for node in all_nodes(graph) for g in inner_graphs(node))):
        for info in inner.output:
            if info.name == old:
                info.name = new
