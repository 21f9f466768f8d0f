"""Cases of resampling."""

from typing import Any

import numpy as np
from tests.converters.mindir.case import Case, f, i64

X1, X2 = f(2, 4, 9), f(2, 4, 8, 9)
LARGER, SMALLER = {3: i64(2, 4, 13, 20)}, {3: i64(2, 4, 5, 4)}
TWICE = {2: np.array([1, 1, 2, 2], np.float32)}
IMAGES: dict[str, Any] = {
    "dynamic": {0: ("n", 4, "h", "w")},
    "sizes": [{"n": 1, "h": 1, "w": 2}, {"n": 3, "h": 13, "w": 10}],
}
LIMIT = 2e-5
"""Positions are float32, and move the weights of the neighbours by some 1e-6 each."""


def cases() -> list[Case]:
    return [*_nearest(), *_smooth()]


def grid(name: str, mode: str = "linear", **others: Any) -> dict[str, Any]:
    return {"mode": mode, "coordinate_transformation_mode": name, **others}


def _nearest() -> list[Case]:
    floor = grid("asymmetric", "nearest", nearest_mode="floor")
    factor = {2: np.array([1, 1, 1.5, 0.6], np.float32)}
    found = [
        Case("Resize-nearest", "Resize", [X2], TWICE, floor),
        Case("Resize-nearest-dynamic", "Resize", [X2], TWICE, floor, **IMAGES),
        Case("Resize-nearest-half", "Resize", [X2], TWICE),
        Case("Resize-nearest-half-dynamic", "Resize", [X2], TWICE, **IMAGES),
        Case("Resize-nearest-sizes", "Resize", [X2], LARGER, floor),
        Case(
            "Resize-nearest-11",
            "Resize",
            [X2],
            {1: np.zeros(0, np.float32), **TWICE},
            floor,
            opset=11,
        ),
    ]
    for name in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
            kind = grid(name, "nearest", nearest_mode=rounding)
            found.append(Case(f"Resize-{name}-{rounding}", "Resize", [X2], factor, kind))
    return found


def _smooth() -> list[Case]:
    factor = {2: np.array([1, 1, 1.3, 0.7], np.float32)}
    one = {3: i64(2, 4, 1, 1)}
    found = [
        Case(
            "Resize-linear-dynamic", "Resize", [X2], TWICE, grid("half_pixel"), rtol=LIMIT, **IMAGES
        ),
        Case(
            "Resize-linear-corners-dynamic",
            "Resize",
            [X2],
            TWICE,
            grid("align_corners"),
            rtol=LIMIT,
            **IMAGES,
        ),
        Case(
            "Resize-linear-1d",
            "Resize",
            [X1],
            {2: np.array([1, 1, 2], np.float32)},
            grid("half_pixel"),
            rtol=LIMIT,
        ),
        Case(
            "Resize-linear-3d",
            "Resize",
            [f(1, 2, 3, 4, 5)],
            {3: i64(1, 2, 6, 5, 9)},
            grid("half_pixel"),
            rtol=LIMIT,
        ),
        Case(
            "Resize-cubic-a",
            "Resize",
            [X2],
            LARGER,
            grid("half_pixel", "cubic", cubic_coeff_a=-0.5),
            rtol=LIMIT,
        ),
        Case(
            "Resize-cubic-inside",
            "Resize",
            [X2],
            LARGER,
            grid("half_pixel", "cubic", exclude_outside=1),
            rtol=LIMIT,
        ),
        Case(
            "Resize-symmetric",
            "Resize",
            [X2],
            factor,
            grid("half_pixel_symmetric"),
            opset=19,
            rtol=LIMIT,
        ),
    ]
    for mode in ("linear", "cubic"):
        for name in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
            for label, target in {
                "up": LARGER,
                "down": SMALLER,
                "factor": factor,
                "one": one,
            }.items():
                case = f"Resize-{mode}-{name}-{label}"
                found.append(Case(case, "Resize", [X2], target, grid(name, mode), rtol=LIMIT))
    return found
