"""One backend test through the whole way: convert, write, load, run on MindSpore, compare."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from tests.conformance.suite import Example
from tests.conformance.unpacked import of_sequences, unpacked

from ascend_migrate.converters import onnx_to_mindir
from ascend_migrate.pipeline.errors import MigrationError, UnsupportedOperatorError
from ascend_migrate.pipeline.mindir_format import read_model
from ascend_migrate.validators.mindspore_process import MindSporeProcess
from ascend_migrate.validators.mindspore_runner import MindSporeRunner

PURE, SPECIALISED = "pure", "specialised"
VACUOUS, UNSUPPORTED, REFUSED, WRONG = "vacuous", "unsupported", "refused", "wrong"
BROKEN, LEFT_OUT = "broken", "excluded"

_PLUMBING = {"MakeTuple", "Partial", "TupleGetItem"}
"""Primitives that compute nothing."""

_BFLOAT16 = 2**-6
"""Two units in the last place, relative: what ONNX's own runner allows for this type."""

_BAKED = 64
"""Elements that an integer input may have to count as a parameter (axes, shapes, pads, k)."""


@dataclass(frozen=True)
class Result:
    """How a test ended; ``note`` says why it did not pass."""

    suite: str
    name: str
    outcome: str
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome in (PURE, SPECIALISED)


def attempt(example: Example, folder: Path, process: MindSporeProcess) -> Result:
    """Tries the model as it is and, failing that, with its integer parameters made constants.

    Sequences become so many tensors before that, which only a specialised model takes.
    """
    tensors = unpacked(example) if of_sequences(example.model) else example
    if tensors is None:
        return Result(
            example.suite, example.name, UNSUPPORTED, "an optional without an element is no tensor"
        )
    kind = PURE if tensors is example else SPECIALISED
    first = _try(tensors, tensors.model, folder, process, kind)
    if first.passed or first.outcome == VACUOUS:
        return first
    constant = baked(tensors, {info.name for info in example.model.graph.input})
    if constant is None:
        return first
    second = _try(tensors, constant, folder, process, SPECIALISED)
    return second if second.passed else first


def _try(
    example: Example, model: onnx.ModelProto, folder: Path, process: MindSporeProcess, kind: str
) -> Result:
    path = folder / "model.onnx"
    onnx.save(model, path)
    try:
        artifact = onnx_to_mindir.convert(path, folder, inputs=(), parent="")
        if not _computes(artifact.path):
            return Result(example.suite, example.name, VACUOUS, "no primitive computes the answer")
        runner = MindSporeRunner(artifact, process=process)
        for inputs, outputs in example.data:
            given = dict(zip((i.name for i in example.model.graph.input), inputs, strict=False))
            # An input that is also an initializer is not given.
            fed = [i.name for i in model.graph.input if i.name in given]
            found = runner.run({name: np.asarray(given[name]) for name in fed})
            names = [o.name for o in model.graph.output]
            fault = _difference(example, names, outputs, found)
            if fault:
                return Result(example.suite, example.name, WRONG, fault)
    except UnsupportedOperatorError as error:
        return Result(example.suite, example.name, UNSUPPORTED, "; ".join(error.nodes))
    except MigrationError as error:
        return Result(example.suite, example.name, REFUSED, str(error))
    except Exception as error:  # a defect of ours; the table has to show it, not hide the rest
        return Result(example.suite, example.name, BROKEN, f"{type(error).__name__}: {error}")
    return Result(example.suite, example.name, kind)


def _computes(path: Path) -> bool:
    """Whether at least one primitive of the graph computes; the loader prunes what is unused."""
    model = read_model(path)
    graphs = (model.graph, *model.functions)
    called = {node.op_type.partition("::")[2] for graph in graphs for node in graph.node}
    return any(p.op_type not in _PLUMBING for p in model.primitives if p.name in called)


def _difference(
    example: Example, names: Sequence[str], expected: Sequence[Any], found: dict[str, Any]
) -> str:
    for name, want in zip(names, expected, strict=True):
        have = found[name]
        want = np.asarray(want)  # noqa: PLW2901 - a scalar of the test data
        relative = example.rtol
        if want.dtype.name == "bfloat16":
            want = want.astype(np.float32)  # noqa: PLW2901 - what the runner returns
            relative = max(relative, _BFLOAT16)
        if have.dtype != want.dtype or have.shape != want.shape:
            return f"{name} is {have.dtype}{list(have.shape)}, not {want.dtype}{list(want.shape)}"
        close = np.array_equal(have, want)
        if have.dtype.kind in "fc":
            close = np.allclose(have, want, relative, _absolute(example, want), equal_nan=True)
        if not close:
            return f"{name} has other values"
    return ""


def _absolute(example: Example, want: np.ndarray) -> float:
    # ONNX's own runner compares halves loosely; one unit in the last place of the largest value.
    if want.dtype == np.float16:
        largest = np.abs(want[np.isfinite(want)]).max(initial=0)
        return max(example.atol, float(np.spacing(np.float16(largest))))
    return example.atol


def baked(example: Example, names: Collection[str]) -> onnx.ModelProto | None:
    """Makes constants of the inputs that are parameters; None where there is none.

    Those are integers, numbers of rank 0, and the factors of a Resize.
    Only of those among ``names``: what a sequence holds is no parameter.
    """
    if len(example.data) != 1:
        return None
    parameters = {
        info.name: value
        for info, value in zip(example.model.graph.input, example.data[0][0], strict=False)
        if info.name in names
        and isinstance(value, np.ndarray)
        and (value.dtype.kind in "iub" or value.ndim == 0 or info.name == "scales")
        and value.ndim <= 1
        and value.size <= _BAKED
    }
    if not parameters or len(parameters) == len(example.model.graph.input):
        return None
    model = onnx.ModelProto()
    model.CopyFrom(example.model)
    for info in list(model.graph.input):
        if info.name in parameters:
            model.graph.input.remove(info)
            model.graph.initializer.append(
                numpy_helper.from_array(parameters[info.name], info.name)
            )
    return model
