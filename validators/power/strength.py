"""How much a fault changes in float64, measured in the original's own noise.

Above 1 it changes more than the original's rounding does: it is above the noise floor. Below, it
does not matter, or is none at all, such as another bias of keys under a softmax.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ascend_migrate.pipeline.dtypes import BY_NAME
from ascend_migrate.pipeline.errors import CheckError
from ascend_migrate.validators.cases import Array, Feeds, widened_array
from ascend_migrate.validators.golden import Recorded
from ascend_migrate.validators.ledger.stored_weights import onnx_weights
from ascend_migrate.validators.onnx_float64 import widened
from ascend_migrate.validators.onnx_original import float64_session
from ascend_migrate.validators.original import NoExactTwinError, Outputs, Session
from ascend_migrate.validators.outputs import wide
from ascend_migrate.validators.power.faults import Fault, WeightFault

if TYPE_CHECKING:
    import onnx

Twin = Callable[["onnx.ModelProto", Path], Session]
"""Runs a widened graph; raises `NoExactTwinError` or `CheckError` where it cannot, also later."""

_ENOUGH = 100.0
"""A fault this strong needs no further case."""

_SEED = 1


class Strength:
    """Measures faults in one ONNX artifact by its float64 twin, with each and without.

    Args:
        path: of the graph.
        cases: what to measure on, with the original's answers.
        twin: what runs the float64 graphs.
    """

    def __init__(self, path: Path, cases: Sequence[Recorded], twin: Twin = float64_session) -> None:
        self._path = path
        self._cases = cases
        self._twin = twin
        self._sound: dict[int, Outputs] = {}

    def of(self, fault: Fault) -> float:
        """Returns the largest effect over noise in any case; infinite where it does not run.

        Raises:
            NoExactTwinError: no runtime runs the sound graph in float64.
        """
        sound = [self._right(place) for place in range(len(self._cases))]
        try:
            run = self._twin(self._spoiled(fault), self._path)
        except (NoExactTwinError, CheckError):
            return float("inf")
        most = 0.0
        for case, right in zip(self._cases, sound, strict=True):
            try:
                found = run(_feeds(case))
            except (NoExactTwinError, CheckError):
                return float("inf")
            most = max(most, *_ratios(case, right, found))
            if not most < _ENOUGH:
                break
        return most

    def reached(self, fault: WeightFault) -> bool:
        """Whether any output depends at all on the elements that the fault changes."""
        drawn = np.random.default_rng(_SEED)
        other = {
            name: np.where(
                wrong == self._weights[name], wrong, drawn.standard_normal(wrong.shape)
            ).astype(wrong.dtype)
            for name, wrong in fault.weights.items()
        }
        return self.of(replace(fault, weights=other)) > 0

    def _right(self, place: int) -> Outputs:
        if place not in self._sound:
            self._sound[place] = self._whole(_feeds(self._cases[place]))
        return self._sound[place]

    def _spoiled(self, fault: Fault) -> "onnx.ModelProto":
        from onnx import numpy_helper

        model = type(self._wide)()
        model.CopyFrom(self._wide)
        if not isinstance(fault, WeightFault):
            fault.edit(model)
            return model
        for tensor in model.graph.initializer:
            wrong = fault.weights.get(tensor.name)
            if wrong is not None:
                tensor.CopyFrom(numpy_helper.from_array(widened_array(wrong), tensor.name))
        return model

    @cached_property
    def _wide(self) -> "onnx.ModelProto":
        return widened(self._path)

    @cached_property
    def _whole(self) -> Session:
        return self._twin(self._wide, self._path)

    @cached_property
    def _weights(self) -> dict[str, Array]:
        return {item.name: item.array for item in onnx_weights(self._path)}


def _feeds(case: Recorded) -> Feeds:
    return {name: widened_array(array) for name, array in case.feeds.items()}


def _ratios(case: Recorded, right: Outputs, found: Outputs) -> Iterator[float]:
    """Yields effect over noise of each output, as mean square and at the worst element."""
    exact = case.exact or case.own
    for name, own in case.own.items():
        if found[name].shape != right[name].shape:
            yield float("inf")
            continue
        roundoff = BY_NAME[own.dtype.name].epsilon or 1.0  # of an integer, any change counts
        changes = _sizes(wide(found[name]) - wide(right[name]))
        noises = _sizes(wide(own) - wide(exact[name]))
        scales = _sizes(wide(exact[name]))
        for change, noise, scale in zip(changes, noises, scales, strict=True):
            ratio = change / (max(noise, roundoff * scale) or roundoff)
            yield ratio if ratio == ratio else float("inf")  # noqa: PLR0124  NaN is an effect


def _sizes(array: Array) -> tuple[float, float]:
    """Returns the mean square and the largest element; NaN where one is not finite."""
    if not array.size:
        return 0.0, 0.0
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(array)))), float(np.max(np.abs(array)))
