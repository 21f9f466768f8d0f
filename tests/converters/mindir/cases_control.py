"""Small models with branches and loops, as ONNX text, and what each is fed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import parser

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ControlCase:
    """A graph and the feeds that it is run with, one after another on the same MindIR.

    ``primitives`` are those that the MindIR must call, ``absent`` those that it must not.
    """

    id: str
    graph: str
    feeds: Sequence[Feeds]
    opset: int = 17
    primitives: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()

    def model(self) -> onnx.ModelProto:
        header = f'<ir_version: 8, opset_import: ["" : {self.opset}]>'
        return parser.parse_model(f"{header} {self.id.replace('-', '_')} {self.graph}")


def x(*shape: int, start: float = -2.0) -> np.ndarray:
    return np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) + np.float32(start)


def n(value: int) -> np.ndarray:
    return np.array(value, np.int64)


def b(value: bool) -> np.ndarray:
    return np.array(value)


SWITCH = frozenset({"Switch", "Partial"})

IF_CASES = [
    ControlCase(
        "if-both-branches",
        """(float[2, 3] x, bool p) => (float[2, 3] y) {
            y = If (p) <
                then_branch = t () => (float[2, 3] a) { q = Neg (x)  a = Add (q, x) },
                else_branch = e () => (float[2, 3] b) { q = Abs (x)  b = Mul (q, x) }>
        }""",
        [{"x": x(2, 3), "p": b(True)}, {"x": x(2, 3), "p": b(False)}],
        primitives=SWITCH,
    ),
    ControlCase(
        "if-dynamic-sizes",
        """(float[N, 3] x, float[N] v) => (float[N, 1, 3] y, float[N, 3] z) {
            total = ReduceSum <keepdims = 0> (v)
            zero = Constant <value_float = 0.0> ()
            p = Greater (total, zero)
            y, z = If (p) <
                then_branch = t () => (float[N, 1, 3] a, float[N, 3] same) {
                    one = Constant <value_ints = [1]> ()
                    a = Unsqueeze (x, one)
                    same = Identity (x) },
                else_branch = e () => (float[N, 1, 3] b, float[N, 3] c) {
                    shape = Shape (x)
                    first = Constant <value_ints = [0]> ()
                    rows = Gather (shape, first)
                    rest = Constant <value_ints = [1, 3]> ()
                    target = Concat <axis = 0> (rows, rest)
                    q = Exp (x)
                    b = Reshape (q, target)
                    c = Sub (q, x) }>
        }""",
        [
            {"x": x(2, 3), "v": x(2, start=1)},
            {"x": x(2, 3), "v": x(2, start=-9)},
            {"x": x(5, 3), "v": x(5, start=1)},
            {"x": x(5, 3), "v": x(5, start=-9)},
        ],
        primitives=SWITCH,
    ),
    ControlCase(
        "if-differing-sizes",
        """(float[4, 3] x, bool p) => (float[M, 3] y) {
            y = If (p) <
                then_branch = t () => (float[4, 3] a) { a = Neg (x) },
                else_branch = e () => (float[8, 3] b) { b = Concat <axis = 0> (x, x) }>
        }""",
        [{"x": x(4, 3), "p": b(True)}, {"x": x(4, 3), "p": b(False)}],
        primitives=SWITCH,
    ),
    ControlCase(
        "if-captured-outer-values-only",
        """(float[2] x, bool[1] p) => (float[2] y) {
            doubled = Add (x, x)
            y = If (p) <
                then_branch = t () => (float[2] a) { a = Identity (doubled) },
                else_branch = e () => (float[2] b) { b = Constant <value = float[2] {7, 8}> () }>
        }""",
        [{"x": x(2), "p": np.array([True])}, {"x": x(2), "p": np.array([False])}],
        primitives=SWITCH,
    ),
    ControlCase(
        "if-nested",
        """(float[3] x, bool p, bool q) => (float[3] y) {
            twice = Add (x, x)
            y = If (p) <
                then_branch = t () => (float[3] a) {
                    a = If (q) <
                        then_branch = tt () => (float[3] aa) { aa = Mul (twice, x) },
                        else_branch = te () => (float[3] ab) { ab = Sub (twice, x) }> },
                else_branch = e () => (float[3] b) { b = Neg (x) }>
        }""",
        [{"x": x(3), "p": b(p), "q": b(q)} for p in (True, False) for q in (True, False)],
        primitives=SWITCH,
    ),
    ControlCase(
        "if-known-from-the-rank",
        """(float[N, 3] x) => (float[N, 3] y) {
            shape = Shape (x)
            rank = Size (shape)
            two = Constant <value_int = 2> ()
            p = Equal (rank, two)
            y = If (p) <
                then_branch = t () => (float[N, 3] a) { a = Neg (x) },
                else_branch = e () => (float[N, 3] b) { b = Abs (x) }>
        }""",
        [{"x": x(2, 3)}, {"x": x(4, 3)}],
        absent=SWITCH,
    ),
    ControlCase(
        "if-shapes-and-integers",
        """(float[N, 4] x, bool p) => (float[K, L] y) {
            shape = If (p) <
                then_branch = t () => (int64[2] a) { a = Shape (x) },
                else_branch = e () => (int64[2] b) { b = Constant <value_ints = [-1, 2]> () }>
            y = Reshape (x, shape)
        }""",
        [{"x": x(3, 4), "p": b(True)}, {"x": x(3, 4), "p": b(False)}],
        primitives=SWITCH,
    ),
]

COUNT = """(float[2, 3] x, int64 trips) => (float[2, 3] y) {
    yes = Constant <value = bool {1}> ()
    y = Loop (trips, yes, x) <
        body = step (int64 i, bool c, float[2, 3] s) => (bool d, float[2, 3] t) {
            d = Identity (c)
            f = Cast <to = 1> (i)
            u = Add (s, f)
            t = Add (u, w) }>
}"""

LOOP_CASES = [
    ControlCase(
        "loop-trips-at-run-time",
        COUNT.replace("(float[2, 3] y) {", "(float[2, 3] y) <float[3] w = {1, 2, 3}> {"),
        [{"x": x(2, 3), "trips": n(count)} for count in (0, 1, 5, 300)],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-trips-known",
        COUNT.replace("(float[2, 3] x, int64 trips)", "(float[2, 3] x)").replace(
            "(float[2, 3] y) {", "(float[2, 3] y) <float[3] w = {1, 2, 3}, int64 trips = {4}> {"
        ),
        [{"x": x(2, 3)}],
        absent=SWITCH,
    ),
    ControlCase(
        "loop-many-trips-known",
        COUNT.replace("(float[2, 3] x, int64 trips)", "(float[2, 3] x)").replace(
            "(float[2, 3] y) {", "(float[2, 3] y) <float[3] w = {1, 2, 3}, int64 trips = {900}> {"
        ),
        [{"x": x(2, 3)}],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-no-trip-known",
        COUNT.replace("(float[2, 3] x, int64 trips)", "(float[2, 3] x)")
        .replace(
            "(float[2, 3] y) {", "(float[2, 3] z) <float[3] w = {1, 2, 3}, int64 trips = {0}> {"
        )
        .replace("}>\n}", "}> z = Neg (y) }"),
        [{"x": x(2, 3)}],
        absent=SWITCH,
    ),
    ControlCase(
        "loop-while",
        """(float[3] x, float limit) => (float[3] y, int64 count) {
            yes = Constant <value = bool {1}> ()
            zero = Constant <value_int = 0> ()
            y, count = Loop ( , yes, x, zero) <
                body = step (int64 i, bool c, float[3] s, int64 k)
                            => (bool d, float[3] t, int64 l) {
                    t = Add (s, s)
                    one = Constant <value_int = 1> ()
                    l = Add (k, one)
                    largest = ReduceMax <keepdims = 0> (t)
                    d = Less (largest, limit) }>
        }""",
        [{"x": x(3, start=1), "limit": np.array(v, np.float32)} for v in (1, 50, 1000)],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-while-or-trips",
        """(float[3] x, int64 trips, bool first) => (float[3] y) {
            y = Loop (trips, first, x) <
                body = step (int64 i, bool c, float[3] s) => (bool d, float[3] t) {
                    t = Add (s, s)
                    limit = Constant <value_float = 100.0> ()
                    largest = ReduceMax <keepdims = 0> (t)
                    d = Less (largest, limit) }>
        }""",
        [
            {"x": x(3, start=1), "trips": n(trips), "first": b(first)}
            for trips, first in ((3, True), (30, True), (30, False), (0, True))
        ],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-rows",
        """(float[N, 3] x, int64 trips) => (float[N, 3] y, float[T, N, 3] rows, float[T] sums) {
            yes = Constant <value = bool {1}> ()
            y, rows, sums = Loop (trips, yes, x) <
                body = step (int64 i, bool c, float[N, 3] s)
                            => (bool d, float[N, 3] t, float[N, 3] row, float sum) {
                    d = Identity (c)
                    t = Add (s, x)
                    row = Neg (t)
                    sum = ReduceSum <keepdims = 0> (row) }>
        }""",
        # Without a trip onnxruntime takes sizes that it does not know for 0; see loop-no-rows.
        [{"x": x(size, 3), "trips": n(t)} for size, t in ((2, 3), (4, 1), (4, 40))],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-no-rows",
        """(float[2, 3] x, int64 trips) => (float[T, 2, 3] rows, bool[T] flags) {
            yes = Constant <value = bool {1}> ()
            rows, flags = Loop (trips, yes) <
                body = step (int64 i, bool c) => (bool d, float[2, 3] row, bool flag) {
                    d = Identity (c)
                    two = Constant <value_int = 2> ()
                    flag = Less (i, two)
                    f = Cast <to = 1> (i)
                    row = Sub (x, f) }>
        }""",
        [{"x": x(2, 3), "trips": n(count)} for count in (0, 4)],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-body-says-no",
        """(float[3] x, int64 trips, bool first) => (float[3] y, float[3] z) {
            y = Loop (trips, first, x) <
                body = step (int64 i, bool c, float[3] s) => (bool d, float[3] t) {
                    d = Constant <value = bool {0}> ()
                    t = Add (s, x) }>
            no = Constant <value = bool {0}> ()
            z = Loop (trips, no, x) <
                body = step2 (int64 i, bool c, float[3] s) => (bool d, float[3] t) {
                    d = Identity (c)
                    t = Add (s, x) }>
        }""",
        [{"x": x(3), "trips": n(t), "first": b(f)} for t in (0, 5) for f in (True, False)],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-growing-state",
        """(float[2, 3] x, int64 trips) => (float[K, 3] y) {
            yes = Constant <value = bool {1}> ()
            y = Loop (trips, yes, x) <
                body = step (int64 i, bool c, float[R, 3] s) => (bool d, float[Q, 3] t) {
                    d = Identity (c)
                    f = Cast <to = 1> (i)
                    g = Add (x, f)
                    t = Concat <axis = 0> (s, g) }>
        }""",
        [{"x": x(2, 3), "trips": n(count)} for count in (3, 0, 20)],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-growing-from-nothing",
        """(float[2, 3] x, int64 trips) => (float[K, 3] y) {
            yes = Constant <value = bool {1}> ()
            none = Constant <value = float[0, 3] {}> ()
            y = Loop (trips, yes, none) <
                body = step (int64 i, bool c, float[R, 3] s) => (bool d, float[Q, 3] t) {
                    d = Identity (c)
                    t = Concat <axis = 0> (s, x) }>
        }""",
        [{"x": x(2, 3), "trips": n(count)} for count in (3, 1, 9)],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-state-broadcast-by-the-first-trip",
        """(float[4, 3] x, int64 trips) => (float[K, 3] y) {
            yes = Constant <value = bool {1}> ()
            zeros = Constant <value = float[1, 3] {0, 0, 0}> ()
            y = Loop (trips, yes, zeros) <
                body = step (int64 i, bool c, float[R, 3] s) => (bool d, float[Q, 3] t) {
                    d = Identity (c)
                    t = Add (s, x) }>
        }""",
        [{"x": x(4, 3), "trips": n(count)} for count in (3, 0, 9)],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-with-branches",
        """(float[2, 3] x, int64 trips) => (float[2, 3] y) {
            yes = Constant <value = bool {1}> ()
            twice = Add (x, x)
            y = Loop (trips, yes, x) <
                body = step (int64 i, bool c, float[2, 3] s) => (bool d, float[2, 3] t) {
                    d = Identity (c)
                    total = ReduceSum <keepdims = 0> (s)
                    limit = Constant <value_float = 9.0> ()
                    p = Greater (total, limit)
                    t = If (p) <
                        then_branch = th () => (float[2, 3] a) { a = Sub (s, twice) },
                        else_branch = el () => (float[2, 3] e) {
                            f = Cast <to = 1> (i)
                            g = Add (s, f)
                            e = Add (g, w) }> }>
        }""".replace("(float[2, 3] y) {", "(float[2, 3] y) <float[3] w = {1, 2, 3}> {"),
        [{"x": x(2, 3), "trips": n(count)} for count in (0, 1, 2, 25)],
        primitives=SWITCH,
    ),
    ControlCase(
        "loop-in-a-loop",
        """(float[3] x, int64 trips) => (float[3] y, float[T, 3] rows) {
            yes = Constant <value = bool {1}> ()
            y, rows = Loop (trips, yes, x) <
                body = outer (int64 i, bool c, float[3] s)
                             => (bool d, float[3] t, float[3] row) {
                    d = Identity (c)
                    t = Loop (i, c, s) <
                        body = inner (int64 j, bool k, float[3] u) => (bool l, float[3] v) {
                            l = Identity (k)
                            f = Cast <to = 1> (j)
                            g = Add (f, x)
                            v = Add (u, g) }>
                    row = Sub (t, s) }>
        }""",
        [{"x": x(3), "trips": n(count)} for count in (0, 1, 4, 8)],
        primitives=SWITCH,
    ),
]
