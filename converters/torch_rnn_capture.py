"""Keeping LSTM and GRU whole while torch.export traces a model.

By default torch unrolls a recurrent layer once per time step of the example, which bakes the
sequence length in; its other choice is a while loop, which becomes the ONNX operator Loop, and ATC
has no parser for Loop. Both are avoided by telling the tracer only what shapes come out: the
layer then stays one ``aten.lstm`` or ``aten.gru`` node, and becomes one ONNX LSTM or GRU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ascend_migrate.pipeline.errors import ConversionError


def _lstm_shapes(input: Any, hx: Any, *rest: Any) -> tuple[Any, Any, Any]:  # noqa: A002
    if hx[0].shape[-1] != hx[1].shape[-1]:
        raise ConversionError(
            "an LSTM with proj_size has no counterpart in ONNX; write the projection as a layer"
        )
    directions = 2 if rest[5] else 1
    last = hx[0].shape[-1] * directions
    output = input.new_empty((*input.shape[:-1], last))
    return output, hx[0].new_empty(hx[0].shape), hx[1].new_empty(hx[1].shape)


def _gru_shapes(input: Any, hx: Any, *rest: Any) -> tuple[Any, Any]:  # noqa: A002
    directions = 2 if rest[5] else 1
    output = input.new_empty((*input.shape[:-1], hx.shape[-1] * directions))
    return output, hx.new_empty(hx.shape)


@contextmanager
def whole_recurrent_layers() -> Iterator[None]:
    """While open, tracing keeps LSTM and GRU as single nodes; real calls must not be made."""
    import torch
    from torch._C import DispatchKey
    from torch._decomp import global_decomposition_table
    from torch._subclasses import fake_impls

    aten = torch.ops.aten
    layers = {aten.lstm.input: _lstm_shapes, aten.gru.input: _gru_shapes}
    keys = (DispatchKey.CompositeImplicitAutograd, DispatchKey.Autograd)
    saved = {op: dict(op.py_kernels) for op in layers}
    registered = fake_impls.op_implementations_dict
    tables = list(global_decomposition_table.values())
    unrolled = [(table, op, table[op]) for table in tables for op in layers if op in table]
    try:
        for table, op, _ in unrolled:
            table[op] = layers[op]
        for op, shapes in layers.items():
            for key in keys:
                op.py_kernels[key] = shapes
            op._dispatch_cache.clear()
            registered[op] = _fake_rule(shapes)
        yield
    finally:
        for table, op, unroll in unrolled:
            table[op] = unroll
        for op in layers:
            op.py_kernels.clear()
            op.py_kernels.update(saved[op])
            op._dispatch_cache.clear()
            registered.pop(op, None)


def _fake_rule(shapes: Any) -> Any:
    def rule(mode: Any, _op: Any, *args: Any, **kwargs: Any) -> Any:
        with mode:
            return shapes(*args, **kwargs)

    return rule
