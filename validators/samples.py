"""Real inputs that the user gives, as cases of the judgement."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Never

import numpy as np

from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.inputs import InputSpec
from ascend_migrate.pipeline.printable import in_one_line
from ascend_migrate.validators.cases import Array, Case, Feeds, said


def load_samples(path: Path, inputs: Sequence[InputSpec]) -> tuple[Case, ...]:
    """Reads one case from a file with an array for each input.

    Args:
        path: .npz, .safetensors or .json, keyed by input name; where there is one input only also
            .npy, or .json that is the array itself. Numbers of .json take the declared type.
        inputs: what the model is fed; element types and sizes must fit.

    Raises:
        SourceError: the file is unreadable, or an array is missing or does not fit.
    """
    arrays = _arrays(path, inputs)
    dims: dict[str, int] = {}
    faults = misfits(arrays, inputs, dims)
    if faults:
        raise SourceError(f"sample {path}: {'; '.join(faults)}")
    feeds: Feeds = {item.name: arrays[item.name] for item in inputs}
    return (Case(f"sample {path.name}{said(dims)}", feeds),)


def misfits(
    arrays: Mapping[str, Array], inputs: Sequence[InputSpec], dims: dict[str, int]
) -> list[str]:
    """Says what of some arrays is not what a model is fed; ``dims`` gets the sizes found."""
    faults = [f"{name!r} is no input" for name in arrays if name not in {i.name for i in inputs}]
    for item in inputs:
        array = arrays.get(item.name)
        if array is None:
            faults.append(f"{item.name!r} is missing")
        elif array.dtype != numpy_dtype(item.dtype) or not _fits(array.shape, item, dims):
            faults.append(
                f"{item.name!r} is {array.dtype.name}{list(array.shape)}, which is not {item}"
            )
    return faults


def _arrays(path: Path, inputs: Sequence[InputSpec]) -> dict[str, Array]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
        if path.suffix == ".json":
            return _from_json(path, inputs)
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {_lone(inputs): found}
        with found:
            return {name: found[name] for name in found.files}
    # numpy, json and safetensors raise errors of their own kinds for damaged files.
    except Exception as error:
        reason = in_one_line(error)
        raise SourceError(
            f"sample {path}: not a readable .npz, .npy, .safetensors or .json: {reason}"
        ) from None


def _lone(inputs: Sequence[InputSpec]) -> str:
    if len(inputs) != 1:
        raise ValueError(f"one array without a name, but the model has {len(inputs)} inputs")
    return inputs[0].name


def _from_json(path: Path, inputs: Sequence[InputSpec]) -> dict[str, Array]:
    found: Any = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    if not isinstance(found, dict):
        found = {_lone(inputs): found}
    declared = {item.name: item.dtype for item in inputs}
    return {
        name: _typed(np.asarray(value), declared[name]) if name in declared else np.asarray(value)
        for name, value in found.items()
    }


def _typed(array: Array, dtype: str) -> Array:
    """Returns the numbers in the declared type, which JSON has no word for, if it holds them."""
    wanted = numpy_dtype(dtype)
    if array.dtype.kind == wanted.kind == "b":
        return array
    if array.dtype.kind not in "iu" and not (array.dtype.kind == "f" and wanted.kind not in "biu"):
        return array
    cast = array.astype(wanted)
    exact = wanted.kind not in "biu" or np.array_equal(cast.astype(array.dtype), array)
    return cast if exact else array


def _no_number(word: str) -> Never:
    raise ValueError(f"{word} is no number in JSON")


def _fits(shape: tuple[int, ...], item: InputSpec, dims: dict[str, int]) -> bool:
    """Compares sizes with the declaration; a named dimension has one size in all inputs."""
    if len(shape) != len(item.shape):
        return False
    for size, wanted in zip(shape, item.shape, strict=True):
        if isinstance(wanted, int):
            if size != wanted:
                return False
        elif size not in wanted.sizes or dims.setdefault(wanted.name, size) != size:
            return False
    return True
