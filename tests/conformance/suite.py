"""ONNX's own backend tests, as they ship inside the onnx package, in one shape."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

FOLDER_SUITES = ("pytorch-operator", "pytorch-converted", "simple")
SUITES = ("node", *FOLDER_SUITES)


@dataclass(frozen=True)
class Example:
    """One backend test: a model, what it is fed, and what it must return.

    ``inputs`` and ``outputs`` hold one tuple for each data set, in the order of the graph's own;
    values that are no tensors (sequences, optionals, strings) stay what the loader gives.
    """

    name: str
    suite: str
    model: onnx.ModelProto
    data: tuple[tuple[Sequence[Any], Sequence[Any]], ...]
    rtol: float
    atol: float


def examples(suite: str) -> Iterator[Example]:
    """Returns the tests of a suite, by name."""
    yield from _node() if suite == "node" else _folder(suite)


def _node() -> Iterator[Example]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    for case in sorted(found, key=lambda case: case.name):
        assert case.data_sets is not None
        assert case.model is not None
        data = tuple((_decoded(i), _decoded(o)) for i, o in case.data_sets)
        yield Example(case.name, "node", case.model, data, case.rtol, case.atol)


def _folder(suite: str) -> Iterator[Example]:
    root = Path(onnx.__file__).parent / "backend" / "test" / "data" / suite
    for folder in sorted(root.iterdir()):
        if not (folder / "model.onnx").is_file():
            continue
        model = onnx.load(folder / "model.onnx")
        data = tuple(
            (_files(one, "input", model.graph.input), _files(one, "output", model.graph.output))
            for one in sorted(folder.glob("test_data_set_*"))
        )
        yield Example(folder.name, suite, model, data, 1e-3, 1e-7)


def _files(folder: Path, kind: str, infos: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    names = sorted(folder.glob(f"{kind}_*.pb"), key=lambda p: int(p.stem.rpartition("_")[2]))
    values: list[Any] = []
    for path, info in zip(names, infos, strict=False):
        if info.type.WhichOneof("value") != "tensor_type":
            values.append(None)
            continue
        values.append(numpy_helper.to_array(TensorProto.FromString(path.read_bytes())))
    return values


def _decoded(values: Sequence[Any]) -> list[Any]:
    return [
        numpy_helper.to_array(v)
        if isinstance(v, TensorProto)
        else (np.asarray(v) if isinstance(v, np.generic) else v)
        for v in values
    ]


def kinds(model: onnx.ModelProto) -> set[str]:
    """Returns the element types and value kinds of a model's inputs and outputs."""
    found = set()
    for info in (*model.graph.input, *model.graph.output):
        kind = info.type.WhichOneof("value")
        if kind == "tensor_type":
            found.add(TensorProto.DataType.Name(info.type.tensor_type.elem_type))
        else:
            found.add(str(kind))
    return found
