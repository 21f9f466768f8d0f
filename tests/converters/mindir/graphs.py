"""Whole graphs, written as ONNX's own text."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline.records import Artifact


def graph(text: str, weights: Mapping[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """Parses a graph of opset 17; ``weights`` become its initializers."""
    opset = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
    model = parser.parse_model(f"{opset} {text}")
    for name, array in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def converted(model: onnx.ModelProto, folder: Path) -> Artifact:
    return convert(saved(model, folder), folder / "mindir", inputs=(), parent="p")
