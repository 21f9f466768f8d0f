"""Repetition: written out where the number of trips is known, else as a function that calls itself.

What repeats is a step: it gets the trip's number, the condition and the states, and returns a new
condition, new states, and one row for each stack.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ascend_migrate.converters.mindir.context import Context, known
from ascend_migrate.converters.mindir.values import (
    Dim,
    Element,
    Shape,
    UnsupportedError,
    Value,
    constant,
)
from ascend_migrate.pipeline.dtypes import numpy_dtype

_WRITTEN_OUT = 2000
"""Nodes that a loop may become when it is written out; MindSpore compiles some 500 in a second."""

_FEW = 16
"""Trips that are written out in any case: layers of a network that an export made a loop of."""

Result = tuple[Value, list[Value], list[Value]]
Step = Callable[[Context, Value, Value, Sequence[Value]], Result]


@dataclass(frozen=True, slots=True)
class Loop:
    """What is repeated, and how often.

    Attributes:
        step: writes one trip.
        size: number of ONNX nodes of a trip.
        trips: how often at most, an int64 tensor of one element; None for no limit.
        condition: whether there is a first trip.
        states: their initial values.
        stacks: element type and shape of a row of each stack, as declared; None where they are not.
    """

    step: Step
    size: int
    trips: Value | None
    condition: Value
    states: tuple[Value, ...]
    stacks: tuple[tuple[str, Shape | None] | None, ...]


def repeat(context: Context, loop: Loop) -> tuple[list[Value], list[Value]]:
    """Writes a loop and returns the last states and the stacks, along a new first dimension.

    Raises:
        UnsupportedError: the loop never ends, or a size must be known that is not.
    """
    written = _written_out(context, loop)
    if written is not None:
        states, columns = written
        stacks = [_stack(context, c, d) for c, d in zip(columns, loop.stacks, strict=True)]
        return states, stacks
    if any(value.items is not None for value in loop.states):
        return _appending(context, loop)
    return _recursive(context, loop)


def _written_out(context: Context, loop: Loop) -> tuple[list[Value], list[list[Value]]] | None:
    """Returns the last states and the rows of each stack; None if the loop's end is not known."""
    if loop.trips is not None and loop.trips.constant is None:
        return None
    limit = None if loop.trips is None else int(_content(loop.trips).reshape(())[()])
    most = max(_FEW, _WRITTEN_OUT // max(1, loop.size))
    condition, states = loop.condition, list(loop.states)
    columns: list[list[Value]] = [[] for _ in loop.stacks]
    index = 0
    while limit is None or index < limit:
        if condition.constant is None or index == most:
            return None
        if not _true(condition):
            break
        number = constant("trip", np.array(index, np.int64))
        condition, states, rows = loop.step(context, number, condition, states)
        for column, row in zip(columns, rows, strict=True):
            column.append(row)
        index += 1
    return states, columns


def _content(value: Value) -> np.ndarray:
    assert value.constant is not None  # noqa: S101 - narrows the type
    return value.constant


def _true(condition: Value) -> bool:
    return condition.constant is not None and bool(condition.constant.all())


def _stack(
    context: Context, rows: Sequence[Value], declared: tuple[str, Shape | None] | None
) -> Value:
    if not rows:
        dtype, shape = declared or ("", None)
        sizes = [size for size in shape or () if isinstance(size, int)]
        if shape is None or len(sizes) != len(shape):
            raise UnsupportedError("the loop makes no trip, and the size of its output is unknown")
        return constant("stack", np.empty((0, *sizes), numpy_dtype(dtype)))
    if all(row.constant is not None for row in rows):
        return constant("stack", np.stack([_content(row) for row in rows]))
    if all(row.shape == () and row.elements is not None for row in rows):
        elements = tuple(item for row in rows for item in row.elements or ())
        return Value("stack", "int64", (len(rows),), elements=elements)
    return context.concat([context.unsqueeze(row, (0,)) for row in rows], 0)


_EARLIER = Value("the tensors of earlier trips", "", None)
"""Stands in the body for what a sequence holds already."""


def _appending(context: Context, loop: Loop) -> tuple[list[Value], list[Value]]:
    """Writes a loop in which sequences grow by one tensor in each trip: stacks by another name."""
    for value in loop.states:
        if value.items or value.stack is not None:
            raise UnsupportedError(
                f"the sequence {value.name!r} is not empty before a loop whose trips are counted "
                "when the model runs; make their number a constant"
            )

    def step(inner: Context, trip: Value, going: Value, given: Sequence[Value]) -> Result:
        tensors = iter(given)
        full = [next(tensors) if v.items is None else replace(v, stack=_EARLIER) for v in before]
        going, after, rows = loop.step(inner, trip, going, full)
        added = [_added(value) for value in after if value.items is not None]
        return going, [value for value in after if value.items is None], [*rows, *added]

    before = loop.states
    tensors = tuple(value for value in before if value.items is None)
    stacks = (*loop.stacks, *[None] * (len(before) - len(tensors)))
    last, made = _recursive(context, replace(loop, step=step, states=tensors, stacks=stacks))
    ends, grown = iter(last), iter(made[len(loop.stacks) :])
    states = [next(ends) if v.items is None else _sequence(v, next(grown)) for v in before]
    return states, made[: len(loop.stacks)]


def _added(sequence: Value) -> Value:
    if sequence.stack is not _EARLIER or sequence.items is None or len(sequence.items) != 1:
        raise UnsupportedError(
            "a loop whose trips are counted when the model runs may only add one tensor in each "
            f"trip to the end of the sequence {sequence.name!r}; make their number a constant"
        )
    return sequence.items[0]


def _sequence(empty: Value, stack: Value) -> Value:
    return Value(empty.name, stack.dtype, None, items=(), stack=stack)


def _recursive(context: Context, loop: Loop) -> tuple[list[Value], list[Value]]:
    """Writes head(i, ...) = body(i, ...) if it goes on, else its states; body calls head(i + 1)."""
    shapes = [value.sizes for value in loop.states]
    while True:
        # Sizes that a trip changes are unknown in every trip; that can make others unknown too.
        body = _Body(context, loop, shapes)
        wider = [_common(a, b.sizes) for a, b in zip(shapes, body.states, strict=True)]
        if wider == shapes:
            break
        shapes = wider
    if loop.trips is None and body.always:
        raise UnsupportedError("the loop has no limit, and its condition is always true")
    return body.finish()


def _common(ours: Shape, theirs: Shape) -> Shape:
    if len(ours) != len(theirs):
        raise UnsupportedError(
            f"a state has {len(ours)} dimensions before a trip and {len(theirs)} after it; "
            "make the trips a constant, so that the loop can be written out"
        )
    return tuple(a if a == b else None for a, b in zip(ours, theirs, strict=True))


class _Body:
    """The body of a loop as a function: (i, trips, condition, *states, *stacks, *captured)."""

    def __init__(self, context: Context, loop: Loop, shapes: Sequence[Shape]) -> None:
        self.context, self.loop, self.shapes = context, loop, shapes
        self.inner = context.function()
        writer = self.inner.writer
        self.index = Value("trip", "int64", (), ref=writer.argument())
        self.limit = Value("trips", "int64", (), ref=writer.argument())
        self.going = Value("condition", "bool", (), ref=writer.argument())
        states = [
            Value(v.name, v.dtype, shape, ref=writer.argument())
            for v, shape in zip(loop.states, shapes, strict=True)
        ]
        self.stacks = [writer.argument() for _ in loop.stacks]
        self.condition, self.states, self.rows = loop.step(
            self.inner, self.index, self.going, states
        )

    @property
    def always(self) -> bool:
        """Whether the condition is true before every trip."""
        kept = self.condition.ref == self.going.ref or _true(self.condition)
        return kept and _true(self.loop.condition)

    def finish(self) -> tuple[list[Value], list[Value]]:
        """Writes the rest and the first call; returns the last states and the stacks."""
        context, loop, inner = self.context, self.loop, self.inner
        zero = context.constant(0, "int64")
        limit = zero if loop.trips is None else context.reshape(loop.trips, ())
        first = [zero, limit, context.reshape(loop.condition, ())]
        first += [_freed(context, v, s) for v, s in zip(loop.states, self.shapes, strict=True)]
        first += [_no_rows(context, row) for row in self.rows]
        given = [context.reference(value) for value in first]

        one = inner.constant(1, "int64")
        following = [
            inner.emit("Add", self.index, one, dtype="int64", shape=()),
            self.limit,
            inner.reshape(self.condition, ()),
            *self.states,
            *self._longer(),
        ]
        passed = [inner.writer.local(inner.reference(value)) for value in following]
        # Only now is it known what the body uses of the graphs around it.
        captured = inner.writer.captured()
        head, leave = context.function(), context.function()
        inner.writer.returns(
            inner.writer.apply(head.writer, [*passed, *captured.values()], inner.scope)
        )
        arguments = [head.writer.argument() for _ in [*passed, *captured]]
        results = arguments[3 : len(passed)]
        leave.writer.finish([leave.writer.argument() for _ in results])
        branches = [(inner.writer, arguments), (leave.writer, results)]
        going = self._goes_on(head, arguments)
        head.writer.returns(head.writer.choose(going, branches, head.scope))

        whole = context.writer.apply(head.writer, [*given, *captured], context.scope)
        kinds = [(v.dtype, s) for v, s in zip(loop.states, self.shapes, strict=True)]
        length = self.loop.trips.elements if self.always and self.loop.trips else None
        count = None if length is None else known(length)[0]
        kinds += [(row.dtype, (count, *row.sizes)) for row in self.rows]
        made = list(context.unpack(whole, kinds))
        return made[: len(loop.states)], made[len(loop.states) :]

    def _longer(self) -> list[Value]:
        return [
            self.inner.concat(
                [
                    Value("stack", row.dtype, (None, *row.sizes), ref=stack),
                    self.inner.unsqueeze(row, (0,)),
                ],
                0,
            )
            for stack, row in zip(self.stacks, self.rows, strict=True)
        ]

    def _goes_on(self, head: Context, arguments: Sequence[str]) -> str:
        index, limit, going = (
            Value("head", dtype, (), ref=ref)
            for dtype, ref in zip(("int64", "int64", "bool"), arguments, strict=False)
        )
        if self.loop.trips is None:
            return arguments[2]
        below = head.emit("Less", index, limit, dtype="bool", shape=())
        if not self.always:
            below = head.emit("LogicalAnd", below, going, dtype="bool", shape=())
        return head.reference(below)


def _no_rows(context: Context, row: Value) -> Value:
    """Returns a stack of rows like ``row``, a value of the body, that has none yet."""
    sizes = [_outside(context, size) for size in row.sizes]
    one = context.constant(np.zeros((1,) * (len(sizes) + 1)), row.dtype)
    return _resized(context, context.expand(one, (1, *sizes)), {0: 0})


def _outside(context: Context, size: Dim) -> Element:
    """Returns a size of a value of the body as the graph around it knows it."""
    if isinstance(size, int):
        return size
    for value in context.inputs:
        if size is not None and size in value.sizes:
            return context.dim(value, value.sizes.index(size))
    raise UnsupportedError(
        "the size of a scan output must be known before the loop; give it a fixed size, or make "
        "the trips a constant, so that the loop can be written out"
    )


def _freed(context: Context, value: Value, shape: Shape) -> Value:
    """Returns a state with those sizes made unknown to MindSpore that are so in ``shape``."""
    sizes = {axis: context.dim(value, axis) for axis, size in enumerate(shape) if size is None}
    if 0 in sizes.values():
        # MindSpore takes no constant without elements: cut from one that has some.
        one = context.constant(np.zeros((1,) * value.rank), value.dtype)
        full = context.expand(one, [1 if size == 0 else size for size in context.dims(value)])
        return _resized(context, full, sizes)
    return _resized(context, value, sizes)


def _resized(context: Context, value: Value, sizes: dict[int, Element]) -> Value:
    """Takes the first ``sizes`` of some dimensions, none of which MindSpore knows when it compiles.

    It compiles a function for the sizes of the first call, and gives wrong values if a later
    call, from the function itself, has others. A size that depends on data stays unknown.
    """
    if not sizes:
        return value
    data = _number(context)
    for axis, size in sizes.items():
        least = context.arithmetic("Max", context.arithmetic("Min", data, size), size)
        value = replace(context.slice(value, axis, 0, least), name=value.name)
    return value


def _number(context: Context) -> Element:
    """Returns any number that depends on the data that the model is given."""
    for value in context.inputs:
        if value.constant is None and not value.dtype.startswith("complex"):
            first = value if value.shape == () else context.reshape(value, (-1,))
            if first.shape != ():
                first = context.squeeze(context.slice(first, 0, 0, 1), (0,))
            return context.elements(first)[0]
    raise UnsupportedError("a loop whose sizes change needs an input of the model with elements")
