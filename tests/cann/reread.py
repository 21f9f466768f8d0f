"""The rule files read once more, from the JSON and the protobuf alone.

Nothing of the preflight's code is used: no onnx_ir, no `pipeline.cann.generations`, no conditions.
Where both readings name the same rules, a mistake of either would have to be in both.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import ascend_migrate.pipeline

Node = onnx.NodeProto
_FOLDER = Path(ascend_migrate.pipeline.__path__[0]) / "cann"
_SERIOUS = ("fails", "changes numbers")
_WORDS = {"float": "float32", "double": "float64"}
_OPERATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "is": lambda have, want: have == want,
    "not": lambda have, want: have != want,
    "in": lambda have, want: have in want,
    "not_in": lambda have, want: have not in want,
    "above": lambda have, want: bool(np.any(np.asarray(have) > want)),
    "below": lambda have, want: bool(np.any(np.asarray(have) < want)),
    "product_above": lambda have, want: bool(np.prod(have) > want),
    "parity": lambda have, want: have % 2 == (want == "odd"),
}

_GROUPS: dict[str, Callable[[Iterator[bool]], bool]] = {
    "all": all,
    "any": any,
    "none": lambda found: not any(found),
}
_RANKS: dict[str, Callable[[int, Any], bool]] = {
    "rank_in": lambda rank, wanted: rank in wanted,
    "rank_not_in": lambda rank, wanted: rank not in wanted,
    "rank_above": lambda rank, wanted: rank > wanted,
}
_NUMBERS: dict[str, Callable[[Any, Any], bool]] = {
    "nonzero": lambda numbers, wanted: bool((numbers != 0).any()) == wanted,
    "value_above": lambda numbers, wanted: bool((numbers > wanted).any()),
    "odd_count": lambda numbers, wanted: bool(numbers.size % 2) == wanted,
}


@cache
def rules(version: str) -> dict[str, Any]:
    """Returns the file of a generation with what it is based on."""
    own: dict[str, Any] = json.loads((_FOLDER / f"cann-{version}.json").read_text())
    if own["based_on"] is None:
        return own
    below = rules(own["based_on"])
    operators = below["operators"] | own.get("operators", {})
    for name in own.get("without", ()):
        operators.pop(name)
    return below | own | {"operators": operators}


def strikes(model: onnx.ModelProto, version: str, family: str) -> set[str]:
    """Returns the rules that would make a graph fail, or change its numbers."""
    read = _Reading(model, rules(version), family)
    return set(read.of_nodes()) | set(read.of_graph())


class _Reading:
    def __init__(self, model: onnx.ModelProto, known: dict[str, Any], family: str) -> None:
        self.known, self.family, self.model = known, family, model
        self.opsets = {_plain(o.domain): o.version for o in reversed(model.opset_import)}
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        self.nodes: list[Node] = []
        self.types: dict[str, tuple[str, list[int | None] | None]] = {}
        self.constants: dict[str, onnx.TensorProto | None] = {}
        self.made: dict[str, str] = {}
        self._collect(inferred.graph)

    def _collect(self, graph: onnx.GraphProto) -> None:
        for info in (*graph.input, *graph.value_info, *graph.output):
            if info.type.HasField("tensor_type"):
                kind = info.type.tensor_type
                sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
                self.types[info.name] = (
                    _type(kind.elem_type),
                    sizes if kind.HasField("shape") else None,
                )
        for tensor in graph.initializer:
            self.constants[tensor.name] = tensor
            self.types[tensor.name] = (_type(tensor.data_type), list(tensor.dims))
        for node in graph.node:
            self.nodes.append(node)
            self.made |= dict.fromkeys(node.output, node.op_type)
            if node.op_type == "Constant":
                values = [a.t for a in node.attribute if a.name == "value"]
                self.constants[node.output[0]] = values[0] if values else None
            for attribute in node.attribute:
                for inner in (
                    *attribute.graphs,
                    *([attribute.g] if attribute.HasField("g") else []),
                ):
                    self._collect(inner)

    def of_nodes(self) -> Iterator[str]:
        for rule in self.known["rules"]:
            if self._concerns(rule):
                for node in self.nodes:
                    standard = not _plain(node.domain)
                    if standard and node.op_type in rule["op"] and self._true(rule["when"], node):
                        yield rule["id"]

    def of_graph(self) -> Iterator[str]:
        for rule in self.known["graph_rules"]:
            if self._concerns(rule) and getattr(self, "_" + rule["check"].replace("-", "_"))(rule):
                yield rule["id"]

    def _concerns(self, rule: Mapping[str, Any]) -> bool:
        chips = rule.get("chips") or [self.family]
        return rule["effect"] in _SERIOUS and self.family in chips

    def _true(self, when: Mapping[str, Any], node: Node) -> bool:
        for word, gathered in _GROUPS.items():
            if word in when:
                return gathered(self._true(part, node) for part in when[word])
        if "inputs_below" in when:
            return bool(len(node.input) < when["inputs_below"])
        if "opset_from" in when:
            return bool(self.opsets.get("", 0) >= when["opset_from"])
        if "output" in when:
            return any(node.output[when["output"] :][:1]) == bool(when["used"])
        asked = dict(when)
        if "input" in when:
            name = next(iter(node.input[asked.pop("input") :]), "")
            return all(self._asked(name, word, wanted) for word, wanted in asked.items())
        return self._of_attribute(asked.pop("attribute"), asked, node)

    def _of_attribute(self, name: str, asked: Mapping[str, Any], node: Node) -> bool:
        given = next((a for a in node.attribute if a.name == name), None)
        if "given" in asked:
            return (given is not None) == bool(asked["given"])
        value = _value(given) if given is not None else self._default(node.op_type, name)
        return value is not None and all(_OPERATIONS[w](value, v) for w, v in asked.items())

    def _default(self, op_type: str, name: str) -> Any:
        try:
            schema = onnx.defs.get_schema(op_type, max_inclusive_version=self.opsets.get("", 0))
        except onnx.defs.SchemaError:
            return None
        found = schema.attributes.get(name)
        return _value(found.default_value) if found and found.default_value.name else None

    def _asked(self, name: str, word: str, wanted: Any) -> bool:
        kind, sizes = self.types.get(name, ("", None))
        if word in _NUMBERS:
            tensor = self.constants.get(name)
            return tensor is not None and _NUMBERS[word](numpy_helper.to_array(tensor), wanted)
        if word in _RANKS:
            return sizes is not None and _RANKS[word](len(sizes), wanted)
        if word == "constant":
            return bool(name) and (name in self.constants) == wanted
        if word == "width_above":
            return bool(sizes) and sizes is not None and (sizes[-1] or 0) > wanted
        found = {"given": bool(name), "dtype": kind, "made_by": self.made.get(name, "")}[word]
        return found in np.atleast_1d(wanted)

    def _registered(self, node: Node) -> bool:
        if node.op_type == "Constant" and not _plain(node.domain):
            return True
        domain = _plain(node.domain)
        opset = self.opsets.get(domain, 1)
        texts = [self.known["other_domains"].get(f"{domain}::{node.op_type}", "0")]
        if not domain:
            own = self.known["operators"].get(node.op_type, {"opsets": "0"})["opsets"]
            texts = [own, self.known["custom_operators"].get(node.op_type, "0")]
        return any(
            int(part.split("-")[0]) <= opset <= int(part.split("-")[-1])
            for text in texts
            for part in text.split(",")
        )

    def _newer(self, node: Node) -> bool:
        names = sorted(p.stem[5:] for p in _FOLDER.glob("cann-*.json"))
        newest = rules(max(names, key=lambda name: [int(part) for part in name.split(".")]))
        return node.op_type in newest["operators"] and node.op_type not in self.known["operators"]

    def _unknown(self) -> list[Node]:
        return [n for n in self.nodes if not _plain(n.domain) and not self._registered(n)]

    def _unregistered(self, _rule: Any) -> bool:
        return any(not self._newer(node) for node in self._unknown())

    def _unregistered_yet(self, _rule: Any) -> bool:
        return any(self._newer(node) for node in self._unknown())

    def _custom_domain(self, _rule: Any) -> bool:
        return any(_plain(n.domain) and not self._registered(n) for n in self.nodes)

    def _no_kernel(self, _rule: Any) -> bool:
        for node in self.nodes:
            known = self.known["operators"].get(node.op_type)
            kind = self.types.get(node.input[0], ("",))[0] if node.input else ""
            if known is None or not kind or _plain(node.domain) or known.get("aicpu"):
                continue
            families = known.get("kernels", {})
            # The A3 has the kernels of the A2, and its library is not printed twice.
            alike = "Ascend910B" if self.family == "Ascend910_93" else self.family
            listed = families.get(self.family, families.get(alike))
            if listed is not None and kind not in listed:
                return True
        return False

    def _value_type(self, rule: Mapping[str, Any]) -> bool:
        names = {name for node in self.nodes for name in (*node.input, *node.output)}
        names |= {info.name for info in self.model.graph.input}
        return any(self.types.get(name, ("",))[0] in rule["types"] for name in names)

    def _opset_above(self, _rule: Any) -> bool:
        return bool(self.opsets.get("", 0) > self.known["opsets"][1])

    def _duplicate_name(self, _rule: Any) -> bool:
        graph = self.model.graph
        names = [node.name for node in graph.node if node.name]
        names += {info.name for info in graph.input} | {t.name for t in graph.initializer}
        return max(Counter(names).values(), default=0) > 1

    def _no_input(self, _rule: Any) -> bool:
        return not self.model.graph.input

    def _no_output(self, _rule: Any) -> bool:
        return not self.model.graph.output

    def _external_key(self, _rule: Any) -> bool:
        keys = {e.key for t in self.model.graph.initializer for e in t.external_data}
        return bool(keys - {"location", "offset", "length"})

    def _nested_external(self, _rule: Any) -> bool:
        outer = {tensor.name for tensor in self.model.graph.initializer}
        return any(
            tensor is not None and name not in outer and tensor.external_data
            for name, tensor in self.constants.items()
            if self.made.get(name) != "Constant"
        )

    def _tensor_type(self, rule: Mapping[str, Any]) -> bool:
        kinds = {_type(t.data_type) for t in self.constants.values() if t is not None}
        return bool(kinds & set(rule["types"]))

    def _two_versions(self, _rule: Any) -> bool:
        domains = [_plain(o.domain) for o in self.model.opset_import]
        return len(domains) != len(set(domains))

    def _empty_dimension(self, _rule: Any) -> bool:
        return any(
            d.HasField("dim_value") and d.dim_value == 0
            for info in self.model.graph.input
            for d in info.type.tensor_type.shape.dim
        )

    def _dynamic_shape(self, _rule: Any) -> bool:
        sizes = [self.types.get(info.name, ("", None))[1] for info in self.model.graph.input]
        return any(size is None or None in size for size in sizes)

    def _weights_above(self, rule: Mapping[str, Any]) -> bool:
        total = 0
        for tensor in self.model.graph.initializer:
            size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            total += size * int(np.prod(tensor.dims, dtype=np.int64))
        return bool(total > rule["bytes"])


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _type(code: int) -> str:
    name: str = TensorProto.DataType.Name(code).lower()
    return _WORDS.get(name, name)


def _value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):
        return round(value, 6)
    return list(value) if not isinstance(value, int | str) else value
