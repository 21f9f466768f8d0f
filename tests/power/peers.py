"""The fixed-tolerance rules of three peers, as a function of one output: does it pass?"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ascend_migrate.validators.golden import Golden

Array = np.ndarray[Any, Any]
Rule = Callable[[Array, Array], bool]


def _allclose(own: Array, found: Array) -> bool:
    return bool(np.allclose(found, own, rtol=1e-3, atol=1e-5))


def _cosine(own: Array, found: Array) -> float:
    one, other = own.ravel().astype(np.float64), found.ravel().astype(np.float64)
    sizes = np.linalg.norm(one) * np.linalg.norm(other)
    if sizes == 0:
        return 1.0 if np.array_equal(one, other) else 0.0
    return float(one @ other / sizes)


def _msprobe(own: Array, found: Array) -> bool:
    cosine = _cosine(own, found)
    largest = float(np.max(np.abs(found.astype(np.float64) - own), initial=0.0))
    return not ((cosine < 0.99 and largest > 1e-3) or cosine < 0.9 or largest > 1)


RULES: Mapping[str, Rule] = {
    "rtol 1e-3, atol 1e-5": _allclose,
    "cosine >= 0.99": lambda own, found: _cosine(own, found) >= 0.99,
    "msprobe": _msprobe,
}


def caught(rule: Rule, truth: Golden, answers: list[Any]) -> bool:
    """Whether a rule refuses the answers in any case; a refusal to run and NaN count as refused."""
    for case, answer in zip(truth.cases, answers, strict=True):
        if isinstance(answer, str):
            return True
        for name, own in case.own.items():
            found = answer.get(name)
            if found is None or found.shape != own.shape:
                return True
            if not np.array_equal(np.isfinite(found), np.isfinite(own)):
                return True
            if not rule(own, found):
                return True
    return False
