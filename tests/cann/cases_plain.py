"""Attributes, and branches and loops."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from tests.cann.case import BOOL, F32, I8, I32, I64, ROUNDING, U8, Case, floats, ints
from tests.cann.graphs import model_of, one


def plain_cases() -> list[Case]:
    whole = {"x": TensorProto.INT32, "y": TensorProto.INT32}
    some = [3, 4]
    fmod: dict[str, Any] = {"fmod": 1}
    divisor = np.array([3, -3, 7, -128], dtype=np.int8)
    return [
        Case("mod-fmod", "float", one("Mod", {"x": some, "d": floats(0.7, -0.3, 1.1, -9)}, **fmod)),
        Case(
            "mod-fmod", "int8", one("Mod", {"x": [300, 4], "d": divisor}, kinds={"x": I8}, **fmod)
        ),
        Case(
            "mod-fmod",
            "int32",
            one("Mod", {"x": some, "d": np.array([3, -3, 7, -1], I32)}, kinds=whole, **fmod),
        ),
        Case(
            "mod-fmod",
            "uint8",
            one(
                "Mod", {"x": some, "d": np.array([3, 9, 7, 255], np.uint8)}, kinds={"x": U8}, **fmod
            ),
        ),
        Case("shape-start-end", "1 to -1", one("Shape", {"x": [2, 3, 4, 5]}, start=1, end=-1)),
        Case(
            "reduce-noop",
            "sum",
            one("ReduceSum", {"x": some, "axes": None}, noop_with_empty_axes=1),
        ),
        Case(
            "reduce-noop",
            "axes",
            one("ReduceSum", {"x": some, "axes": ints(1)}, noop_with_empty_axes=1),
        ),
        Case(
            "argmax-last-index",
            "bytes",
            one("ArgMax", {"x": [9, 40]}, kinds={"x": U8}, axis=1, select_last_index=1),
        ),
        Case(
            "argmin-last-index",
            "kept out",
            one("ArgMin", {"x": [40, 9]}, axis=0, keepdims=0, select_last_index=1),
        ),
        Case("transpose-perm", "none", one("Transpose", {"x": [2, 3, 4]})),
        Case("depthtospace-block", "1", one("DepthToSpace", {"x": [1, 4, 2, 2]}, blocksize=1)),
        Case(
            "dropout-seed",
            "mask",
            one("Dropout", {"x": some, "ratio": np.array(0.4, F32)}, outputs=("y", "mask"), seed=3),
        ),
        Case(
            "batchnorm-training",
            "momentum",
            one(
                "BatchNormalization",
                {
                    "x": [2, 3, 4, 4],
                    "s": floats(1, 2, 3),
                    "b": floats(0, 1, 2),
                    "m": floats(0, 0.1, 0.2),
                    "v": floats(1, 2, 3),
                },
                momentum=0.3,
            ),
        ),
        Case("unregistered", "CastLike", one("CastLike", {"x": some, "like": np.zeros(1, I32)})),
        Case(
            "unregistered",
            "NegativeLogLikelihoodLoss",
            one("NegativeLogLikelihoodLoss", {"x": [3, 5], "t": np.array([1, 0, 4])}),
            ROUNDING,
        ),
    ]


def integer_cases() -> list[Case]:
    """Whole numbers of 64 bits, for which some chip has no kernel."""
    long: dict[str, Any] = {"a": TensorProto.INT64}
    far = np.array([0, 1, -1, 2**62 + 1, -(2**62) - 1, 5, -7, 2**33], I64)
    divisor = np.array([3, -3, 7, -(2**40) - 1], I64)

    def case(name: str, model: onnx.ModelProto, **more: Any) -> Case:
        return Case("no-kernel", name, model, **more)

    return [
        case("Sign", one("Sign", {"a": [8]}, kinds=long), fed={"a": far}),
        case("Abs", one("Abs", {"a": [8]}, kinds=long), fed={"a": far}),
        case("Mod", one("Mod", {"a": [200, 4], "d": divisor}, kinds=long)),
        case("Mod, far", one("Mod", {"a": [8], "d": ints(-1000003)}, kinds=long), fed={"a": far}),
        case("Mod of C", one("Mod", {"a": [200, 4], "d": divisor}, kinds=long, fmod=1)),
    ]


def control_cases() -> list[Case]:
    def info(name: str, kind: int = TensorProto.FLOAT, shape: Any = ()) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    def node(op: str, inputs: list[str], outputs: list[str], **more: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs, outputs, **more)

    def number(name: str, value: Any) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(np.array(value), name)

    two = [2]
    body = helper.make_graph(
        [
            node("Mul", ["s", "factor"], ["next"]),
            node("Add", ["next", "x"], ["row"]),
            node("Identity", ["going"], ["goes_on"]),
        ],
        "body",
        [info("trip", TensorProto.INT64), info("going", BOOL), info("s", shape=two)],
        [info("goes_on", BOOL), info("next", shape=two), info("row", shape=two)],
        [number("factor", F32(1.5))],
    )
    step = helper.make_graph(
        [node("Add", ["s", "item"], ["sum"]), node("Mul", ["sum", "sum"], ["square"])],
        "step",
        [info("s", shape=two), info("item", shape=two)],
        [info("sum", shape=two), info("square", shape=two)],
    )
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(op, ["x"], ["made"])], name, [], [info("made", shape=two)]
        )
        for name, op in (("then", "Neg"), ("else", "Abs"))
    }
    fed = [info("x", shape=two)]
    loop = node("Loop", ["count", "", "x"], ["last", "rows"], name="the_node", body=body)
    scan = node(
        "Scan",
        ["x", "rows"],
        ["last", "squares"],
        name="the_node",
        body=step,
        num_scan_inputs=1,
        scan_input_directions=[1],
    )
    taken = node("If", ["condition"], ["y"], name="the_node", **branches)
    rule = "control-flow"
    return [
        Case(rule, "Loop", model_of([loop], fed, ["last", "rows"], [number("count", 4)])),
        Case(
            rule, "Scan", model_of([scan], [*fed, info("rows", shape=[5, 2])], ["last", "squares"])
        ),
        Case(rule, "If true", model_of([taken], fed, ["y"], [number("condition", True)])),
        Case(rule, "If false", model_of([taken], fed, ["y"], [number("condition", False)])),
    ]
