"""ONNX files that read elsewhere, lie about sizes, or nest without end."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tests.hostile.case import GRAPH, Case

WEIGHT = np.arange(64, dtype=np.float32)
DATA = "weights.bin"
OUTSIDE = "../../secret/outside.safetensors"

Proto = Any
Change = Callable[[Proto, Path], object]


def model(external: bool = False) -> Proto:
    """Y = x + w, with w inside or in a file of its own."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [64])
    weight = numpy_helper.from_array(WEIGHT, "w")
    node = helper.make_node("Add", ["x", "w"], ["y"], "add")
    graph = helper.make_graph([node], "g", [x], [y], [weight])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if external:
        place(proto.graph.initializer[0], DATA)
    return proto


def place(tensor: Proto, location: str, **more: Any) -> None:
    """Moves a tensor's data to a file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))


def _of(change: Change, external: bool) -> Callable[[Path], None]:
    def write(home: Path) -> None:
        (home / DATA).write_bytes(WEIGHT.tobytes())
        proto = model(external)
        data = change(proto, home)
        path = home / "evil.onnx"
        path.write_bytes(data if isinstance(data, bytes) else proto.SerializeToString())

    return write


def _placed(location: str, **more: Any) -> Change:
    return lambda proto, home: place(proto.graph.initializer[0], location, **more)


def _link(to: str, name: str = DATA) -> Change:
    def change(proto: Proto, home: Path) -> None:
        (home / name).unlink(missing_ok=True)
        (home / name).symlink_to(to)
        place(proto.graph.initializer[0], name)

    return change


def _hard_link(proto: Proto, home: Path) -> None:
    (home / DATA).unlink()
    os.link(home.parent / "secret/outside.safetensors", home / DATA)


def _pipe(proto: Proto, home: Path) -> None:
    os.mkfifo(home / "pipe")
    place(proto.graph.initializer[0], "pipe")


def _below(proto: Proto, home: Path) -> None:
    (home / "below").symlink_to(home.parent / "secret")
    place(proto.graph.initializer[0], "below/outside.safetensors")


def _twice(proto: Proto, home: Path) -> None:
    proto.graph.initializer[0].external_data.add(key="location", value=OUTSIDE)


def _external() -> dict[str, tuple[Change, str]]:
    leaves, natural = "leaves", ""
    big = str(2**63)
    return {
        "data above the folder": (_placed(OUTSIDE), leaves),
        "data above and back": (_placed(f"../home/{DATA}"), leaves),
        "data at an absolute place": (_placed("/etc/hostname"), leaves),
        "data by backslashes": (_placed("..\\..\\secret"), leaves),
        "data with a NUL": (_placed(f"{DATA}\0.txt"), ""),
        "data without a name": (_placed(""), leaves),
        "data in the folder itself": (_placed("."), ""),
        "data with a name of 100 000 letters": (_placed("a" * 100_000), ""),
        "data with terminal codes": (_placed("\x1b[2J\x07\n"), ""),
        "data that are missing": (_placed("none.bin"), ""),
        "data behind a link out": (_link("../secret/outside.safetensors"), ""),
        "data behind an absolute link": (_link("/etc/hostname"), ""),
        "data behind a link to itself": (_link(DATA), ""),
        "data below a link out": (
            _below,
            "",
        ),
        "data in a pipe": (_pipe, ""),
        "data in a device": (_link("/dev/zero"), ""),
        "an offset past the end": (_placed(DATA, offset=4), ""),
        "a negative offset": (_placed(DATA, offset=-4), ""),
        "an offset of 2**63": (_placed(DATA, offset=big), ""),
        "an offset of 100 000 digits": (_placed(DATA, offset="9" * 100_000), ""),
        "an offset that is no number": (_placed(DATA, offset="__import__('os')"), ""),
        "an offset in Arabic digits": (_placed(DATA, offset="\u0660"), ""),
        "an offset with underscores": (_placed(DATA, offset="0_0"), ""),
        "a length past the end": (_placed(DATA, length=260), ""),
        "a length that is short": (_placed(DATA, length=4), ""),
        "a negative length": (_placed(DATA, length=-1), ""),
        "a length of 2**63": (_placed(DATA, length=big), ""),
        "two locations": (_twice, natural),
        "data outside and inside": (
            lambda p, h: setattr(p.graph.initializer[0], "raw_data", WEIGHT.tobytes()),
            "",
        ),
        "data that are empty": (lambda p, h: (h / DATA).write_bytes(b""), ""),
        "data that are cut off": (lambda p, h: os.truncate(h / DATA, 255), ""),
    }


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _deep(proto: Proto, home: Path) -> bytes:
    """Graphs within graphs, 10 000 levels, deeper than any parser's stack."""
    graph = b""
    for _ in range(10_000):
        attribute = _field(1, b"then_branch") + _field(6, graph) + b"\xa0\x01\x05"
        graph = _field(1, _field(4, b"If") + _field(5, attribute))
    return b"\x08\x08" + _field(7, graph) + _field(8, b"\x10\x11")


def _nested(levels: int) -> Change:
    def change(proto: Proto, home: Path) -> None:
        inner = helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["z"])],
            "inner",
            [],
            [helper.make_tensor_value_info("z", TensorProto.FLOAT, [64])],
        )
        place_ = helper.make_tensor("c", TensorProto.BOOL, [], [True])
        for _ in range(levels):
            node = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
            inner = helper.make_graph([node], "inner", [], list(inner.output))
        proto.graph.initializer.append(place_)
        proto.graph.node[0].CopyFrom(helper.make_node("Add", ["z", "x"], ["y"]))
        proto.graph.node.insert(0, inner.node[0])

    return change


def _escaping_constant(proto: Proto, home: Path) -> None:
    value = numpy_helper.from_array(WEIGHT, "value")
    place(value, OUTSIDE)
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=value))


def _escaping_subgraph(proto: Proto, home: Path) -> None:
    _nested(1)(proto, home)
    value = numpy_helper.from_array(WEIGHT, "v")
    place(value, OUTSIDE)
    proto.graph.node[0].attribute[0].g.initializer.append(value)


def _function(proto: Proto, *nodes: Any, domain: str = "local", name: str = "F") -> None:
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    proto.functions.append(helper.make_function(domain, name, ["a"], ["b"], list(nodes), opset))
    if not any(o.domain == domain for o in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid(domain, 1))


def _cyclic_function(proto: Proto, home: Path) -> None:
    _function(proto, helper.make_node("F", ["a"], ["b"], domain="local"))
    proto.graph.node[0].CopyFrom(helper.make_node("F", ["x"], ["y"], domain="local"))


def _cyclic_functions(proto: Proto, home: Path) -> None:
    _function(proto, helper.make_node("G", ["a"], ["b"], domain="local"))
    _function(proto, helper.make_node("F", ["a"], ["b"], domain="local"), name="G")
    proto.graph.node[0].CopyFrom(helper.make_node("F", ["x"], ["y"], domain="local"))


def _exploding_functions(proto: Proto, home: Path) -> None:
    """Each calls the next one twice, 40 times over."""
    for level in range(40):
        if level == 39:
            nodes = [helper.make_node("Neg", ["a"], ["b"])]
        else:
            call = f"F{level + 1}"
            nodes = [
                helper.make_node(call, ["a"], ["m"], domain="local"),
                helper.make_node(call, ["m"], ["b"], domain="local"),
            ]
        _function(proto, *nodes, name=f"F{level}")
    proto.graph.node[0].CopyFrom(helper.make_node("F0", ["x"], ["y"], domain="local"))


def _escaping_function(proto: Proto, home: Path) -> None:
    value = numpy_helper.from_array(WEIGHT, "v")
    place(value, OUTSIDE)
    _function(proto, helper.make_node("Constant", [], ["b"], value=value))
    proto.graph.node[0].CopyFrom(helper.make_node("F", ["x"], ["y"], domain="local"))


def _tensor(**fields: Any) -> Change:
    """Changes the weight."""

    def change(proto: Proto, home: Path) -> None:
        tensor = proto.graph.initializer[0]
        for name, value in fields.items():
            if name == "dims":
                del tensor.dims[:]
                tensor.dims.extend(value)
            else:
                setattr(tensor, name, value)

    return change


def _opset(version: int, domain: str = "") -> Change:
    def change(proto: Proto, home: Path) -> None:
        proto.opset_import[0].version = version
        proto.opset_import[0].domain = domain

    return change


def _node(op: str, inputs: list[str], **attributes: Any) -> Change:
    def change(proto: Proto, home: Path) -> None:
        proto.graph.node[0].CopyFrom(helper.make_node(op, inputs, ["y"], "evil", **attributes))

    return change


def _inline() -> dict[str, tuple[Change, str]]:
    good: bytes = model().SerializeToString()

    def bad_text(proto: Proto, home: Path) -> bytes:
        return good.replace(b"\x1a\x03add", b"\x1a\x03\xff\xfe\xff")

    def sparse(proto: Proto, home: Path) -> None:
        values = numpy_helper.from_array(WEIGHT[:1], "s")
        indices = numpy_helper.from_array(np.array([2**40]), "i")
        proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [64]))

    def cycle(proto: Proto, home: Path) -> None:
        proto.graph.node[0].input[0] = "z"
        proto.graph.node.append(helper.make_node("Neg", ["y"], ["z"]))

    return {
        "data that are short": (_tensor(raw_data=bytes(255)), ""),
        "data that are long": (_tensor(raw_data=bytes(260)), ""),
        "no data": (_tensor(raw_data=b""), ""),
        "a negative size": (_tensor(dims=[-64]), ""),
        "two negative sizes": (_tensor(dims=[-8, -8]), ""),
        "a size of 2**62": (_tensor(dims=[2**62, 4]), ""),
        "sizes whose product is 0 modulo 2**64": (_tensor(dims=[2**32, 2**32], raw_data=b""), ""),
        "an element type of the future": (_tensor(data_type=99), ""),
        "an element type that is none": (_tensor(data_type=0), ""),
        "text as weights": (_tensor(data_type=TensorProto.STRING), ""),
        "data in two places": (lambda p, h: p.graph.initializer[0].float_data.append(1), ""),
        "an initializer twice": (
            lambda p, h: p.graph.initializer.append(p.graph.initializer[0]),
            "twice",
        ),
        "a sparse initializer": (sparse, "sparse"),
        "opset 9999": (_opset(9999), "opset"),
        "opset 0": (_opset(0), "opset"),
        "opset -1": (_opset(-1), "opset"),
        "opset 1": (_opset(1), "opset"),
        "opsets twice": (
            lambda p, h: p.opset_import.append(helper.make_opsetid("", 16)),
            "versions",
        ),
        "only an unknown domain": (_opset(1, "evil"), ""),
        "no opset": (lambda p, h: p.ClearField("opset_import"), ""),
        "no graph": (lambda p, h: p.ClearField("graph"), ""),
        "an unknown operator": (_node("Evil", ["x"]), "Evil"),
        "an operator of an unknown domain": (_node("Evil", ["x"], domain="evil"), "evil"),
        "a PyOp": (_node("PyOp", ["x"], domain="ai.onnx.contrib"), "PyOp"),
        "an input that nothing makes": (_node("Add", ["x", "none"]), "none"),
        "a node in a cycle": (cycle, ""),
        "a value that is made twice": (
            lambda p, h: p.graph.node.append(p.graph.node[0]),
            "",
        ),
        "an output that nothing makes": (lambda p, h: p.graph.node.pop(), ""),
        "no outputs": (lambda p, h: p.graph.ClearField("output"), ""),
        "too many inputs of an operator": (_node("Neg", ["x", "x", "x"]), ""),
        "graphs 10 000 levels deep": (_deep, ""),
        "a function that calls itself": (_cyclic_function, ""),
        "functions that call each other": (_cyclic_functions, ""),
        "functions that become 2**39 nodes": (_exploding_functions, ""),
        "a constant above the folder": (_escaping_constant, "leaves"),
        "a sub-graph's weight above the folder": (_escaping_subgraph, "leaves"),
        "a function's weight above the folder": (_escaping_function, "leaves"),
        "text that is not in UTF-8": (bad_text, ""),
        "a file that is cut off": (lambda p, h: good[:-7], ""),
        "half a file": (lambda p, h: good[: len(good) // 2], ""),
        "a file with junk behind it": (lambda p, h: good + b"\xff" * 16, ""),
        "a file of one tag": (lambda p, h: b"\x08\x08\x3a\xff\xff\xff\xff\x0f", ""),
        "a file of text": (lambda p, h: b"ir_version: 8\ngraph {}", ""),
        "a pickle": (lambda p, h: b"\x80\x02cos\nsystem\nX\x0c\0\0\0touch canary\x85R.", ""),
        "an empty file": (lambda p, h: b"", ""),
        "a graph of 2**63 bytes": (lambda p, h: b"\x08\x08\x3a" + _varint(2**63), ""),
    }


def cases() -> list[Case]:
    """Returns all of them."""

    def made(table: dict[str, tuple[Change, str]], external: bool) -> list[Case]:
        threat = "external data of ONNX" if external else "ONNX graphs"
        return [
            Case(
                f"onnx: {name}",
                threat,
                "evil.onnx",
                _of(change, external),
                reason,
                GRAPH[:2] if external else GRAPH,
                culprit="/home/",
            )
            for name, (change, reason) in table.items()
        ]

    return [*made(_external(), True), *made(_inline(), False)]
