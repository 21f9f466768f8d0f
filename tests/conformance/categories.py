"""Which backend tests are the float/int core, and which categories stand apart, and why.

The core is frozen in core.txt: a test that leaves it, or a new one, shows in a diff.
"""

from pathlib import Path

import onnx
from tests.conformance.suite import FOLDER_SUITES, Example, kinds
from tests.conformance.unpacked import of_sequences

CORE = Path(__file__).with_name("core.txt")

_NARROW = ("FLOAT8", "FLOAT4", "UINT4", "INT4", "UINT2", "INT2")
_QUANTISED = {
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
}
_RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}
_CONTROL = {"If", "Loop", "Scan"}
_DECODERS = {"ImageDecoder", "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"}
_DECODERS |= {"TfIdfVectorizer"}

EXCLUDED = {
    "string": "MindIR has no string tensors",
    "narrow": "MindIR has no element type narrower than a byte, and no 8-bit float",
    "optional": "whether an optional holds something is no question to a graph of tensors",
    "training": "training belongs to another tool; only inference is migrated",
    "random": "the expected values are those of one random generator",
    "text": "decoding of images and text is no part of a network",
    "ml": "ai.onnx.ml and preview operators come from no torch model",
}
"""Categories that are left out whole, each with its reason."""

SECONDARY = ("int8", "bfloat16", "control", "sequence")
"""Categories of the node tests that stand apart from the core."""


def category(example: Example) -> str:
    """Returns the first that fits: of `EXCLUDED`, then the suite, of `SECONDARY`, or ``core``."""
    found, model = kinds(example.model), example.model
    operators = {node.op_type for node in model.graph.node}
    domains = {node.domain for node in model.graph.node}
    excluded = {
        "text": bool(operators & _DECODERS),
        "string": "STRING" in found,
        "narrow": any(kind.startswith(_NARROW) for kind in found) or _touches_narrow(model),
        "optional": "optional_type" in found and operators == {"OptionalHasElement"},
        "training": any("training" in domain for domain in domains) or _trains(example),
        "random": bool(operators & _RANDOM),
        "ml": any(domain.startswith("ai.onnx.") for domain in domains),
    }
    apart = {
        "sequence": of_sequences(model),
        "int8": bool(operators & _QUANTISED),
        "bfloat16": "BFLOAT16" in found,
        "control": bool(operators & _CONTROL),
    }
    suite = {name: example.suite == name for name in FOLDER_SUITES}
    return next((name for name, fits in (excluded | suite | apart).items() if fits), "core")


def core_names() -> list[str]:
    """Returns the frozen list."""
    return CORE.read_text(encoding="utf-8").split()


def _trains(example: Example) -> bool:
    if "training" in example.name:
        return True
    return any(
        attribute.name == "training_mode" and attribute.i
        for node in example.model.graph.node
        for attribute in node.attribute
    )


def _touches_narrow(model: onnx.ModelProto) -> bool:
    codes = {code for name, code in onnx.TensorProto.DataType.items() if name.startswith(_NARROW)}
    return any(
        attribute.name in ("to", "output_dtype") and attribute.i in codes
        for node in model.graph.node
        for attribute in node.attribute
    )
