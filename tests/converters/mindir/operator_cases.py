"""Every case, in one table."""

import numpy as np
from tests.converters.mindir import (
    cases_chosen,
    cases_images,
    cases_layout,
    cases_nn,
    cases_numbers,
    cases_pointwise,
    cases_quantized,
    cases_recurrent,
    cases_resize,
)
from tests.converters.mindir.case import Case

_MODULES = (
    cases_pointwise,
    cases_layout,
    cases_nn,
    cases_resize,
    cases_recurrent,
    cases_numbers,
    cases_images,
    cases_chosen,
    cases_quantized,
)

HALF = (
    "Add Mul Div Sqrt Erf Tanh Sigmoid Pow-2 Clip Where Concat Split Gather Transpose-perm Slice "
    "Pad Expand MatMul MatMul-4d Gemm Conv-2d Conv-depthwise ConvTranspose BatchNormalization "
    "LayerNormalization InstanceNormalization Softmax LogSoftmax ReduceMean-17 ReduceMax-17 "
    "MaxPool AveragePool GlobalAveragePool Resize-nearest Resize-linear-half_pixel-up "
    "LSTM-forward GRU-forward CumSum TopK"
)
"""Cases that also run in float16: the operators of a network whose weights are halves."""

DOUBLE = (
    "Add Mul Sqrt Tanh Clip Where Concat Gather Slice Expand MatMul MatMul-4d Gemm ReduceMean-17"
)
"""Cases that also run in float64."""


def cases() -> list[Case]:
    found = [case for module in _MODULES for case in module.cases()]
    by_id = {case.id: case for case in found}
    assert len(by_id) == len(found)
    found += [by_id[name].as_type(np.float16) for name in HALF.split()]
    found += [by_id[name].as_type(np.float64) for name in DOUBLE.split()]
    return found
