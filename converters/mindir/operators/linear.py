"""Determinants and sums of products."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from ascend_migrate.converters.mindir.context import Context
from ascend_migrate.converters.mindir.operators.reduce import reduce_axes
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Element, UnsupportedError, Value, static


@operator("Det", since=(11, 22))
def det(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Det.html: of each square matrix."""
    x = node[0]
    return context.emit("MatrixDeterminant", x, dtype=x.dtype, shape=x.sizes[:-2])


@dataclass(frozen=True, slots=True)
class _Term:
    """A tensor and the letter of each of its dimensions."""

    value: Value
    letters: str


@operator("Einsum", since=(12, 28))
def einsum(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__Einsum.html: as matrix products, from the left."""
    values = [node[index] for index in range(len(node.inputs))]
    inputs, output = _letters(str(node.attributes["equation"]), values)
    terms = [
        _diagonal(context, _Term(value, letters))
        for value, letters in zip(values, inputs, strict=True)
    ]
    found = terms[0]
    for index, term in enumerate(terms[1:], start=1):
        later = output + "".join(item.letters for item in terms[index + 1 :])
        found = _product(context, found, term, later)
    found = _sum(context, found, output)
    return context.transpose(found.value, [found.letters.index(letter) for letter in output])


def _letters(equation: str, values: Sequence[Value]) -> tuple[list[str], str]:
    """Gives the dimensions of an ellipsis letters too, and names the output's."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(values):
        raise UnsupportedError(f"equation {equation!r} for {len(values)} inputs")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    widths = [
        value.rank - len(term.replace("...", "")) for term, value in zip(terms, values, strict=True)
    ]
    most = max((n for n, term in zip(widths, terms, strict=True) if "..." in term), default=0)
    shared = "".join(free[:most])
    whole = [
        term.replace("...", shared[most - width :] if "..." in term else "")
        for term, width in zip(terms, widths, strict=True)
    ]
    if arrow:
        return whole, right.replace("...", shared)
    once = sorted(c for c in set(left) - set(".,") if left.count(c) == 1)
    return whole, shared + "".join(once)


def _diagonal(context: Context, term: _Term) -> _Term:
    """Keeps the diagonal of dimensions that have the same letter."""
    value, letters = term.value, term.letters
    twice = next((c for c in letters if letters.count(c) > 1), None)
    if twice is None:
        return term
    first, second = letters.index(twice), letters.rindex(twice)
    order = [axis for axis in range(value.rank) if axis not in {first, second}]
    moved = context.transpose(value, [*order, first, second])
    (size,) = static(moved.sizes[-1:], "the input of Einsum")
    # Each row begins one element further right than the one above.
    flat = context.reshape(moved, (*context.dims(moved)[:-2], size * size))
    rank = flat.rank
    picked = context.emit(
        "StridedSlice",
        flat,
        (0,) * rank,
        (*(1,) * (rank - 1), size * size),
        (*(1,) * (rank - 1), size + 1),
        end_mask=(1 << (rank - 1)) - 1,
        dtype=value.dtype,
        shape=(*flat.sizes[:-1], size),
    )
    kept = "".join(letters[axis] for axis in order) + twice
    return _diagonal(context, _Term(picked, kept))


def _sum(context: Context, term: _Term, kept: str) -> _Term:
    """Sums over the letters that are needed no more."""
    axes = tuple(axis for axis, letter in enumerate(term.letters) if letter not in kept)
    if not axes:
        return term
    total = reduce_axes(context, "ReduceSum", term.value, axes, keep=False)
    return _Term(total, "".join(c for c in term.letters if c in kept))


def _product(context: Context, a: _Term, b: _Term, later: str) -> _Term:
    """Multiplies two tensors and sums over what only they have: a stack of matrix products."""
    a = _sum(context, _squeezed(context, a, b), later + b.letters)
    b = _sum(context, _squeezed(context, b, a), later + a.letters)
    both = [c for c in a.letters if c in b.letters]
    batch = [c for c in both if c in later]
    inner = [c for c in both if c not in later]
    left = [c for c in a.letters if c not in both]
    right = [c for c in b.letters if c not in both]
    rows = _matrix(context, a, (batch, left, inner))
    columns = _matrix(context, b, (batch, inner, right))
    shape = (rows.sizes[0], rows.sizes[1], columns.sizes[2])
    found = context.emit("BatchMatMul", rows, columns, dtype=rows.dtype, shape=shape)
    sizes = {c: context.dim(t.value, t.letters.index(c)) for t in (a, b) for c in t.letters}
    letters = "".join([*batch, *left, *right])
    return _Term(context.reshape(found, [sizes[c] for c in letters]), letters)


def _squeezed(context: Context, term: _Term, other: _Term) -> _Term:
    """Drops dimensions of size 1 that the other tensor has larger."""
    axes = tuple(
        axis
        for axis, letter in enumerate(term.letters)
        if term.value.sizes[axis] == 1
        and letter in other.letters
        and other.value.sizes[other.letters.index(letter)] != 1
    )
    letters = "".join(c for axis, c in enumerate(term.letters) if axis not in axes)
    return _Term(context.squeeze(term.value, axes), letters)


def _matrix(context: Context, term: _Term, groups: Sequence[Sequence[str]]) -> Value:
    """Makes one dimension of each group of letters."""
    order = [term.letters.index(letter) for group in groups for letter in group]
    moved = context.transpose(term.value, order)
    sizes = iter(context.dims(moved))
    return context.reshape(moved, [_all(context, [next(sizes) for _ in g]) for g in groups])


def _all(context: Context, sizes: Sequence[Element]) -> Element:
    total: Element = 1
    for size in sizes:
        total = context.arithmetic("Mul", total, size)
    return total
