"""One backend test through surgery: refused with a reason, or the same numbers before and after.

onnxruntime computes both. Where it has no kernel, ONNX's reference evaluator does, which is slow
and plain. Generators of random numbers are given one seed in both graphs.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx.reference import ReferenceEvaluator
from tests.conformance.attempt import baked
from tests.conformance.suite import Example

from ascend_migrate.converters.cann.operate import operate
from ascend_migrate.converters.onnx_for_atc import shape_for_atc
from ascend_migrate.converters.onnx_opset import lower_opset
from ascend_migrate.pipeline.errors import UnsupportedOperatorError

OPSET, OLDEST = 17, 7
_SCAN = 9
"""Since when Scan has no batch in front of its sequence."""

SAME, REFUSED, UNJUDGED, WRONG, BROKEN = "same", "refused", "unjudged", "wrong", "broken"

RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
RANDOM |= {"RandomUniformLike"}
_SEED = 7.0
_PEAK = 2**-20
"""Eight units in the last place of float32: what a transform of a few hundred terms may differ."""

logging.getLogger("onnx_ir").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Attempt:
    """How a test ended; ``note`` says why it is not `SAME`.

    ``model`` is the result of surgery, None where it refused; ``rewritten`` counts nodes.
    """

    outcome: str
    note: str = ""
    model: onnx.ModelProto | None = None
    rewritten: int = 0


def operated(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Returns the model at opset 17 after surgery, and how many nodes were rewritten.

    Raises:
        UnsupportedOperatorError: a node has no exact counterpart.
    """
    opset = next((i.version for i in model.opset_import if i.domain in ("", "ai.onnx")), OPSET)
    if opset < OLDEST:
        raise UnsupportedOperatorError(f"opset {OPSET}", [f"opset {opset} is older than {OLDEST}"])
    if opset < _SCAN and any(node.op_type == "Scan" for node in model.graph.node):
        # onnx.version_converter leaves it as it is, and so makes another model of it.
        raise UnsupportedOperatorError(f"opset {OPSET}", [f"(Scan): of batches, as before {_SCAN}"])
    if opset < OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    inner = ir.from_proto(model)
    lower_opset(inner, OPSET)
    rewritten = operate(inner)
    shape_for_atc(inner)
    return ir.to_proto(inner), rewritten


def attempt(example: Example) -> Attempt:
    """Runs a test's model before and after surgery on the test's own inputs."""
    first = _attempt(example, example.model)
    if first.outcome != REFUSED:
        return first
    fixed = baked(example, {info.name for info in example.model.graph.input})
    second = first if fixed is None else _attempt(example, fixed)
    return first if second.outcome in (REFUSED, BROKEN) else second


def _attempt(example: Example, source: onnx.ModelProto) -> Attempt:
    try:
        model, rewritten = operated(source)
    except UnsupportedOperatorError as error:
        return Attempt(REFUSED, "; ".join(error.nodes))
    except Exception as error:  # a defect of ours; the table has to show it, not hide the rest
        return Attempt(BROKEN, f"{type(error).__name__}: {error}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # as the converter, which refuses what the checker refuses
        return Attempt(REFUSED, f"checker: {str(error).splitlines()[0]}")
    return _judged(example, model, rewritten)


def _judged(example: Example, model: onnx.ModelProto, rewritten: int) -> Attempt:
    random = any(node.op_type in RANDOM for node in model.graph.node)
    before, after = (_seeded(m) if random else m for m in (example.model, model))
    computers = _Computer(before), _Computer(after)
    names = {info.name for info in model.graph.input}
    for inputs, outputs in example.data:
        feeds = _fed(example.model, inputs)
        wanted = computers[0](feeds)
        found = computers[1]({name: value for name, value in feeds.items() if name in names})
        if found is None:
            return Attempt(UNJUDGED, computers[1].fault, model, rewritten)
        # ONNX's own answers serve where a computer has none, or is further from them than we are;
        # of random numbers they are another generator's.
        right = [w for w in (wanted, None if random else outputs) if w is not None]
        faults = [list(_differences(w, found, example)) for w in right]
        if not faults:
            return Attempt(UNJUDGED, computers[0].fault, model, rewritten)
        if all(faults):
            return Attempt(WRONG, "; ".join(faults[0]), model, rewritten)
    return Attempt(SAME, "", model, rewritten)


def _seeded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with the same seed in every generator."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for opset in made.opset_import:
        # 22 brought these operators more element types, and onnxruntime has no kernels for it.
        opset.version = min(opset.version, 21)
    for node in made.graph.node:
        if node.op_type in RANDOM:
            kept = [a for a in node.attribute if a.name != "seed"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("seed", _SEED)])
    return made


class _Computer:
    """Computes a model by onnxruntime and, where that has no kernel, by ONNX's own evaluator."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.fault = model, ""
        self.session = _session(model)

    def __call__(self, feeds: dict[str, Any]) -> Sequence[Any] | None:
        """Returns the results; None where neither computes it, and `fault` says why."""
        if not isinstance(self.session, str):
            try:
                return list(self.session.run(None, feeds))
            except Exception as error:  # onnxruntime's own faults have no common class
                self.session = str(error).splitlines()[0]
        if RANDOM.intersection(node.op_type for node in self.model.graph.node):
            self.fault = f"random numbers, and onnxruntime fails: {self.session}"
            return None
        try:
            return list(ReferenceEvaluator(self.model).run(None, feeds))
        except Exception as error:
            self.fault = f"onnxruntime fails: {self.session}; ONNX's evaluator too: {error}"
            return None


def _fed(model: onnx.ModelProto, inputs: Sequence[Any]) -> dict[str, Any]:
    pairs = zip(model.graph.input, inputs, strict=False)
    return {info.name: value for info, value in pairs}


def _session(model: onnx.ModelProto) -> "onnxruntime.InferenceSession | str":
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        return str(error).splitlines()[0]


def _differences(wanted: Sequence[Any], found: Sequence[Any], example: Example) -> Iterator[str]:
    for place, (want, have) in enumerate(zip(wanted, found, strict=True)):
        if isinstance(want, list):
            yield from _differences(want, have, example)
            continue
        if want is None or isinstance(want, str):
            if want != have:
                yield f"output {place} is another"
            continue
        want, have = np.asarray(want), np.asarray(have)  # noqa: PLW2901
        if want.shape != have.shape or want.dtype != have.dtype:
            yield f"output {place} is {have.dtype}{have.shape}, not {want.dtype}{want.shape}"
        elif not _close(want, have, example):
            yield f"output {place} has other values"


def _close(want: Any, have: Any, example: Example) -> bool:
    if want.dtype.name == "bfloat16":  # which numpy knows as bytes; of equal type, as asked above
        want, have = want.astype(np.float32), have.astype(np.float32)
    if want.dtype.kind not in "fc":
        return bool(np.array_equal(want, have))
    # The rounding of a sum is relative to its terms: here, to the largest number of the answer.
    finite = np.abs(want[np.isfinite(want)])
    room = max(example.atol, _PEAK * float(finite.max(initial=0)))
    return bool(np.allclose(have, want, example.rtol, room, equal_nan=True))
