"""Cases of what the model chooses: parts, boxes, places."""

from dataclasses import replace
from typing import Any

import numpy as np
from tests.converters.mindir.case import Case, f, i64, u

_LATEST = 28

LIMITS = i64(5, np.iinfo(np.int64).min, np.iinfo(np.int64).max, -1, -1)


def cases() -> list[Case]:
    return [*_chosen()]


def _new(id: str, op: str, inputs: list[Any], **rest: Any) -> Case:  # noqa: A002
    return Case(id, op, inputs, **{"opset": _LATEST, **rest})


def _chosen() -> list[Case]:
    x, rows = f(4, 3, 2), np.array([[1, 0], [2, 5], [1, 0], [0, 9], [2, 3]], np.float32)
    flags, values = np.array([True, False, True]), np.array([2, 1, 1, 3, 4, 3], np.float32)
    boxes = np.array(
        [[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [3, 3, 1, 1], [3, 3, 1, 1.1]]],
        np.float32,
    ).repeat(2, axis=0)
    scores = u(2, 3, 5)
    limits = [np.array(v, t) for v, t in ((3, np.int64), (0.4, np.float32), (0.3, np.float32))]
    cache, update = f(3, 2, 6, 4), f(3, 2, 3, 4)
    scattered = [f(4, 3), i64(0, -1, 2, 1, 1, 0).reshape(2, 3), f(2, 3)]
    found = [
        Case("Compress", "Compress", [x, flags]),
        Case("Compress-1", "Compress", [x, flags], attributes={"axis": 1}),
        Case("ReverseSequence", "ReverseSequence", [x, i64(1, 4, 2)]),
        Case(
            "ReverseSequence-batch",
            "ReverseSequence",
            [x, i64(1, 3, 2, 1)],
            attributes={"batch_axis": 0, "time_axis": 1},
        ),
        Case("Unique", "Unique", [values], outputs=4),
        Case("Unique-unsorted", "Unique", [values], attributes={"sorted": 0}, outputs=4),
        Case("Unique-rows", "Unique", [rows], attributes={"axis": 0}, outputs=4),
        Case("Unique-columns", "Unique", [rows.T], attributes={"axis": -1}, outputs=4),
        Case("NonMaxSuppression", "NonMaxSuppression", [boxes, scores, *limits]),
        Case(
            "NonMaxSuppression-centres",
            "NonMaxSuppression",
            [u(1, 6, 4), u(1, 1, 6), *limits[:2]],
            attributes={"center_point_box": 1},
        ),
        _new("TensorScatter", "TensorScatter", [cache, update, i64(0, 3, 1)]),
        _new(
            "TensorScatter-round",
            "TensorScatter",
            [cache, update, i64(5, 4, 1)],
            attributes={"mode": "circular"},
        ),
        _new("OneHot-runtime", "OneHot", [i64(0, 2, -1, 9), np.array(3), f(2)]),
        Case("TopK-runtime", "TopK", [f(3, 6), i64(2)], outputs=2),
        Case("TopK-smallest", "TopK", [LIMITS], {1: i64(3)}, {"largest": 0}, 2),
        Case(
            "GatherND-batch",
            "GatherND",
            [x, i64(0, 2, -1, 1).reshape(4, 1)],
            attributes={"batch_dims": 1},
        ),
    ]
    for kind in ("mul", "max", "min"):
        case = Case(f"ScatterElements-{kind}", "ScatterElements", scattered, opset=18)
        found.append(replace(case, attributes={"reduction": kind}))
    return found
