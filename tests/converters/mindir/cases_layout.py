"""Cases of operators that move elements: shapes, slices, joins, padding, indices."""

from typing import Any

import numpy as np
from tests.converters.mindir.case import Case, f, i32, i64

X = f(2, 3, 4)
FLAGS = X > 0
DYN = {0: ("n", 3, "t")}
FAR = 2**63 - 1


def cases() -> list[Case]:
    return [
        *_shape(),
        *_join(),
        *_slice(),
        *_generate(),
        *_pad(),
        *_gather(),
        *_scatter(),
        *_rank(),
    ]


def _shape() -> list[Case]:
    return [
        Case("Reshape", "Reshape", [X], {1: i64(0, -1)}),
        Case("Reshape-dynamic", "Reshape", [X], {1: i64(0, -1, 2)}, dynamic={0: ("n", 3, 4)}),
        Case("Reshape-runtime", "Reshape", [X, i64(4, 6)]),
        Case("Reshape-runtime-rest", "Reshape", [X, i64(4, -1)]),
        Case("Reshape-scalar", "Reshape", [f(1, 1)], {1: np.zeros(0, np.int64)}),
        Case(
            "Reshape-allowzero",
            "Reshape",
            [np.zeros((0, 3), np.float32)],
            {1: i64(3, 0)},
            {"allowzero": 1},
        ),
        Case("Flatten", "Flatten", [f(2, 3, 4, 5)]),
        Case("Flatten-0", "Flatten", [X], attributes={"axis": 0}),
        Case("Flatten-last", "Flatten", [X], attributes={"axis": -1}, dynamic=DYN),
        Case("Flatten-2", "Flatten", [X], attributes={"axis": 2}, dynamic=DYN),
        Case("Transpose", "Transpose", [f(2, 3, 4, 5)]),
        Case("Transpose-perm", "Transpose", [X], attributes={"perm": [1, 2, 0]}, dynamic=DYN),
        Case("Shape", "Shape", [X]),
        Case("Shape-dynamic", "Shape", [X], attributes={"start": -2}, dynamic=DYN),
        Case("Size", "Size", [X]),
        Case("Size-dynamic", "Size", [X], dynamic=DYN),
        Case("Squeeze", "Squeeze", [f(1, 3, 1)], {1: i64(-1)}),
        Case("Squeeze-all", "Squeeze", [f(1, 3, 1)]),
        Case("Squeeze-12", "Squeeze", [f(1, 3, 1)], {}, {"axes": [0]}, opset=12),
        Case("Squeeze-dynamic", "Squeeze", [f(1, 3, 1)], {1: i64(2)}, dynamic={0: ("n", 3, 1)}),
        Case("Unsqueeze", "Unsqueeze", [X], {1: i64(0, -1)}, dynamic=DYN),
        Case("Unsqueeze-12", "Unsqueeze", [X], {}, {"axes": [1, 3]}, opset=12),
        Case("Identity-int", "Identity", [i64(1, 2)]),
        Case("DepthToSpace", "DepthToSpace", [f(1, 8, 2, 3)], attributes={"blocksize": 2}),
        Case(
            "DepthToSpace-CRD",
            "DepthToSpace",
            [f(1, 8, 2, 3)],
            attributes={"blocksize": 2, "mode": "CRD"},
            dynamic={0: ("n", 8, "h", "w")},
        ),
        Case("SpaceToDepth", "SpaceToDepth", [f(1, 2, 4, 6)], attributes={"blocksize": 2}),
    ]


def _join() -> list[Case]:
    half: dict[str, Any] = {"attributes": {"axis": 1}, "outputs": 2}
    return [
        Case("Concat", "Concat", [X, f(2, 1, 4)], attributes={"axis": -2}),
        Case("Concat-1", "Concat", [X], attributes={"axis": 0}),
        Case("Concat-int", "Concat", [i64(1, 2), i64(3)], attributes={"axis": 0}),
        Case("Concat-bool", "Concat", [FLAGS, FLAGS], attributes={"axis": 1}),
        Case("Concat-empty", "Concat", [np.zeros((2, 0), np.float32), f(2, 3)], {}, {"axis": 1}),
        Case("Concat-dynamic", "Concat", [X, X], {}, {"axis": 2}, dynamic={0: DYN[0], 1: DYN[0]}),
        Case("Split", "Split", [f(2, 6)], attributes={"axis": 1}, outputs=3),
        Case("Split-uneven", "Split", [f(2, 7)], {1: i64(2, 1, 4)}, {"axis": -1}, outputs=3),
        Case("Split-11", "Split", [f(2, 7)], {}, {"axis": 1, "split": [3, 4]}, 2, 11),
        Case("Split-18", "Split", [f(2, 7)], {}, {"axis": 1, "num_outputs": 3}, 3, 18),
        Case("Split-dynamic", "Split", [f(2, 6)], **half, dynamic={0: (2, "n")}, sizes=[{"n": 2}]),
        Case(
            "Split-dynamic-18",
            "Split",
            [f(2, 7)],
            {},
            {"axis": 1, "num_outputs": 3},
            3,
            18,
            {0: (2, "n")},
            [{"n": 9}, {"n": 5}],
        ),
    ]


def _slice() -> list[Case]:
    first, few = {0: ("n",)}, [{"n": 3}, {"n": 4}, {"n": 20}]
    turned = {1: i64(-1, 4), 2: i64(-99, 0), 3: i64(0, 1), 4: i64(-1, -2)}
    return [
        Case("Slice", "Slice", [X], {1: i64(1, -3), 2: i64(99, -1), 3: i64(1, 2)}),
        Case(
            "Slice-9", "Slice", [X], {}, {"starts": [1, -3], "ends": [99, -1], "axes": [1, 2]}, 1, 9
        ),
        Case("Slice-step", "Slice", [f(9)], {1: i64(1), 2: i64(8), 3: i64(0), 4: i64(3)}),
        Case("Slice-flip", "Slice", [f(9)], {1: i64(-1), 2: i64(-99), 3: i64(0), 4: i64(-1)}),
        Case("Slice-back", "Slice", [f(9)], {1: i64(7), 2: i64(1), 3: i64(0), 4: i64(-2)}),
        Case("Slice-none", "Slice", [f(9)], {1: i64(5), 2: i64(2)}),
        Case("Slice-turn-and-cut", "Slice", [f(5, 6)], turned),
        Case("Slice-turn-runtime", "Slice", [f(5, 6), *turned.values()]),
        Case(
            "Slice-flip-dynamic",
            "Slice",
            [f(9)],
            {1: i64(-1), 2: i64(-FAR), 3: i64(0), 4: i64(-1)},
            dynamic=first,
        ),
        Case("Slice-dynamic", "Slice", [f(9)], {1: i64(1), 2: i64(FAR)}, {}, 1, 17, first, few),
        Case("Slice-dynamic-end", "Slice", [f(9)], {1: i64(0), 2: i64(-1)}, {}, 1, 17, first, few),
        Case("Slice-dynamic-both", "Slice", [f(9)], {1: i64(1), 2: i64(-1)}, {}, 1, 17, first, few),
        # Bounds beyond both ends of the smaller sizes.
        Case(
            "Slice-dynamic-last", "Slice", [f(9)], {1: i64(-5), 2: i64(FAR)}, {}, 1, 17, first, few
        ),
        Case("Slice-dynamic-first", "Slice", [f(9)], {1: i64(0), 2: i64(5)}, {}, 1, 17, first, few),
        Case(
            "Slice-dynamic-step",
            "Slice",
            [f(9)],
            {1: i64(1), 2: i64(FAR), 4: i64(2)},
            {},
            1,
            17,
            first,
            few,
        ),
        Case("Slice-other", "Slice", [X], {1: i64(1), 2: i64(3), 3: i64(1)}, dynamic=DYN),
        Case("Slice-runtime", "Slice", [X, i64(1), i64(3), i64(2)], {3: i64(2)}),
        Case("Slice-runtime-end", "Slice", [X, i64(-3), i64(-1), i64(2)], {3: i64(2)}),
        Case("Slice-int", "Slice", [i64(1, 2, 3)], {1: i64(1), 2: i64(3)}),
        Case("Slice-bool", "Slice", [FLAGS], {1: i64(1), 2: i64(2)}),
    ]


def _generate() -> list[Case]:
    return [
        Case("Expand", "Expand", [f(3, 1)], {1: i64(2, 1, 4)}),
        Case("Expand-bool", "Expand", [FLAGS[:, :1]], {1: i64(2, 3, 4)}),
        Case("Expand-int", "Expand", [i64(1)], {1: i64(4)}),
        Case("Expand-less", "Expand", [X], {1: i64(3, 1)}),
        Case("Expand-dynamic", "Expand", [f(2, 1, 3)], {1: i64(1, 4, 1)}, dynamic={0: ("n", 1, 3)}),
        Case("Expand-runtime", "Expand", [f(3, 1), i64(2, 3, 4)]),
        Case("Tile", "Tile", [X], {1: i64(1, 2, 3)}),
        Case("Tile-dynamic", "Tile", [X], {1: i64(1, 2, 3)}, dynamic=DYN),
        Case("Tile-bool", "Tile", [FLAGS], {1: i64(1, 2, 1)}),
        Case("Tile-runtime", "Tile", [X, i64(1, 2, 3)]),
        Case("ConstantOfShape", "ConstantOfShape", [i64(2, 3)]),
        Case("Range", "Range", [np.array(v) for v in (1, 9, 3)]),
        Case("Range-down", "Range", [np.array(v) for v in (9, 1, -3)]),
        Case("Trilu", "Trilu", [f(2, 4, 5)]),
        Case("Trilu-lower", "Trilu", [f(4, 5)], {1: np.int64(-1)}, {"upper": 0}),
        Case("Trilu-bool", "Trilu", [f(4, 4) > 0], {1: np.int64(1)}),
        Case("Trilu-int", "Trilu", [i64(*range(9)).reshape(3, 3)]),
        Case("Trilu-runtime", "Trilu", [f(4, 5), np.array(2)]),
        Case("Trilu-dynamic", "Trilu", [f(4, 5)], dynamic={0: ("n", "m")}),
    ]


def _pad() -> list[Case]:
    reflect, edge = {"mode": "reflect"}, {"mode": "edge"}
    sides, image = i64(0, 0, 2, 0, 0, 3), i64(0, 0, 1, 2, 0, 0, 3, 0)
    wide = {0: ("n", "c", "t")}
    sizes = [{"n": 1, "c": 1, "t": 4}, {"n": 3, "c": 2, "t": 9}]
    return [
        Case("Pad", "Pad", [X], {1: i64(0, 1, 2, 0, 0, 3)}),
        Case("Pad-value", "Pad", [X], {1: i64(1, 0, 0, 0, 2, 0), 2: np.float32(7)}),
        Case("Pad-negative", "Pad", [f(2, 6)], {1: i64(0, -1, 0, 2)}),
        Case(
            "Pad-cut",
            "Pad",
            [f(2, 6)],
            {1: i64(0, -1, 0, -2)},
            dynamic={0: ("n", "t")},
            sizes=[{"n": 1, "t": 4}],
        ),
        Case("Pad-int", "Pad", [i64(1, 2, 3)], {1: i64(1, 2), 2: np.int64(9)}),
        Case("Pad-10", "Pad", [X], {}, {"pads": [0, 1, 2, 0, 0, 3], "value": 4.0}, opset=10),
        Case("Pad-18", "Pad", [X], {1: i64(1, 2), 3: i64(2)}, opset=18),
        Case("Pad-18-negative-axis", "Pad", [X], {1: i64(1, 2), 3: i64(-2)}, opset=18),
        Case("Pad-reflect", "Pad", [f(2, 3, 6)], {1: sides}, reflect),
        Case("Pad-edge", "Pad", [f(2, 3, 6)], {1: sides}, edge),
        Case("Pad-wrap", "Pad", [f(2, 3, 6)], {1: sides}, {"mode": "wrap"}, opset=19),
        Case("Pad-reflect-2d", "Pad", [f(1, 2, 5, 6)], {1: image}, reflect),
        Case("Pad-edge-2d", "Pad", [f(1, 2, 5, 6)], {1: image}, edge),
        Case(
            "Pad-reflect-3d",
            "Pad",
            [f(1, 2, 3, 4, 5)],
            {1: i64(0, 0, *[1] * 3, 0, 0, *[1] * 3)},
            reflect,
        ),
        Case(
            "Pad-reflect-video",
            "Pad",
            [f(2, 2, 2, 4, 5)],
            {1: i64(*[0] * 4, 2, *[0] * 3, 1, 1)},
            reflect,
        ),
        Case("Pad-edge-all", "Pad", [f(2, 3, 4, 5)], {1: i64(*[1] * 8)}, edge),
        Case("Pad-wrap-cut", "Pad", [f(6, 5)], {1: i64(-2, 3, 1, -1)}, {"mode": "wrap"}, opset=19),
        Case("Pad-dynamic", "Pad", [X], {1: i64(0, 1, 2, 0, 0, 3)}, dynamic=DYN),
        Case("Pad-reflect-dynamic", "Pad", [f(2, 3, 6)], {1: sides}, reflect, 1, 17, wide, sizes),
        Case("Pad-edge-dynamic", "Pad", [f(2, 3, 6)], {1: sides}, edge, 1, 17, wide, sizes),
    ]


def _gather() -> list[Case]:
    x = f(4, 3)
    pairs = i64(0, 1, -1, 2).reshape(2, 2)
    return [
        Case("Gather", "Gather", [x, i64(0, 2, -1)]),
        Case("Gather-constant", "Gather", [x], {1: i64(0, -1)}, {"axis": 1}),
        Case("Gather-scalar", "Gather", [x], {1: np.int64(-2)}, {"axis": -1}),
        Case("Gather-scalar-dynamic", "Gather", [x], {1: np.int64(-1)}, dynamic={0: ("n", 3)}),
        Case("Gather-2d", "Gather", [x, i64(0, 2, -1, 1).reshape(2, 2)]),
        Case("Gather-int32", "Gather", [x, i32(0, -1)]),
        Case(
            "Gather-dynamic",
            "Gather",
            [x, i64(0, 2, -1)],
            {},
            {},
            1,
            17,
            {0: ("n", 3), 1: ("k",)},
            [{"n": 3, "k": 1}, {"n": 7, "k": 5}],
        ),
        Case("Gather-bool", "Gather", [x > 0, i64(1, -1)]),
        Case("Gather-ints", "Gather", [i64(5, 6, 7), i64(1, -1)]),
        Case("GatherElements", "GatherElements", [x, i64(0, -1, 2, 1, 1, 0).reshape(2, 3)]),
        Case(
            "GatherElements-1",
            "GatherElements",
            [x, i64(0, -1, 2, 1).reshape(4, 1)],
            {},
            {"axis": 1},
        ),
        Case(
            "GatherElements-dynamic",
            "GatherElements",
            [x, i64(0, -1, 2, 1).reshape(4, 1)],
            {},
            {"axis": 1},
            dynamic={0: ("n", 3), 1: ("n", 1)},
        ),
        Case("GatherND", "GatherND", [x, pairs]),
        Case("GatherND-rows", "GatherND", [x, i64(0, -1).reshape(2, 1)]),
        Case("GatherND-constant", "GatherND", [x], {1: pairs}),
        Case(
            "GatherND-dynamic",
            "GatherND",
            [x, i64(0, -1).reshape(2, 1)],
            dynamic={0: ("n", 3), 1: ("k", 1)},
        ),
    ]


def _scatter() -> list[Case]:
    x = f(4, 3)
    rows, cells = i64(0, -1).reshape(2, 1), i64(0, -1, 2).reshape(1, 3)
    found = [
        Case("ScatterND", "ScatterND", [x, rows, f(2, 3)]),
        Case(
            "ScatterND-dynamic",
            "ScatterND",
            [x, rows, f(2, 3)],
            dynamic={0: ("n", 3)},
            sizes=[{"n": 9}],
        ),
        Case("ScatterElements", "ScatterElements", [x, cells, f(1, 3)]),
        Case(
            "ScatterElements-1",
            "ScatterElements",
            [x, i64(2, -3).reshape(2, 1), f(2, 1)],
            {},
            {"axis": 1},
        ),
        Case(
            "ScatterElements-add",
            "ScatterElements",
            [x, i64(0, 0, 2).reshape(1, 3), f(1, 3)],
            {},
            {"reduction": "add"},
        ),
        Case("Scatter", "Scatter", [x, cells, f(1, 3)], opset=10),
    ]
    for kind in ("add", "mul", "max", "min"):
        node = [x, i64(0, 0, 2).reshape(3, 1), f(3, 3)]
        found.append(
            Case(f"ScatterND-{kind}", "ScatterND", node, {}, {"reduction": kind}, opset=18)
        )
    return found


def _rank() -> list[Case]:
    tied = np.array([[2, 3, 3, 1, 3], [0, 0, 0, 0, 0]], np.float32)
    return [
        Case("OneHot", "OneHot", [i64(0, 2, -1, 9), None, f(2)], {1: np.int64(3)}),
        Case("OneHot-0", "OneHot", [i64(0, 2), None, f(2)], {1: np.int64(3)}, {"axis": 0}),
        Case("OneHot-int", "OneHot", [i64(0, 2), None, i64(0, 1)], {1: i64(3)}),
        Case("TopK", "TopK", [f(3, 6)], {1: i64(2)}, outputs=2),
        Case("TopK-0", "TopK", [f(6, 3)], {1: i64(2)}, {"axis": 0, "largest": 0}, outputs=2),
        Case("TopK-10", "TopK", [f(6, 3)], {1: i64(2)}, {"axis": 0}, 2, 10),
        Case("TopK-ties", "TopK", [tied], {1: i64(4)}, outputs=2),
        Case("TopK-ties-smallest", "TopK", [tied], {1: i64(4)}, {"largest": 0}, outputs=2),
        Case("TopK-int", "TopK", [i64(3, 9, -4, 7)], {1: i64(3)}, outputs=2),
        Case("TopK-dynamic", "TopK", [f(3, 6)], {1: i64(1)}, outputs=2, dynamic={0: ("n", "m")}),
        Case("NonZero", "NonZero", [np.array([[1, 0, -2], [0, 3, 0]], np.float32)]),
        # One is always found: MindSpore's CPU kernel of Transpose does nothing any more once it has
        # had a tensor without elements.
        Case(
            "NonZero-bool",
            "NonZero",
            [FLAGS | (np.arange(24).reshape(FLAGS.shape) == 0)],
            dynamic=DYN,
        ),
    ]
