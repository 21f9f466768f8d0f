"""An ONNX file as the original: onnxruntime on the file as it is, and its float64 twin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ascend_migrate.pipeline.errors import CheckError, ModelError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS, Limits
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.printable import in_one_line
from ascend_migrate.validators import onnx_runner
from ascend_migrate.validators.cases import Feeds, widened_array
from ascend_migrate.validators.ledger.stored_weights import onnx_weights
from ascend_migrate.validators.ledger.weights import ACCOUNTED_FROM, Weight
from ascend_migrate.validators.onnx_float64 import widened
from ascend_migrate.validators.onnx_lowered import MADE, rounded, unrounded_results
from ascend_migrate.validators.original import (
    NoExactTwinError,
    NoTraceError,
    Original,
    Outputs,
    Session,
    Traced,
    Visit,
)


class OnnxOriginal(Original):
    """The graph in the file ``path``."""

    def __init__(self, path: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self._path = path
        self._limits = limits

    def session(self) -> Session:
        """Returns the graph on onnxruntime."""
        try:
            runner = onnx_runner.OnnxRunner(self._path, limits=self._limits)
        except CheckError as error:
            raise ModelError(str(error)) from error

        def call(feeds: Feeds) -> Outputs:
            try:
                return runner.run(feeds)
            except CheckError as error:
                raise ModelError(
                    f"{error}; declare the sizes and values that the graph takes (--input, or "
                    "inputs in the specification)"
                ) from error

        return call

    def exact(self) -> Session:
        """Returns the twin on onnxruntime or, where that lacks a kernel, on ONNX's reference."""
        model = widened(self._path)
        run = float64_session(model, self._path)

        def call(feeds: Feeds) -> Outputs:
            return run({name: widened_array(array) for name, array in feeds.items()})

        return call

    def lowered(self, precision: Precision, overflows: dict[str, float]) -> Session:
        """Returns the graph with casts to the lower type and back around what is lowered."""
        model = rounded(self._path, precision)
        made = unrounded_results(model)
        shown = [item.name for item in model.graph.output]
        for name in made:
            model.graph.output.add(name=name)
        try:
            loaded = onnx_runner.session(model.SerializeToString(), str(self._path))
        except (CheckError, ValueError) as error:  # above 2 GiB, protobuf's limit
            raise ModelError(f"{error}; its noise in {precision.dtype} is not known") from error

        def call(feeds: Feeds) -> Outputs:
            try:
                found = onnx_runner.run(loaded, feeds, str(self._path))
            except CheckError as error:
                raise ModelError(str(error)) from error
            for name in made:
                finite = np.abs(found[name][np.isfinite(found[name])])
                largest = float(finite.max()) if finite.size else 0.0
                if largest > precision.largest:
                    node = name.removesuffix(MADE)
                    overflows[node] = max(largest, overflows.get(node, 0.0))
            return {name: found[name] for name in shown}

        return call

    def weights(
        self,
        feeds: Feeds,
        precision: Precision | None = None,
        constants: set[str] | None = None,
    ) -> Mapping[str, Weight]:
        """Returns the initializers, and what is as large in nodes and inner graphs."""
        del feeds, constants  # a graph has no code beside it
        return {
            item.name: Weight.of(item.dtype, item.array, used=item.read, precision=precision)
            for item in onnx_weights(self._path)
            if not item.inner or item.array.size >= ACCOUNTED_FROM
        }

    def trace(
        self,
        feeds: Feeds,
        visit: Visit,
        *,
        exact: bool = False,
        precision: Precision | None = None,
    ) -> None:
        """Shows what every node of the graph makes, named by its module or by itself."""
        from ascend_migrate.validators.localisation.onnx_steps import OnnxSteps
        from ascend_migrate.validators.localisation.steps import StepError

        model = widened(self._path) if exact else None
        if precision is not None and not exact:
            model = rounded(self._path, precision)
        steps = OnnxSteps(self._path, self._limits, model)
        # What is not yet rounded, or is rounded only to be read, has other names.
        places = {name: s.module or s.name for s in steps.steps for name in s.outputs}
        given = {n: widened_array(a) for n, a in feeds.items()} if exact else feeds
        for name, array in given.items():
            visit(Traced(name, "", array))
        try:
            steps.observe(given, lambda name, a: visit(Traced(name, places[name], a)), {})
        except (CheckError, StepError) as error:
            kind = NoExactTwinError if exact else NoTraceError
            raise kind(str(error)) from error

    def about(self) -> Mapping[str, str]:
        """Returns what decides the numbers beside the graph."""
        import onnxruntime

        return {"runtime": f"onnxruntime {onnxruntime.__version__}", "device": "cpu"}


def float64_session(model: Any, path: Path) -> Session:
    """Returns a widened graph on onnxruntime or, where that lacks a kernel, on ONNX's reference.

    Some of onnxruntime's kernels say only when they run that they lack float64.

    Raises:
        NoExactTwinError: neither runs it; raised here or by a call.
    """
    try:
        loaded = onnx_runner.session(model.SerializeToString(), str(path))
    except (CheckError, ValueError):  # a missing kernel; above 2 GiB, protobuf's limit
        return _reference(model)
    slow: list[Session] = []

    def call(feeds: Feeds) -> Outputs:
        if not slow:
            try:
                return onnx_runner.run(loaded, feeds, str(path))
            except CheckError:
                slow.append(_reference(model))
        return slow[0](feeds)

    return call


def _reference(model: Any) -> Session:
    from onnx.reference import ReferenceEvaluator

    # Python code without declared errors: whatever it raises, there is no twin.
    try:
        evaluator = ReferenceEvaluator(model)
    except Exception as error:
        raise NoExactTwinError(f"no runtime here runs it in float64 ({error})") from error
    names = [item.name for item in model.graph.output]

    def call(feeds: Feeds) -> Outputs:
        try:
            with np.errstate(all="ignore"):
                values = evaluator.run(names, feeds)
        except Exception as error:
            reason = in_one_line(error)
            raise NoExactTwinError(f"no runtime here runs it in float64 ({reason})") from error
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    return call
