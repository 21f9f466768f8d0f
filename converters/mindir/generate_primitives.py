"""Writes primitives.json from an installed MindSpore, so that conversion does not import it.

    python -m ascend_migrate.converters.mindir.generate_primitives

MindSpore knows two kinds of primitive. A *function* primitive takes everything as an input: first
the arguments of ``__call__``, then those of ``__init__`` (read here from the generated source with
``ast``). A *legacy* primitive keeps the arguments of ``__init__`` as attributes of the primitive
(read here from ``Primitive.attrs`` of an instance).
"""

import ast
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("primitives.json")

# Least arguments that the constructor of each legacy primitive accepts; every attribute that
# depends on the node is replaced when a node is emitted.
LEGACY: dict[str, dict[str, Any]] = {
    "BitwiseAnd": {},
    "BitwiseOr": {},
    "BitwiseXor": {},
    "DepthToSpace": {"block_size": 2},
    "DivNoNan": {},
    "Einsum": {"equation": "i->i"},
    "FillV2": {},
    "IsNan": {},
    "MirrorPad": {},
    "Mish": {},
    "SeLU": {},
    "Sort": {},
    "Softplus": {},
    "Softsign": {},
    "SpaceToDepth": {"block_size": 2},
    "Tan": {},
    "Tril": {},
    "TruncateDiv": {},
    "TruncateMod": {},
    "AvgPool3D": {},
    "Col2Im": {"kernel_size": 1},
    "Conv2D": {"out_channel": 1, "kernel_size": 1},
    "Conv2DTranspose": {"out_channel": 1, "kernel_size": 1},
    "Conv3D": {"out_channel": 1, "kernel_size": 1},
    "Conv3DTranspose": {"in_channel": 1, "out_channel": 1, "kernel_size": 1},
    "DeformableOffsets": {"strides": (1, 1, 1, 1), "pads": (0, 0, 0, 0), "ksize": (1, 1)},
    "Imag": {},
    "LRN": {},
    "LSTM": {
        "input_size": 1,
        "hidden_size": 1,
        "num_layers": 1,
        "has_bias": True,
        "bidirectional": False,
        "dropout": 0.0,
    },
    "MaxPool": {},
    "MaxPool3D": {},
    "MaxPoolWithArgmaxV2": {"kernel_size": 1},
    "Mod": {},
    "NonMaxSuppressionWithOverlaps": {},
    "PadV3": {},
    "ROIAlign": {"pooled_height": 1, "pooled_width": 1, "spatial_scale": 1.0},
    "ReverseSequence": {"seq_dim": 0},
    "Stack": {},
    "TensorScatterAdd": {},
    "TensorScatterMax": {},
    "TensorScatterMin": {},
    "TensorScatterMul": {},
    "TensorScatterUpdate": {},
    "TopK": {},
}

# Function primitives that MindSpore defines by hand (operations/manually_defined/ops_def.py and
# operations/_sequence_ops.py), with their inputs in the order of ``super().__call__``.
MANUAL: dict[str, list[str]] = {
    "BatchNorm": [
        "input_x",
        "scale",
        "bias",
        "mean",
        "variance",
        "is_training",
        "epsilon",
        "momentum",
        "data_format",
    ],
    "Cast": ["x", "dtype"],
    "ScalarAdd": ["x", "y"],
    "ScalarFloorDiv": ["x", "y"],
    "ScalarMax": ["x", "y"],
    "ScalarMin": ["x", "y"],
    "ScalarMod": ["x", "y"],
    "ScalarMul": ["x", "y"],
    "ScalarSub": ["x", "y"],
    "ScalarToTensor": ["x", "dtype"],
    "Shape": ["x"],
    "TensorToScalar": ["x"],
    "TensorToTuple": ["x"],
    "Tile": ["input", "dims"],
    "TupleToTensor": ["x", "dtype"],
}

# Plumbing of the graph form itself; no attributes.
STRUCTURAL = ("MakeTuple", "Partial", "Switch", "TupleGetItem")


def main() -> int:
    """Writes the table beside this module and says where."""
    TABLE.write_text(table_text())
    sys.stderr.write(f"{TABLE}: written\n")
    return 0


def table_text() -> str:
    """Returns the table of the installed MindSpore as JSON."""
    import mindspore

    table = function_primitives(_source("ops/auto_generate/gen_ops_prim.py"))
    table |= {name: _entry("function", inputs) for name, inputs in MANUAL.items()}
    table |= {name: _entry("legacy", []) for name in STRUCTURAL}
    table |= {name: legacy_primitive(name, given) for name, given in LEGACY.items()}
    document = {"mindspore": mindspore.__version__, "primitives": dict(sorted(table.items()))}
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def function_primitives(source: str) -> dict[str, dict[str, Any]]:
    """Reads every generated primitive class.

    Args:
        source: text of ``gen_ops_prim.py``.

    Returns:
        By name: kind, inputs in the order of the call, defaults of those that have one, and the
        platforms that the class's documentation names.
    """
    table = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef) or ast.unparse(node.bases[0]) != "Primitive":
            continue
        methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
        if "__call__" not in methods or "__init__" not in methods:
            continue
        inputs: list[str] = []
        defaults: dict[str, Any] = {}
        for method in (methods["__call__"], methods["__init__"]):
            names, values = _arguments(method)
            inputs += names
            defaults |= values
        table[node.name] = {
            "kind": "function",
            "inputs": inputs,
            "defaults": defaults,
            "platforms": _platforms(ast.get_docstring(node) or ""),
        }
    return table


def legacy_primitive(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Describes one legacy primitive by the attributes of an instance."""
    from mindspore.ops import operations

    attributes = dict(getattr(operations, name)(**arguments).attrs)
    # The C++ side reads "format"; "data_format" is what Python calls it.
    if "data_format" in attributes:
        attributes["format"] = attributes.pop("data_format")
    return {
        "kind": "legacy",
        "op_type": getattr(operations, name)(**arguments).name,
        "inputs": list(attributes.pop("input_names", ())),
        "attributes": {key: _plain(value) for key, value in sorted(attributes.items())},
        "platforms": _platforms(getattr(operations, name).__doc__ or ""),
    }


def _entry(kind: str, inputs: list[str]) -> dict[str, Any]:
    values = "defaults" if kind == "function" else "attributes"
    return {"kind": kind, "inputs": inputs, "platforms": [], values: {}}


def _arguments(method: ast.FunctionDef) -> tuple[list[str], dict[str, Any]]:
    names = [argument.arg for argument in method.args.args[1:]]
    values: dict[str, Any] = {}
    defaulted = names[len(names) - len(method.args.defaults) :]
    for name, node in zip(defaulted, method.args.defaults, strict=True):
        try:
            values[name] = ast.literal_eval(node)
        except ValueError:
            # A MindSpore type object; such an argument is always given when a node is emitted.
            continue
    return names, values


def _platforms(documentation: str) -> list[str]:
    match = re.search(r"Supported Platforms:\s*\n\s*(.+)", documentation)
    return re.findall(r"``(\w+)``", match[1]) if match else []


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _source(path: str) -> str:
    spec = importlib.util.find_spec("mindspore")
    if spec is None or spec.origin is None:
        raise SystemExit("MindSpore is not installed: pip install 'ascend-migrate[mindspore]'")
    return (Path(spec.origin).parent / path).read_text()


if __name__ == "__main__":
    raise SystemExit(main())
