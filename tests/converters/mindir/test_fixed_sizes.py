"""Dynamic dimensions of a graph get one size each."""

from onnx import TensorProto, helper

from ascend_migrate.converters.mindir.fixed_sizes import fix_sizes
from ascend_migrate.pipeline.inputs import parse_inputs


def test_what_the_graph_says_about_a_size_is_replaced_or_forgotten() -> None:
    kind = TensorProto.FLOAT
    said: list[str | int | None] = ["batch", "time", "time//2", "2*other", "timeless", 7]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", kind, ["batch", "time", None])],
        [helper.make_tensor_value_info("y", kind, ["batch", "time", None])],
        value_info=[helper.make_tensor_value_info("inner", kind, said)],
    )
    inputs, faults = parse_inputs(["x=float32[n=1..4,t=8|16,last=2..3]"])
    assert not faults
    fix_sizes(graph, inputs, {"t": 16, "last": 3})
    found = {
        info.name: [d.dim_value or d.dim_param or None for d in info.type.tensor_type.shape.dim]
        for info in (*graph.input, *graph.value_info, *graph.output)
    }
    assert found == {
        "x": ["batch", 16, 3],
        # Without a name nothing connects it with the input.
        "y": ["batch", 16, None],
        "inner": ["batch", 16, None, "2*other", "timeless", 7],
    }
