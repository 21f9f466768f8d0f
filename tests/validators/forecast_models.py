"""Small graphs that float16 harms, each in one way that real models have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, parser

from ascend_migrate.validators.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
Drawn = Callable[[np.random.Generator], Array]


def normal(*shape: int, size: float = 1.0) -> Drawn:
    """Draws normal numbers of that standard deviation."""
    return lambda rng: (rng.standard_normal(shape) * size).astype(np.float32)


def positive(*shape: int, size: float = 1.0) -> Drawn:
    """Draws numbers between a half of ``size`` and one and a half of it."""
    return lambda rng: (rng.uniform(0.5, 1.5, shape) * size).astype(np.float32)


def number(value: float) -> Drawn:
    """A constant."""
    return lambda _rng: np.asarray(value, np.float32)


def integers(*values: int) -> Drawn:
    """A constant list of integers."""
    return lambda _rng: np.array(values, np.int64)


@dataclass(frozen=True)
class Toy:
    """One graph.

    Attributes:
        name: what is wrong with it.
        body: its nodes, as ONNX's text format has them; ``x`` is its input and ``y`` its result.
        x: draws the input.
        weights: draws the weights.
        zeros: whether one of the cases is zeros.
    """

    name: str
    body: str
    x: Drawn
    weights: Mapping[str, Drawn] = field(default_factory=dict)
    zeros: bool = False

    def save(self, folder: Path) -> Path:
        """Writes the graph; its nodes are called as what they make."""
        rng = np.random.default_rng(7)
        rank = self.x(rng).ndim
        sizes = ", ".join(f"d{axis}" for axis in range(rank))
        text = (
            f'<ir_version: 8, opset_import: ["" : 17]> g (float[{sizes}] x) => (float[] y) '
            f"{{{self.body}}}"
        )
        model = parser.parse_model(text)
        model.graph.output[0].type.tensor_type.ClearField("shape")
        for node in model.graph.node:
            node.name = f"/{node.output[0]}"
        for name, draw in self.weights.items():
            model.graph.initializer.append(numpy_helper.from_array(draw(rng), name))
        path = folder / f"{self.name}.onnx"
        onnx.save(model, path)
        return path

    def cases(self, count: int = 3) -> list[Case]:
        """Draws inputs."""
        rng = np.random.default_rng(11)
        found = [Case(f"random-{i}", {"x": self.x(rng)}) for i in range(count)]
        if self.zeros:
            found.append(Case("zeros", {"x": np.zeros_like(found[0].feeds["x"])}))
        return found


_NORM = """
    m = ReduceMean <axes: ints = [-1]> ({x}) d = Sub ({x}, m) q = Mul (d, d)
    v = ReduceMean <axes: ints = [-1]> (q) e = Add (v, eps) s = Sqrt (e) n = Div (d, s)
"""

TOYS = (
    Toy(
        "residual_stream",
        "h = Mul (x, loud) a = Tanh (x) r = Add (h, a) t = Add (r, h) u = Mul (t, quiet) "
        "z = Tanh (u) y = MatMul (z, w)",
        normal(4, 16),
        {"loud": number(4e4), "quiet": number(2e-5), "w": normal(16, 8)},
    ),
    Toy(
        "softmax_logits",
        "a = MatMul (x, w) l = Mul (a, big) p = Softmax (l) y = MatMul (p, w2)",
        normal(4, 16),
        {"w": normal(16, 16), "big": number(2e4), "w2": normal(16, 4)},
    ),
    Toy(
        "variance",
        _NORM.format(x="h").join(["h = Mul (x, loud)", "g = Mul (n, w) y = Add (g, b)"]),
        normal(4, 32),
        {"loud": number(800.0), "eps": number(1e-5), "w": positive(32), "b": normal(32)},
    ),
    Toy(
        "long_sum",
        "a = Abs (x) s = ReduceSum (a, axes) t = Mul (s, w) y = Tanh (t)",
        normal(4, 8192, size=30.0),
        {"axes": integers(-1), "w": number(4e-6)},
    ),
    Toy(
        "exponential",
        "a = Mul (x, big) e = Exp (a) s = ReduceSum (e, axes) l = Log (s) y = Mul (l, w)",
        positive(4, 16),
        {"big": number(12.0), "axes": integers(-1), "w": positive(4, 1)},
    ),
    Toy(
        "tiny_epsilon",
        _NORM.format(x="x") + "y = Mul (n, w)",
        normal(4, 32),
        {"eps": number(1e-12), "w": positive(32)},
        zeros=True,
    ),
    Toy(
        "rms_norm",
        "h = MatMul (x, w) q = Pow (h, two) m = ReduceMean <axes: ints = [-1]> (q) "
        "e = Add (m, eps) s = Sqrt (e) n = Div (h, s) y = Mul (n, g)",
        normal(4, 32),
        {"w": normal(32, 32, size=100.0), "two": number(2.0), "eps": number(1e-6),
         "g": positive(32)},
    ),
    Toy(
        "mean_by_hand",
        "q = Mul (x, x) s = ReduceSum (q, axes) m = Div (s, count) r = Sqrt (m) y = Div (x, r)",
        normal(4, 4096, size=8.0),
        {"axes": integers(-1), "count": number(4096.0)},
    ),
    Toy(
        "cumulative_sum",
        "a = Abs (x) c = CumSum (a, axis) d = Mul (c, w) y = Sin (d)",
        normal(2, 2000, size=60.0),
        {"axis": lambda _rng: np.array(1, np.int64), "w": number(1e-3)},
    ),
    Toy(
        "late_scale",
        "q = MatMul (x, wq) k = MatMul (x, wk) t = Transpose <perm: ints = [1, 0]> (k) "
        "p = MatMul (q, t) l = Mul (p, scale) a = Softmax (l) v = MatMul (x, wv) y = MatMul (a, v)",
        normal(8, 64),
        {"wq": normal(64, 64, size=6.0), "wk": normal(64, 64, size=6.0),
         "wv": normal(64, 16), "scale": number(1e-4)},
    ),
    Toy(
        "cancellation",
        "a = Add (x, far) b = Mul (a, w) c = Sub (b, mean) y = Tanh (c)",
        normal(4, 16),
        {"far": number(900.0), "w": number(1.0), "mean": number(900.0)},
    ),
    Toy(
        "variance_of_squares",
        "f = Add (x, far) q = Mul (f, f) a = ReduceMean <axes: ints = [-1]> (q) "
        "m = ReduceMean <axes: ints = [-1]> (f) b = Mul (m, m) v = Sub (a, b) y = Sqrt (v)",
        normal(4, 64),
        {"far": number(30.0)},
    ),
    Toy(
        "logarithm_near_one",
        "a = Mul (x, small) b = Add (a, one) l = Log (b) c = Mul (l, big) y = Tanh (c)",
        positive(4, 16),
        {"small": number(1e-3), "one": number(1.0), "big": number(1e3)},
    ),
    Toy(
        "angles",
        "a = Mul (x, f) s = Sin (a) c = Cos (a) u = Mul (s, x) v = Mul (c, x) y = Sub (u, v)",
        positive(4, 16, size=500.0),
        {"f": number(3.7)},
    ),
    Toy(
        "small_gradients",
        "a = Mul (x, small) b = Mul (a, small) c = Abs (b) d = Add (c, c) "
        "z = Mul (d, large) y = Mul (z, large)",
        normal(4, 16),
        {"small": number(1e-4), "large": number(1e4)},
    ),
    Toy(
        "cancelling_product",
        "a = Add (x, far) p = MatMul (a, w) c = Sub (p, shift) y = Tanh (c)",
        normal(4, 16),
        {"far": number(1000.0), "w": lambda _rng: np.eye(16, dtype=np.float32),
         "shift": number(1000.0)},
    ),
    Toy(
        "moved_between",
        "h = Mul (x, loud) t = Transpose <perm: ints = [1, 0]> (h) r = Reshape (t, shape) "
        "u = Mul (r, quiet) y = Tanh (u)",
        normal(4, 16),
        {"loud": number(1e6), "quiet": number(1e-6), "shape": integers(8, 8)},
    ),
)  # fmt: skip

BY_NAME = {toy.name: toy for toy in TOYS}
