"""Fourier transforms; the last dimension holds the real and the imaginary part."""

from ascend_migrate.converters.mindir.context import Context, known
from ascend_migrate.converters.mindir.operators.arithmetic import binary
from ascend_migrate.converters.mindir.operators.interpolation import times
from ascend_migrate.converters.mindir.registry import Node, operator
from ascend_migrate.converters.mindir.values import Dim, Element, UnsupportedError, Value, static


@operator("DFT", since=(17, 20))
def dft(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__DFT.html: the length may be computed, so may the axis.

    The last dimension stays, so that a negative axis means the same to MindSpore.
    """
    x, length = node[0], node.optional(1)
    axis: Element = int(node.attributes.get("axis", -2))
    given = node.optional(2)
    if given is not None:
        axis = context.elements(given)[0]
    inverse, half = bool(node.attributes["inverse"]), bool(node.attributes["onesided"])
    # Without a length both take the whole axis, and an inverse of half a spectrum an even one.
    size = None if length is None else context.elements(length)[0]
    if inverse and half:
        real, imaginary = _parts(context, x)
        return _transform(context, "IRFFT", _complex(context, real, imaginary), size, axis)
    return _spectrum(context, x, size, axis, "IFFT" if inverse else "RFFT" if half else "FFT")


@operator("STFT", since=17)
def stft(context: Context, node: Node) -> Value:
    """https://onnx.ai/onnx/operators/onnx__STFT.html: frames are gathered, then transformed."""
    signal, window, length = node[0], node.optional(2), node.optional(3)
    if signal.rank == 2:  # noqa: PLR2004 - a real signal without the last dimension
        signal = context.unsqueeze(signal, (2,))
    step = context.elements(node[1])[0]
    if length is not None:
        size = context.elements(length)[0]
    elif window is not None:
        size = context.dim(window, 0)
    else:
        raise UnsupportedError("neither a window nor a frame length is given")
    rest = context.arithmetic("Sub", context.dim(signal, 1), size)
    count = context.arithmetic("Add", context.arithmetic("FloorDiv", rest, step), 1)
    starts = context.arithmetic("Mul", count, step)
    first = context.emit("Range", 0, starts, step, dtype="int64", shape=known((count,)))
    within = context.emit("Range", 0, size, 1, dtype="int64", shape=known((size,)))
    index = binary(context, "Add", context.unsqueeze(first, (1,)), within)
    shape = (signal.sizes[0], *index.sizes, signal.sizes[2])
    frames = context.emit("Gather", signal, index, 1, 0, dtype=signal.dtype, shape=shape)
    if window is not None:
        frames = binary(context, "Mul", frames, context.unsqueeze(window, (1,)))
    half = node.attributes["onesided"] and signal.sizes[2] == 1
    return _spectrum(context, frames, size, 2, "RFFT" if half else "FFT")


def _spectrum(
    context: Context, x: Value, size: Element | None, axis: Element, primitive: str
) -> Value:
    real, imaginary = _parts(context, x)
    mirrored = primitive == "FFT" and imaginary is None and isinstance(axis, int)
    if mirrored or primitive == "RFFT":
        found = _transform(context, "RFFT", real, size, axis)
    else:
        found = _transform(context, primitive, _complex(context, real, imaginary), size, axis)
    dtype = "float64" if found.dtype == "complex128" else "float32"
    parts = [context.emit(n, found, dtype=dtype, shape=found.shape) for n in ("Real", "Imag")]
    if mirrored and isinstance(axis, int):
        length = context.dim(real, axis) if size is None else size
        place = axis % x.rank
        parts = [
            _mirrored(context, *part, length, place) for part in zip(parts, (1, -1), strict=True)
        ]
    return context.cast(context.concat(parts, -1), x.dtype)


def _mirrored(context: Context, half: Value, sign: int, length: Element, axis: int) -> Value:
    """Completes the spectrum of a real signal, whose other half is the conjugate of the first."""
    count = context.arithmetic("FloorDiv", context.arithmetic("Add", length, 1), 2)
    if isinstance(count, int) and count <= 1:
        return half
    rest = context.slice(half, axis, 1, count)
    turned = context.emit("ReverseV2", rest, (axis,), dtype=half.dtype, shape=rest.shape)
    return context.concat([half, times(context, turned, sign)], axis)


def _parts(context: Context, x: Value) -> tuple[Value, Value | None]:
    """Returns the real and, if there is one, the imaginary part of a tensor."""
    wide = context.cast(x, "float64" if x.dtype == "float64" else "float32")
    if static(x.sizes[-1:], "the real and imaginary parts") == (1,):
        return wide, None
    last = x.rank - 1
    return context.slice(wide, last, 0, 1), context.slice(wide, last, 1, 2)


def _complex(context: Context, real: Value, imaginary: Value | None) -> Value:
    if imaginary is None:
        return real
    dtype = "complex128" if real.dtype == "float64" else "complex64"
    return context.emit("Complex", real, imaginary, dtype=dtype, shape=real.shape)


def _transform(
    context: Context, primitive: str, x: Value, size: Element | None, axis: Element
) -> Value:
    double = x.dtype in {"float64", "complex128"}
    dtype = "complex128" if double else "complex64"
    if primitive == "IRFFT":
        dtype = "float64" if double else "float32"
    shape = list(x.sizes)
    if isinstance(axis, int):
        shape[axis] = _size(primitive, shape[axis] if size is None else known((size,))[0])
    elif primitive in {"RFFT", "IRFFT"}:
        # MindSpore would take the last dimension without a word.
        raise UnsupportedError("onesided=1 along an axis that is computed when the model runs")
    elif size is not None:
        shape = [None] * (x.rank - 1) + [shape[-1]]
    return context.emit(primitive, x, size, axis, None, dtype=dtype, shape=tuple(shape))


def _size(primitive: str, length: Dim) -> Dim:
    if primitive == "RFFT":
        return length // 2 + 1 if isinstance(length, int) else None
    return None if primitive == "IRFFT" else length
