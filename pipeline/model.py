"""The original model: built by the user's own code, filled with the checkpoint's own numbers."""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from fnmatch import fnmatchcase
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.checkpoint import Checkpoint
from ascend_migrate.pipeline.checkpoint.mapped import PrivateMaps
from ascend_migrate.pipeline.checkpoint.state_dict import common_prefix
from ascend_migrate.pipeline.dtypes import torch_dtype
from ascend_migrate.pipeline.errors import ModelError
from ascend_migrate.pipeline.printable import in_one_line

if TYPE_CHECKING:
    import torch

_REASON = 300
"""Characters of a foreign error message that are passed on."""


def build_model(
    target: str, args: Sequence[Any], kwargs: Mapping[str, Any], search: Path | None
) -> "torch.nn.Module":
    """Imports and calls the user's code, which is trusted, unlike the checkpoint.

    Args:
        target: ``MODULE:CALLABLE``; the callable returns a ``torch.nn.Module``.
        args: its positional arguments.
        kwargs: its keyword arguments.
        search: folder that is searched for the module first.

    Returns:
        The model in eval mode, with the weights that its code gives it.

    Raises:
        ModelError: the code cannot be found, fails, or returns something else.
    """
    import torch

    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise ModelError(f"model {target!r}: expected MODULE:CALLABLE")
    # What user code prints must not end up among our results.
    with _on_path(search), redirect_stdout(sys.stderr):
        try:
            _check_same_file(module, search)
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
            model = found(*args, **kwargs)
        except ModelError:
            raise
        except ModuleNotFoundError as error:
            places = "the installed packages"
            if search is not None:
                places = f"{search} and {places}"
            raise ModelError(
                f"model {target}: no module named {error.name!r} in {places}; put it beside the "
                "specification, or install it"
            ) from error
        # Arbitrary user code can raise anything; this is the one seam where it meets ours.
        except (Exception, SystemExit) as error:
            raise ModelError(f"model {target}: {_one_line(error)}") from error
    if not isinstance(model, torch.nn.Module):
        raise ModelError(
            f"model {target}: returned {type(model).__name__}, not a torch.nn.Module; name a "
            "callable that returns the model"
        )
    return model.eval()


def load_state(
    model: "torch.nn.Module",
    checkpoint: Checkpoint,
    *,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
) -> tuple[str, ...]:
    """Fills the model with the checkpoint; every name must fit unless it is allowed not to.

    Floating types stay those of the checkpoint, so that the model computes as it was trained.
    Parameters that the model ties stay tied.

    Args:
        model: the model; changed in place.
        checkpoint: where the values come from.
        allow_missing: patterns of names that may keep the value that the model's code gave them.
        allow_unexpected: patterns of names in the checkpoint that the model may ignore.

    Returns:
        One line for each thing that the user should know.

    Raises:
        ModelError: lists all missing, unexpected, mis-shaped and inexact names.
        SourceError: a tensor cannot be read.
    """
    expected = _tensors_of(model)
    names = _aligned(checkpoint, expected)
    ties = _ties(expected)
    satisfied = {name for group in ties for name in group if any(n in names for n in group)}
    missing = [n for n in expected if n not in names and n not in satisfied]
    unexpected = [n for n in names if n not in expected]
    faults = [f"missing {n}" for n in missing if not _matches(n, allow_missing)]
    faults += [f"unexpected {_plain(n)}" for n in unexpected if not _matches(n, allow_unexpected)]
    faults += _misshaped(checkpoint, names, expected)
    state: dict[str, torch.Tensor] = {}
    if not faults:
        state, faults = _state(checkpoint, names, expected, ties)
    if faults:
        raise ModelError(
            f"{checkpoint.path} does not fit {type(model).__name__}: {'; '.join(faults)} "
            "(use the class and arguments it was trained with, or allow single names)"
        )
    parameters = _shared_parameters(model)
    model.load_state_dict(state, strict=False, assign=True)
    _tie_again(model, parameters)
    model.eval()
    notes = [
        f"{n} is not in the checkpoint and keeps the value of the model's code" for n in missing
    ]
    notes += [f"{_plain(n)} is in the checkpoint and not in the model" for n in unexpected]
    return (*notes, *_mixed(state))


@contextmanager
def _on_path(search: Path | None) -> Iterator[None]:
    if search is None:
        yield
        return
    before = list(sys.path)
    sys.path.insert(0, str(search.resolve()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _check_same_file(module: str, search: Path | None) -> None:
    """Refuses to reuse a loaded module of the same name from another place."""
    top = module.partition(".")[0]
    loaded = sys.modules.get(top)
    if search is None or loaded is None:
        return
    spec = PathFinder.find_spec(top, [str(search.resolve())])
    here = getattr(loaded, "__file__", None)
    if spec is None or spec.origin is None:
        return
    if here is None or Path(here).resolve() != Path(spec.origin).resolve():
        raise ModelError(
            f"model {module}: {spec.origin} cannot be loaded because a module {top!r} is already "
            f"loaded from {here or 'inside Python'}; rename the file"
        )


def _one_line(error: BaseException) -> str:
    text = in_one_line(error)[:_REASON]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _plain(name: str) -> str:
    """Returns a name from the file so that it stays on one line."""
    return name if name.isprintable() else repr(name)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _tensors_of(model: "torch.nn.Module") -> dict[str, "torch.Tensor"]:
    import torch
    from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

    state = model.state_dict(keep_vars=True)
    unshaped = (UninitializedParameter, UninitializedBuffer)
    lazy = [name for name, value in state.items() if isinstance(value, unshaped)]
    if lazy:
        raise ModelError(
            f"{type(model).__name__} has lazy parameters ({', '.join(lazy)}); let the callable run "
            "the model once before it returns it"
        )
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


def _aligned(checkpoint: Checkpoint, expected: Mapping[str, Any]) -> dict[str, str]:
    """Maps the model's names to the checkpoint's.

    They differ only where the model itself is a wrapper whose prefix was stripped on reading.
    """
    prefix = common_prefix(expected)
    if not prefix or any(name in expected for name in checkpoint.tensors):
        prefix = ""
    return {prefix + name: name for name in checkpoint.tensors}


def _ties(expected: Mapping[str, "torch.Tensor"]) -> list[list[str]]:
    """Returns the groups of names whose tensors are the same memory."""
    groups: dict[Any, list[str]] = {}
    for name, tensor in expected.items():
        place: Any = id(tensor)
        if not tensor.is_meta and tensor.numel():
            place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        groups.setdefault(place, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _misshaped(
    checkpoint: Checkpoint, names: Mapping[str, str], expected: Mapping[str, "torch.Tensor"]
) -> list[str]:
    faults = []
    for name, source in names.items():
        if name in expected:
            found, wanted = checkpoint.tensors[source].shape, tuple(expected[name].shape)
            # torch before 0.4 had no 0-d tensors and saved them with one element.
            if found != wanted and not (wanted == () and found == (1,)):
                faults.append(f"shape of {name} is {list(found)}, the model's {list(wanted)}")
    return faults


def _state(
    checkpoint: Checkpoint,
    names: Mapping[str, str],
    expected: Mapping[str, "torch.Tensor"],
    ties: Sequence[Sequence[str]],
) -> tuple[dict[str, "torch.Tensor"], list[str]]:
    """Reads the tensors as the model takes them; one tensor serves all names of a tie."""
    state: dict[str, torch.Tensor] = {}
    faults = []
    first = {name: group for group in ties for name in group}
    maps = PrivateMaps()
    for name in expected:
        if name not in names:
            continue
        tensor = _tensor(checkpoint, names[name], maps).reshape(expected[name].shape)
        fitting = _fitted(tensor, expected[name].dtype)
        if fitting is None:
            faults.append(f"{name} is {tensor.dtype} and not exact as {expected[name].dtype}")
            continue
        known = next((state[n] for n in first.get(name, ()) if n in state), None)
        if known is not None and not _same_bits(known, fitting):
            faults.append(f"{name} differs from the names that the model ties it to")
        state[name] = fitting if known is None else known
    for group in ties:
        given = next((state[n] for n in group if n in state), None)
        if given is not None:
            state |= dict.fromkeys(group, given)
    return state, faults


def _tensor(checkpoint: Checkpoint, name: str, maps: PrivateMaps) -> "torch.Tensor":
    import numpy as np
    import torch

    array = checkpoint.read_writable(name, maps)
    dtype = torch_dtype(checkpoint.tensors[name].dtype)
    if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat", "float8")):
        # NumPy and torch share no such type: the bits travel as integers.
        bits = np.uint16 if array.itemsize == 2 else np.uint8  # noqa: PLR2004
        return torch.from_numpy(array.view(bits)).view(dtype)
    return torch.from_numpy(array)


def _fitted(tensor: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor | None":
    """Keeps floating types; casts others to the model's type if that is exact, else None."""
    kept = (tensor.is_floating_point() and dtype.is_floating_point) or (
        tensor.is_complex() and dtype.is_complex
    )
    if kept or tensor.dtype == dtype:
        return tensor
    if tensor.is_complex() or dtype.is_complex:
        return None
    cast = tensor.to(dtype)
    return cast if bool((cast.to(tensor.dtype) == tensor).all()) else None


def _same_bits(one: "torch.Tensor", other: "torch.Tensor") -> bool:
    import torch

    if one.dtype != other.dtype:
        return False
    return torch.equal(
        one.contiguous().reshape(-1).view(torch.uint8),
        other.contiguous().reshape(-1).view(torch.uint8),
    )


def _shared_parameters(model: "torch.nn.Module") -> list[list[str]]:
    """Returns the groups of names, beyond shared modules, that are one Parameter or buffer."""
    groups: dict[int, list[str]] = {}
    for name, tensor in _tensors_of(model).items():
        groups.setdefault(id(tensor), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _tie_again(model: "torch.nn.Module", groups: Sequence[Sequence[str]]) -> None:
    for group in groups:
        owner, _, leaf = group[0].rpartition(".")
        one = getattr(model.get_submodule(owner), leaf)
        for name in group[1:]:
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, one)


def _mixed(state: Mapping[str, "torch.Tensor"]) -> list[str]:
    kinds = sorted({str(t.dtype) for t in state.values() if t.is_floating_point()})
    return [f"the weights mix {' and '.join(kinds)}, kept as trained"] if len(kinds) > 1 else []
