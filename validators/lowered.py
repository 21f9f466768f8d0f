"""What is judged beside the outputs where a policy lowers the precision.

The original tells whether the model fits the type at all. The artifact, widened again and with the
source's weights put back, tells whether it is the same graph: in a lower type alone, a wrong
epsilon would drown in rounding.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ascend_migrate.pipeline import mindir_buckets
from ascend_migrate.pipeline.errors import CheckError, ToolchainError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Artifact, Finding, Form, Outcome
from ascend_migrate.validators.cases import Array
from ascend_migrate.validators.golden import Golden
from ascend_migrate.validators.groups import check_groups
from ascend_migrate.validators.ledger.stored_weights import stored_weights
from ascend_migrate.validators.ledger.weight_bytes import content_digest
from ascend_migrate.validators.ledger.weight_causes import Tensors
from ascend_migrate.validators.ledger.weights import Weight
from ascend_migrate.validators.outputs import Answer, compare
from ascend_migrate.validators.runners import open_runner
from ascend_migrate.validators.unlowered_mindir import write_unlowered as widen_mindir
from ascend_migrate.validators.unlowered_onnx import Restore
from ascend_migrate.validators.unlowered_onnx import write_unlowered as widen_onnx

RANGE = "precision.range"
GRAPH = "precision.graph"

_WRITERS = {Form.ONNX: widen_onnx, Form.ONNX_CANN: widen_onnx, Form.MINDIR: widen_mindir}
_SHOWN = 3
"""Operations that overflow shown in a finding; what follows them is mostly their consequence."""


def check_range(form: Form, truth: Golden, precision: Precision) -> Finding:
    """Fails where the original itself leaves the lower type's range, and names what does."""
    said = [f"{where} reaches {largest:.3g}" for where, largest in truth.overflows.items()]
    inner = "; ".join([*said[:_SHOWN], *([f"{len(said) - _SHOWN} more"] * (len(said) > _SHOWN))])
    ends = f"{precision.dtype}, which ends at {precision.largest:.5g}"
    for case in truth.cases:
        for name, low in (case.low or {}).items():
            lost = _lost(case.own[name], low)
            if lost:
                note = (
                    f"case {case.name}: {lost} of {low.size} elements of {name} are finite in "
                    f"float32 only, not in {ends}: {inner or 'the output itself is too large'}; "
                    "add the module or the operator type to keep_float32"
                )
                return Finding(RANGE, form, name, Outcome.FAIL, note=note)
    note = f"no output is lost in {ends}"
    note += f"; inner results are, without harm: {inner}" if inner else ""
    return Finding(RANGE, form, "all outputs", Outcome.PASS, note=note)


def check_graph(
    artifact: Artifact,
    truth: Golden,
    precision: Precision,
    tensors: Tensors | None,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Finding]:
    """Compares the artifact in float32, with the source's weights, with the original."""
    form = artifact.form
    if tensors is None and is_lowered(artifact, precision):
        note = "needs the source's weights; judge against the specification, not the golden file"
        return [Finding(GRAPH, form, "all outputs", Outcome.NOT_RUN, note=note)]
    restore = _restoring(truth.weights, tensors)
    try:
        with tempfile.TemporaryDirectory(prefix="ascend-migrate-") as scratch:
            path = _WRITERS[form](artifact.path, Path(scratch), precision.dtype, restore)
            widened = replace(artifact, root=path.parent, entry=path.name, files=())
            with open_runner(widened, limits=limits) as runner:
                found = [runner.run(case.feeds) for case in truth.cases]
    except CheckError as error:
        return [Finding(GRAPH, form, "all outputs", Outcome.NOT_RUN, note=str(error))]
    except ToolchainError as error:
        if error.transient:
            raise
        return [Finding(GRAPH, form, "all outputs", Outcome.NOT_RUN, note=str(error))]
    return list(_compared(form, truth, found))


def _compared(form: Form, truth: Golden, found: list[dict[str, Array]]) -> Iterator[Finding]:
    """Yields the finding that used most of its limit, or all that failed."""
    findings: list[Finding] = []
    for name in truth.cases[0].own:
        answers = [
            Answer(case.name, case.own[name], (case.exact or case.own)[name], outputs[name])
            for case, outputs in zip(truth.cases, found, strict=True)
            if name in outputs and outputs[name].shape == case.own[name].shape
        ]
        if len(answers) == len(truth.cases):  # what is absent is a finding of its own already
            findings += compare(form, name, answers)
            findings += check_groups(form, name, answers)
    yield from (replace(item, check=GRAPH) for item in findings)


def is_lowered(artifact: Artifact, precision: Precision) -> bool:
    """Whether weights were cast; a compiler that lowers by itself is given a float32 graph."""
    stored = (item for part in mindir_buckets.parts(artifact) for item in stored_weights(part))
    return any(item.dtype == precision.dtype for item in stored)


def _restoring(weights: Mapping[str, Weight], tensors: Tensors | None) -> Restore:
    """Finds the source's tensor by name or, for a renamed one, by the bytes after the cast."""
    by_digest = {w.cast.digest: name for name, w in weights.items() if w.cast is not None}

    def restore(name: str, dtype: str, array: Array) -> Array:
        digest = content_digest(array)
        weight = weights.get(name)
        if weight is None or weight.cast is None or weight.cast.digest != digest:
            # A constant of the graph, held exactly; or a wrong weight, which must show as such.
            name = by_digest.get(digest, "") if weight is None else ""
        if not name or tensors is None:
            return array
        found = tensors(name)
        return found.reshape(array.shape) if found.size == array.size else array

    return restore


def _lost(own: Array, low: Array) -> int:
    if own.dtype.kind in "biu":
        return 0
    return int(np.count_nonzero(np.isfinite(own) & ~np.isfinite(low)))
