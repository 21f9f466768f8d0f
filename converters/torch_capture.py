"""torch.export with the declared dimensions kept dynamic, or an error that names the dimension."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ascend_migrate.pipeline.dtypes import torch_dtype
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.inputs import Dim, InputSpec, dynamic_dims

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

_REASON_LENGTH = 300
_EXAMPLE_FROM = 3
"""Example sizes start above 2, so that an example never equals the frequent constants 1 and 2."""


def capture(
    model: "torch.nn.Module", inputs: Sequence[InputSpec], *, keywords: bool
) -> tuple["ExportedProgram", list[str]]:
    """Traces ``model`` with every declared dimension dynamic.

    Returns:
        The program, and notes on ranges that could not be proved.

    Raises:
        ConversionError: one line with the dimension or the operator at fault.
    """
    import torch

    # Size 1 is not assumed apart from the others: a branch on it then shows up as a guard.
    settings: Any = torch.fx.experimental._config
    oblivious = settings.patch(backed_size_oblivious=True)
    with oblivious:
        try:
            return _export(model, inputs, keywords, defer=False), []
        except torch._dynamo.exc.UserError as error:
            first = error
        guards = _unproved(str(first))
        baked = _baked(str(first), inputs)
        if baked or not guards:
            raise _refusal(first, baked) from None
        try:
            program = _export(model, inputs, keywords, defer=True)
        except torch._dynamo.exc.UserError as error:
            raise _refusal(error, _baked(str(error), inputs)) from None
    note = f"torch.export could not prove the graph for every declared size: {'; '.join(guards)}."
    return program, [note]


def _export(
    model: "torch.nn.Module", inputs: Sequence[InputSpec], keywords: bool, *, defer: bool
) -> "ExportedProgram":
    import torch

    from ascend_migrate.converters.torch_rnn_capture import whole_recurrent_layers

    dims = {
        name: torch.export.Dim(name, min=dim.low, max=dim.high)
        for name, dim in dynamic_dims(inputs).items()
        if dim.low != dim.high
    }
    shapes = {
        item.name: {
            axis: dims[dim.name]
            for axis, dim in enumerate(item.shape)
            if isinstance(dim, Dim) and dim.name in dims
        }
        for item in inputs
    }
    tensors = _examples(inputs)
    try:
        with whole_recurrent_layers(), torch.no_grad():
            return torch.export.export(
                model,
                () if keywords else tuple(tensors.values()),
                kwargs=tensors if keywords else None,
                dynamic_shapes=shapes if keywords else _by_position(model, list(shapes.values())),
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=defer,
            )
    except torch._dynamo.exc.UserError as error:
        if "Constraints violated" in str(error):
            raise
        raise _refusal(error, []) from None
    except (
        RuntimeError,  # data-dependent control flow, shape errors, unsupported operators
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        KeyError,
        AssertionError,
        NotImplementedError,
    ) as error:
        raise _refusal(error, []) from None


def _by_position(model: "torch.nn.Module", shapes: list[Any]) -> Any:
    """Nests the shapes as the signature asks: ``*args`` takes them as one tuple."""
    import inspect

    parameters = list(inspect.signature(model.forward).parameters.values())
    starred = [p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters]
    if True not in starred:
        return tuple(shapes)
    first = starred.index(True)
    return (*shapes[:first], tuple(shapes[first:]))


def _examples(inputs: Sequence[InputSpec]) -> dict[str, "torch.Tensor"]:
    """Returns one tensor for each input; different dimensions get different sizes."""
    import torch

    sizes: dict[str, int] = {}
    fixed = {size for item in inputs for size in item.shape if isinstance(size, int)}
    for name, dim in dynamic_dims(inputs).items():
        wanted = range(max(dim.low, _EXAMPLE_FROM), dim.high + 1)
        free = (size for size in wanted if size not in fixed and size not in sizes.values())
        sizes[name] = next(free, dim.high)
    generator = torch.Generator().manual_seed(0)
    examples = {}
    for item in inputs:
        kind, shape = torch_dtype(item.dtype), item.sizes(sizes)
        if kind.is_floating_point or kind.is_complex:
            examples[item.name] = torch.rand(shape, generator=generator).to(kind)
        else:
            # The least value is valid wherever any is: an index, a mask, a length.
            examples[item.name] = torch.full(shape, int(item.low or 0)).to(kind)
    return examples


def _unproved(message: str) -> list[str]:
    """Returns the guards of a constraint violation that is only a narrowed range."""
    found = re.findall(r"Not all values of (\w+) = .*? satisfy the generated guard (.+)", message)
    return [f"{name} needs {_readable(guard)}" for name, guard in found][:4]


def _readable(guard: str) -> str:
    return re.sub(r"L\['(\w+)'\](?:\[\d+\])?\.size\(\)\[(\d+)\]", r"\1.shape[\2]", guard).rstrip(
        "."
    )


def _baked(message: str, inputs: Sequence[InputSpec]) -> list[str]:
    """Returns the dimensions that the model turned into constants."""
    marked = re.findall(r"marked (\w+) as dynamic but your code specialized it", message)
    fixed = re.findall(r"^\s+(\w+) = (?:\d+)$", message, re.MULTILINE)
    equal = re.findall(r"^\s+(\w+) = (\w+)$", message, re.MULTILINE)
    names = dynamic_dims(inputs)
    return sorted({n for n in [*marked, *fixed, *(a for a, _ in equal)] if n in names})


def _refusal(error: BaseException, baked: Sequence[str]) -> ConversionError:
    if baked:
        return ConversionError(
            f"dynamic dimension(s) {', '.join(baked)} would be fixed by the model "
            f"({reason_of(error)}); declare one size, or remove what depends on it in the model"
        )
    guards = _unproved(str(error))
    if guards:
        return ConversionError(
            f"the model cannot take every declared size: {'; '.join(guards)}; narrow the range of "
            "the dimension"
        )
    return ConversionError(
        f"torch.export cannot trace the model: {reason_of(error)}; control flow and shapes "
        "must not depend on the values of tensors"
    )


def reason_of(error: BaseException) -> str:
    """Returns the essential cause of an exporter's message, in one line."""
    text = re.sub(r"\x1b\[\d+m|\[9\dm|\[0m", "", str(error))
    lines = [line.strip(" -") for line in text.splitlines() if line.strip(" -")]
    telling = (
        r"No ONNX function found",
        r"specialized it to be a constant",
        r"satisfy the generated guard",
        r"Could not (guard|extract)",
        r"Error when translating",
    )
    for pattern in telling:
        for line in lines:
            if re.search(pattern, line):
                return _shortened(line)
    return _shortened(lines[0] if lines else type(error).__name__)


def _shortened(line: str) -> str:
    line = re.sub(r"<class '[\w.]+'>: ", "", line).split(" If you're using")[0]
    line = _readable(line).rstrip(".")
    return line if len(line) <= _REASON_LENGTH else line[: _REASON_LENGTH - 1] + "…"
