"""torch.export with the declared dimensions kept dynamic, or an error that names the dimension."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ascend_migrate.converters.torch_place import place_of
from ascend_migrate.pipeline.dtypes import torch_dtype
from ascend_migrate.pipeline.errors import ConversionError
from ascend_migrate.pipeline.inputs import Dim, InputSpec, dynamic_dims

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

_REASON_LENGTH = 300
_STEPS = "__steps"
"""Ends the name of torch's dimension that counts the steps of a dimension of ours."""

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
            return _whole(_export(model, inputs, keywords, defer=False), inputs), []
        except torch._dynamo.exc.UserError as error:
            first = error
        guards = _unproved(_message(first))
        if _baked(_message(first), inputs) or not guards:
            raise _refusal(first, inputs) from None
        try:
            program = _whole(_export(model, inputs, keywords, defer=True), inputs)
        except torch._dynamo.exc.UserError as error:
            raise _refusal(error, inputs) from None
    note = f"torch.export could not prove the graph for every declared size: {'; '.join(guards)}."
    return program, [note]


def _export(
    model: "torch.nn.Module", inputs: Sequence[InputSpec], keywords: bool, *, defer: bool
) -> "ExportedProgram":
    import torch

    from ascend_migrate.converters.torch_rnn_capture import whole_recurrent_layers

    dims = {
        name: _torch_dim(dim) for name, dim in dynamic_dims(inputs).items() if dim.low != dim.high
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
        raise _refusal(error, inputs) from None
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
        raise _refusal(error, inputs) from None


def input_positions(program: "ExportedProgram", inputs: Sequence[InputSpec]) -> list[int]:
    """Returns the place of each input among the program's own."""
    from torch.utils import _pytree as pytree

    spec = program.call_spec.in_spec
    positions, named = pytree.tree_unflatten(range(spec.num_leaves), spec)
    return [named[item.name] for item in inputs] if named else list(positions)


def _whole(program: "ExportedProgram", inputs: Sequence[InputSpec]) -> "ExportedProgram":
    """Returns the program if it takes every declared size: of steps, torch narrows it silently.

    Raises:
        ConversionError: names the dimension and the sizes that it does not take.
    """
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    names = program.graph_signature.user_inputs
    for item, position in zip(inputs, input_positions(program, inputs), strict=True):
        shape = placeholders[str(names[position])].meta["val"].shape
        for dim, size in zip(item.shape, shape, strict=True):
            if isinstance(dim, int) or isinstance(size, int) or _torch_step(dim) == 1:
                continue
            (steps,) = size.node.expr.free_symbols
            taken, step = program.range_constraints[steps], _torch_step(dim)
            lost = [s for s in dim.sizes if not taken.lower <= s // step <= taken.upper]
            if lost:
                raise ConversionError(
                    f"the model cannot take every declared size: {dim} was traced without "
                    f"{', '.join(map(str, lost[:4]))}; migrate it for those apart, or remove what "
                    "depends on that size in the model"
                )
    return program


def _torch_dim(dim: Dim) -> Any:
    """Returns the dimension as torch knows it: any number of steps, plus what is left over."""
    import torch

    step = _torch_step(dim)
    if step == 1:
        return torch.export.Dim(dim.name, min=dim.low, max=dim.high)
    least, rest = divmod(dim.low, step)
    steps = torch.export.Dim(f"{dim.name}{_STEPS}", min=least, max=dim.high // step)
    return step * steps + rest if rest else step * steps


def _torch_step(dim: Dim) -> int:
    """Returns the largest step that leaves every size two of them: torch takes 0 and 1 apart."""
    steps = (dim.step // n for n in range(1, dim.step + 1) if dim.step % n == 0)
    return next((step for step in steps if dim.low // step > 1), 1)


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
        wanted = (size for size in dim.sizes if size >= _EXAMPLE_FROM)
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


def _refusal(error: BaseException, inputs: Sequence[InputSpec]) -> ConversionError:
    reason = reason_of(error)
    baked = _baked(_message(error), inputs)
    if baked:
        return ConversionError(
            f"dynamic dimension(s) {', '.join(baked)} would be fixed by the model ({reason}); "
            "remove what depends on that size in the model, or migrate it once for each size, "
            "given as a number"
        )
    guards = _unproved(_message(error))
    if guards:
        return ConversionError(
            f"the model cannot take every declared size: {'; '.join(guards)}; narrow the range of "
            "the dimension, or give it steps, such as h=64..256/32"
        )
    place = place_of(error)
    what = f"torch.export cannot trace the model{f' at {place}' if place else ''}"
    dims = ", ".join(str(dim) for dim in dynamic_dims(inputs).values() if dim.low != dim.high)
    if dims and re.search(r"\bs\d+\b", reason):
        return ConversionError(
            f"{what} with any size of {dims}: {reason}, where s and a number is such a size; "
            "give the dimension steps, such as h=64..256/32, or one size"
        )
    return ConversionError(
        f"{what}: {reason}; control flow and shapes must not depend on the values of tensors"
    )


def _message(error: BaseException) -> str:
    """Returns what torch says, without colours, and of dimensions with steps only the name."""
    text = re.sub(r"\x1b\[\d+m|\[9\dm|\[0m", "", str(error))
    return re.sub(rf"(?:\d+\*)?\b(\w+?){_STEPS}\b(?: \+ \d+)?", r"\1", text)


def reason_of(error: BaseException) -> str:
    """Returns the essential cause of an exporter's message, in one line."""
    lines = [line.strip(" -") for line in _message(error).splitlines() if line.strip(" -")]
    telling = (
        r"No ONNX function found",
        r"specialized it to be a constant",
        r"satisfy the generated guard",
        r"Could not (guard|extract)",
        r"Error when translating",
        r"^<class '[\w.]+'>: ",
    )
    for pattern in telling:
        for line in lines:
            if re.search(pattern, line):
                return _shortened(line)
    return _shortened(lines[0] if lines else type(error).__name__)


def _shortened(line: str) -> str:
    line = re.sub(r"<class '[\w.]+'>: ", "", line).split(" If you're using")[0]
    line = line.split(" (unhinted: ")[0]
    line = _readable(line).rstrip(".")
    return line if len(line) <= _REASON_LENGTH else line[: _REASON_LENGTH - 1] + "…"
