"""ONNX graphs in float64, for any operator of the models here.

ONNX's reference, with torch's convolutions in place of its slow ones, and with recurrent layers of
both directions, which it lacks.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch.nn import functional

from ascend_migrate.validators.cases import Array, Feeds
from ascend_migrate.validators.original import NoExactTwinError, Outputs, Session


def session(model: onnx.ModelProto, path: Path) -> Session:
    """Runs a widened graph, as `onnx_original.float64_session` does."""
    names = [output.name for output in model.graph.output]
    # Python code without declared errors: whatever it raises, the graph does not run.
    try:
        reference = ReferenceEvaluator(model, new_ops=_FASTER)
    except Exception as error:
        raise NoExactTwinError(f"{path}: {error}") from error

    def call(feeds: Feeds) -> Outputs:
        try:
            with np.errstate(all="ignore"):
                return dict(zip(names, reference.run(names, feeds), strict=True))
        except Exception as error:
            raise NoExactTwinError(f"{path}: {error}") from error

    return call


def _moves(given: dict[str, Any]) -> dict[str, Any]:
    """Returns what ONNX's attributes of a convolution are to torch; padding is done before."""
    assert given.get("auto_pad") in (None, "NOTSET")
    return {
        "stride": given.get("strides") or 1,
        "dilation": given.get("dilations") or 1,
        "groups": given.get("group") or 1,
    }


def _bias(array: Array | None) -> torch.Tensor | None:
    return None if array is None else _tensor(array)


def _tensor(array: Array) -> torch.Tensor:
    """Returns a copy as a tensor: torch warns of memory that is mapped for reading only."""
    return torch.from_numpy(array.copy())


def _padded(x: Array, pads: list[int] | None, value: float = 0.0) -> torch.Tensor:
    """Pads the last dimensions as ONNX says: all begins, then all ends."""
    tensor = _tensor(x)
    if not pads:
        return tensor
    half = len(pads) // 2
    order = [p for i in reversed(range(half)) for p in (pads[i], pads[i + half])]
    return functional.pad(tensor, order, value=value)


class Conv(OpRun):
    def _run(self, x: Array, w: Array, b: Array | None = None, **given: Any) -> tuple[Array]:
        call = (functional.conv1d, functional.conv2d)[w.ndim - 3]
        found = call(_padded(x, given.get("pads")), _tensor(w), _bias(b), **_moves(given))
        return (found.numpy(),)


class ConvTranspose(OpRun):
    def _run(self, x: Array, w: Array, b: Array | None = None, **given: Any) -> tuple[Array]:
        assert not given.get("output_shape")
        assert not any(given.get("output_padding") or ())
        call = (functional.conv_transpose1d, functional.conv_transpose2d)[w.ndim - 3]
        whole = call(_tensor(x), _tensor(w), _bias(b), **_moves(given)).numpy()
        pads = given.get("pads") or [0] * 2 * (w.ndim - 2)
        half = len(pads) // 2
        kept = [slice(pads[i], n - pads[i + half]) for i, n in enumerate(whole.shape[2:])]
        return (np.ascontiguousarray(whole[(slice(None), slice(None), *kept)]),)


class MaxPool(OpRun):
    def _run(self, x: Array, **given: Any) -> tuple[Array]:
        call = (functional.max_pool1d, functional.max_pool2d)[x.ndim - 3]
        padded = _padded(x, given.get("pads"), -np.inf)
        found = call(
            padded,
            given["kernel_shape"],
            given.get("strides") or 1,
            0,
            given.get("dilations") or 1,
            bool(given.get("ceil_mode")),
        )
        return (found.numpy(),)


class _Recurrent(OpRun):
    """Steps of a recurrent layer over time, in each direction."""

    def _over_time(
        self, x: Array, w: Array, r: Array, b: Array | None, states: list[Array], direction: Any
    ) -> tuple[Array, list[Array]]:
        outputs, last = [], []
        for index in range(w.shape[0]):
            backwards = direction == "reverse" or index == 1
            own = [state[index] for state in states]
            bias = np.zeros(2 * w.shape[1]) if b is None else b[index]
            steps = []
            for frame in x[::-1] if backwards else x:
                own = self.step(frame, own, w[index], r[index], bias)
                steps.append(own[0])
            outputs.append(np.stack(steps[::-1] if backwards else steps))
            last.append(own)
        return np.stack(outputs, 1), [np.stack(group) for group in zip(*last, strict=True)]

    def step(self, x: Array, states: list[Array], w: Array, r: Array, bias: Array) -> list[Array]:
        """Returns the states after one step; the first of them is the output."""
        raise NotImplementedError

    @staticmethod
    def zeros(x: Array, w: Array, r: Array) -> Array:
        return np.zeros((w.shape[0], x.shape[1], r.shape[-1]))


class LSTM(_Recurrent):
    def _run(self, x: Array, w: Array, r: Array, *rest: Array | None, **given: Any) -> Any:
        b, lengths, h, c, p = _filled(rest, 5)
        assert lengths is None
        assert p is None
        states = [self.zeros(x, w, r) if state is None else state for state in (h, c)]
        y, (h, c) = self._over_time(x, w, r, b, states, given.get("direction"))
        return y, h, c

    def step(self, x: Array, states: list[Array], w: Array, r: Array, bias: Array) -> list[Array]:
        hidden, cell = states
        gates = x @ w.T + hidden @ r.T + bias[: w.shape[0]] + bias[w.shape[0] :]
        into, out, forget, new = np.split(gates, 4, -1)
        cell = _sigmoid(forget) * cell + _sigmoid(into) * np.tanh(new)
        return [_sigmoid(out) * np.tanh(cell), cell]


class GRU(_Recurrent):
    def _run(self, x: Array, w: Array, r: Array, *rest: Array | None, **given: Any) -> Any:
        b, lengths, h = _filled(rest, 3)
        assert lengths is None
        self.reset_after = bool(given.get("linear_before_reset"))
        states = [self.zeros(x, w, r) if h is None else h]
        y, (h,) = self._over_time(x, w, r, b, states, given.get("direction"))
        return y, h

    def step(self, x: Array, states: list[Array], w: Array, r: Array, bias: Array) -> list[Array]:
        (hidden,) = states
        given = np.split(x @ w.T + bias[: w.shape[0]], 3, -1)
        kept = np.split(r, 3)
        own = np.split(bias[w.shape[0] :], 3)
        update = _sigmoid(given[0] + hidden @ kept[0].T + own[0])
        reset = _sigmoid(given[1] + hidden @ kept[1].T + own[1])
        if self.reset_after:
            new = np.tanh(given[2] + reset * (hidden @ kept[2].T + own[2]))
        else:
            new = np.tanh(given[2] + (reset * hidden) @ kept[2].T + own[2])
        return [(1 - update) * new + update * hidden]


def _filled(given: tuple[Array | None, ...], count: int) -> list[Array | None]:
    """Returns optional inputs, with None for those at the end that are absent."""
    return [*given, *[None] * (count - len(given))]


def _sigmoid(x: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-x))
    return found


_FASTER = [Conv, ConvTranspose, MaxPool, LSTM, GRU]
