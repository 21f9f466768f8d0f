"""What is right: onnxruntime says so, or ONNX's reference where that has no kernel."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

onnxruntime.set_default_logger_severity(4)

ROUNDING = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12}
"""Relative tolerance of a result of a few dozen additions in another order, by element type."""


def run_onnx(model: onnx.ModelProto | Path, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the outputs of an ONNX model."""
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    state = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    except (state.NotImplemented, state.Fail):  # no kernel, or an opset of tomorrow
        return [np.asarray(y) for y in ReferenceEvaluator(source).run(None, dict(feeds))]
    return [np.asarray(y) for y in session.run(None, dict(feeds))]


def assert_same(
    found: Sequence[np.ndarray], wanted: Sequence[np.ndarray], rtol: float | None = None
) -> None:
    """Compares outputs: types and sizes exactly, numbers up to rounding."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        limit = rtol or ROUNDING.get(other.dtype.name, 0)
        finite = np.abs(other[np.isfinite(other)]) if other.size else np.zeros(1)
        size = max(1.0, float(finite.max(initial=0)))
        np.testing.assert_allclose(one, other, rtol=limit, atol=limit * size)
