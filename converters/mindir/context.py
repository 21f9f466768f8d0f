"""How operators write MindIR: every primitive call goes through `Context.emit`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ascend_migrate.converters.mindir.primitives import table
from ascend_migrate.converters.mindir.values import (
    Element,
    Scalar,
    Shape,
    UnsupportedError,
    Value,
    constant,
    is_exact,
    natural,
)
from ascend_migrate.converters.mindir.writer import GraphWriter
from ascend_migrate.pipeline.dtypes import numpy_dtype
from ascend_migrate.pipeline.mindir_format import LOW, TYPE_IDS

Argument = Value | Scalar | None | bool | int | float | str | Sequence["Argument"]
"""What a primitive takes: a tensor, a scalar, or a tuple of them."""


class Context:
    """The graph being written, and the ONNX node that is being lowered.

    Attributes:
        writer: of the graph: the main one or a function.
        inputs: of the main graph, in order.
        notes: what the user should know about the graph, one sentence each.
        scope: the ONNX node.
    """

    def __init__(self, writer: GraphWriter) -> None:
        self.writer = writer
        self.inputs: list[Value] = []
        self.notes: list[str] = []
        self.scope = ""

    def function(self) -> "Context":
        """Returns the context of a new function of the same model."""
        inner = Context(self.writer.function())
        inner.inputs, inner.notes, inner.scope = self.inputs, self.notes, self.scope
        return inner

    def note(self, text: str) -> None:
        """Adds a note for the user, once."""
        if text not in self.notes:
            self.notes.append(text)

    def emit(
        self,
        primitive: str,
        *inputs: Argument,
        dtype: str,
        shape: Shape | None,
        **arguments: Any,
    ) -> Value:
        """Calls a primitive that yields one tensor.

        Args:
            primitive: its name in the primitive table.
            *inputs: its first inputs, in order.
            dtype: element type of the result.
            shape: sizes of the result as far as known.
            **arguments: further inputs, or attributes of a legacy primitive, by name.
        """
        ref = self._call(primitive, inputs, arguments, dtype)
        return Value(self.scope, dtype, shape, ref=ref)

    def emit_many(
        self,
        primitive: str,
        *inputs: Argument,
        results: Sequence[tuple[str, Shape | None]],
        **arguments: Any,
    ) -> tuple[Value, ...]:
        """Calls a primitive that yields a tuple of tensors; ``results`` describes each."""
        return self.unpack(self._call(primitive, inputs, arguments), results)

    def unpack(self, whole: str, results: Sequence[tuple[str, Shape | None]]) -> tuple[Value, ...]:
        """Takes apart a tuple of tensors; ``results`` describes each."""
        return tuple(
            Value(self.scope, dtype, shape, ref=self._item(whole, index, dtype))
            for index, (dtype, shape) in enumerate(results)
        )

    def _call(
        self,
        primitive: str,
        inputs: Sequence[Argument],
        arguments: Mapping[str, Any],
        dtype: str = "",
    ) -> str:
        entry = table()[primitive]
        refs = [self.reference(item) for item in entry.arguments(tuple(inputs), arguments)]
        return self.writer.call(primitive, refs, entry.attributes(arguments), self.scope, dtype)

    def _item(self, whole: str, index: int, dtype: str = "") -> str:
        return self.writer.call(
            "TupleGetItem", [whole, self.writer.constant(index)], {}, self.scope, dtype
        )

    def reference(self, argument: Argument) -> str:
        """Returns the MindIR node that yields ``argument``, made now if need be."""
        if isinstance(argument, Value):
            return self._tensor(argument)
        if isinstance(argument, Scalar):
            return argument.ref
        if isinstance(argument, Sequence) and not isinstance(argument, str):
            if _plain(argument):
                return self.writer.constant(tuple(argument))
            return self.writer.call(
                "MakeTuple", [self.reference(item) for item in argument], {}, self.scope
            )
        return self.writer.constant(argument)

    def _tensor(self, value: Value) -> str:
        if value.ref is not None:
            return value.ref
        if value.constant is not None:
            if value.weight:
                return self.writer.parameter(value.name, value.constant)
            return self.writer.constant(value.constant)
        if value.items is not None:
            raise UnsupportedError(
                f"{value.name!r} is a sequence, and MindIR has none; its length and the positions "
                "taken from it must be known before the model runs"
            )
        if value.elements is None:
            raise UnsupportedError(f"{value.name!r} has no value")
        int64 = TYPE_IDS["int64"]
        if value.shape == ():
            return self._call("ScalarToTensor", (value.elements[0], int64), {})
        return self._call("TupleToTensor", (value.elements, int64), {})

    def dim(self, value: Value, axis: int) -> Element:
        """Returns the size of one dimension: a number, or a scalar read when the model runs."""
        size = value.sizes[axis]
        if isinstance(size, int):
            return size
        whole = self._call("Shape", (value,), {})
        return Scalar(self._item(whole, axis % value.rank), size, natural=True)

    def dims(self, value: Value) -> tuple[Element, ...]:
        """Returns the sizes of all dimensions."""
        return tuple(self.dim(value, axis) for axis in range(value.rank))

    def elements(self, value: Value) -> tuple[Element, ...]:
        """Returns the elements of an integer tensor of rank 0 or 1.

        Raises:
            UnsupportedError: the number of elements is not known.
        """
        if value.constant is not None:
            return tuple(int(item) for item in value.constant.reshape(-1))
        if value.elements is not None:
            return value.elements
        value = self.cast(value, "int64")
        if value.shape == ():
            return (Scalar(self._call("TensorToScalar", (value,), {})),)
        if value.rank != 1 or not isinstance(value.sizes[0], int):
            raise UnsupportedError(f"the number of elements of {value.name!r} is not known")
        whole = self._call("TensorToTuple", (value,), {})
        return tuple(Scalar(self._item(whole, i)) for i in range(value.sizes[0]))

    def arithmetic(self, name: str, a: Element, b: Element) -> Element:
        """Computes with sizes: ``name`` is Add, Sub, Mul, FloorDiv, Max or Min."""
        if isinstance(a, int) and isinstance(b, int):
            return _FOLD[name](a, b)
        neutral = {"Add": 0, "Sub": 0, "Mul": 1, "FloorDiv": 1}.get(name)
        if neutral is not None and b == neutral:
            return a
        if neutral is not None and a == neutral and name in {"Add", "Mul"}:
            return b
        kept = name != "Sub" and natural(a) and natural(b)
        return Scalar(self._call(f"Scalar{name}", (a, b), {}), natural=kept)

    def constant(self, content: Any, dtype: str) -> Value:
        """Returns a constant tensor.

        What a low type does not hold exactly is float32 behind a cast, so that the graph says the
        number in full; compilers compute the cast once.
        """
        array = np.asarray(content, dtype=numpy_dtype(dtype))
        if dtype in LOW and not is_exact(content, array):
            wide = constant(self.scope, np.asarray(content, np.float32))
            return self.emit("Cast", wide, TYPE_IDS[dtype], dtype=dtype, shape=wide.shape)
        return constant(self.scope, array)

    def like(self, content: float, value: Value) -> Value:
        """Returns a constant of rank 0 with the element type of ``value``."""
        return self.constant(content, value.dtype)

    def cast(self, value: Value, dtype: str) -> Value:
        """Converts the elements; to bool as "is not zero"."""
        if value.dtype == dtype:
            return value
        if value.constant is not None and not value.weight:
            array = value.constant.astype(numpy_dtype(dtype))
            if dtype not in LOW or is_exact(value.constant, array):
                return constant(value.name, array)
        if dtype not in TYPE_IDS:
            raise UnsupportedError(f"MindSpore has no element type {dtype}")
        if dtype == "bool":
            return self.emit(
                "NotEqual", value, self.like(0, value), dtype="bool", shape=value.shape
            )
        return self.emit("Cast", value, TYPE_IDS[dtype], dtype=dtype, shape=value.shape)

    def reshape(self, value: Value, target: Sequence[Element]) -> Value:
        """Gives ``value`` the sizes ``target``, in which one may be -1."""
        shape = known(target)
        if -1 in shape:
            shape = tuple(None if size == -1 else size for size in shape)
            total = _product(value.shape)
            rest = _product(tuple(size for size in shape if size is not None))
            if total is not None and rest and shape.count(None) == 1:
                shape = tuple(total // rest if size is None else size for size in shape)
        elif sum(isinstance(item, Scalar) for item in target) == 1 and 0 not in target:
            # One unknown size can be left to MindSpore: nothing then depends on Shape.
            target = tuple(-1 if isinstance(item, Scalar) else item for item in target)
        if value.shape == shape and None not in shape:
            return value
        return self.emit("Reshape", value, tuple(target), dtype=value.dtype, shape=shape)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """Permutes the dimensions."""
        if tuple(order) == tuple(range(len(order))):
            return value
        shape = None if value.shape is None else tuple(value.shape[axis] for axis in order)
        return self.emit("Transpose", value, tuple(order), dtype=value.dtype, shape=shape)

    def expand(self, value: Value, target: Sequence[Element]) -> Value:
        """Broadcasts to exactly the sizes ``target``."""
        shape = known(target)
        if value.shape == shape and None not in shape:
            return value
        if value.dtype == "bool":
            # BroadcastTo has no bool kernel on the CPU.
            wide = self.expand(self.cast(value, "int32"), target)
            return self.cast(wide, "bool")
        computed = any(isinstance(item, Scalar) and item.symbol is None for item in target)
        if computed and all(size == 1 for size in value.sizes):
            # BroadcastTo refuses a size that turns out as 0; Tile repeats no times as well.
            one = self.reshape(value, (1,) * len(target))
            return self.emit("Tile", one, tuple(target), dtype=value.dtype, shape=shape)
        return self.emit("BroadcastTo", value, tuple(target), dtype=value.dtype, shape=shape)

    def squeeze(self, value: Value, axes: Sequence[int]) -> Value:
        """Removes dimensions of size 1."""
        if not axes:
            return value
        gone = {axis % value.rank for axis in axes}
        shape = tuple(size for axis, size in enumerate(value.sizes) if axis not in gone)
        return self.emit("Squeeze", value, tuple(sorted(gone)), dtype=value.dtype, shape=shape)

    def unsqueeze(self, value: Value, axes: Sequence[int]) -> Value:
        """Inserts dimensions of size 1 at the positions ``axes`` of the result."""
        rank = value.rank + len(axes)
        for axis in sorted(axis % rank for axis in axes):
            shape = (*value.sizes[:axis], 1, *value.sizes[axis:])
            value = self.emit("ExpandDims", value, axis, dtype=value.dtype, shape=shape)
        return value

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """Joins tensors along ``axis``."""
        if len(values) == 1:
            return values[0]
        axis %= values[0].rank
        sizes = [value.sizes[axis] for value in values]
        numbers = [size for size in sizes if isinstance(size, int)]
        total = sum(numbers) if len(numbers) == len(sizes) else None
        first = values[0]
        shape = (*first.sizes[:axis], total, *first.sizes[axis + 1 :])
        return self.emit("Concat", tuple(values), axis, dtype=first.dtype, shape=shape)

    def slice(self, value: Value, axis: int, start: Element, stop: Element) -> Value:
        """Takes ``start`` to ``stop`` (numbers from the front) of one dimension."""
        rank = value.rank
        begin: list[Element] = [0] * rank
        end: list[Element] = list(self.dims(value))
        begin[axis], end[axis] = start, stop
        size = stop - start if isinstance(start, int) and isinstance(stop, int) else None
        shape = (*value.sizes[:axis], size, *value.sizes[axis + 1 :])
        # The mask takes every other dimension whole, so that its size is not needed.
        mask = sum(1 << other for other in range(rank) if other != axis)
        end = [1 if mask >> other & 1 else item for other, item in enumerate(end)]
        return self.emit(
            "StridedSlice",
            value,
            tuple(begin),
            tuple(end),
            (1,) * rank,
            end_mask=mask,
            dtype=value.dtype,
            shape=shape,
        )


_FOLD: Mapping[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "FloorDiv": lambda a, b: a // b,
    "Max": max,
    "Min": min,
}


def known(elements: Sequence[Element]) -> Shape:
    """Returns sizes as a shape: symbols where a scalar is the size of a symbolic dimension."""
    return tuple(item if isinstance(item, int) else item.symbol for item in elements)


def _plain(items: Sequence[Any]) -> bool:
    return all(
        item is None
        or isinstance(item, bool | int | float | str)
        or (isinstance(item, tuple | list) and _plain(item))
        for item in items
    )


def _product(shape: Shape | None) -> int | None:
    if shape is None:
        return None
    total = 1
    for size in shape:
        if not isinstance(size, int):
            return None
        total *= size
    return total
