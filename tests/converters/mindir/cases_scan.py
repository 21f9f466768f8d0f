"""Scans: fixed and dynamic lengths, both directions, every axis; see cases_control.py."""

from tests.converters.mindir.cases_control import SWITCH, ControlCase, x

SCAN_BODY = """body = step (float[3] s, float[3] a) => (float[3] t, float[3] out) {
    u = Add (s, a)
    t = Mul (u, w)
    out = Identity (u) }"""

SCAN_CASES = [
    ControlCase(
        f"scan-{name}",
        f"""(float[3] start, float[{sizes}] x) => (float[3] last, float[{outputs}] y)
            <float[3] w = {{1, 0.5, -1}}> {{
            last, out = Scan (start, x) <num_scan_inputs = 1, {attributes} {SCAN_BODY}>
            y = Add (out, x)
        }}""",
        [{"start": x(3), "x": x(*shape)} for shape in shapes],
        primitives=SWITCH if dynamic else frozenset(),
        absent=frozenset() if dynamic else SWITCH,
    )
    for name, sizes, outputs, attributes, shapes, dynamic in [
        ("fixed", "4, 3", "4, 3", "", [(4, 3)], False),
        ("one-step", "1, 3", "1, 3", "", [(1, 3)], False),
        ("dynamic", "T, 3", "T, 3", "", [(4, 3), (1, 3), (7, 3)], True),
        ("backwards", "T, 3", "T, 3", "scan_input_directions = [1],", [(4, 3), (7, 3)], True),
        ("backwards-fixed", "4, 3", "4, 3", "scan_input_directions = [1],", [(4, 3)], False),
        ("turned", "T, 3", "T, 3", "scan_output_directions = [1],", [(4, 3), (2, 3)], True),
        ("turned-fixed", "4, 3", "4, 3", "scan_output_directions = [1],", [(4, 3)], False),
        ("axes", "3, T", "3, T", "scan_input_axes = [1], scan_output_axes = [-1],", [(3, 5)], True),
        ("axes-fixed", "3, 5", "3, 5", "scan_input_axes = [1], scan_output_axes = [1],",
         [(3, 5)], False),
    ]
]  # fmt: skip

SCAN_CASES += [
    ControlCase(
        "scan-several",
        """(float[N] a, float[N] b, float[T, N] p, float[N, T] q)
                => (float[N] y, float[N] z, float[T, N] rows, float[T] sums) {
            y, z, rows, sums = Scan (a, b, p, q) <
                num_scan_inputs = 2, scan_input_axes = [0, 1], scan_input_directions = [0, 1],
                body = step (float[N] s, float[N] t, float[N] u, float[N] v)
                            => (float[N] s1, float[N] t1, float[N] row, float sum) {
                    s1 = Add (s, u)
                    t1 = Mul (t, v)
                    row = Sub (s1, t1)
                    sum = ReduceSum <keepdims = 0> (row) }>
        }""",
        [
            {"a": x(size), "b": x(size), "p": x(time, size), "q": x(size, time)}
            for size, time in ((2, 3), (3, 1), (4, 6))
        ],
        primitives=SWITCH,
    ),
    ControlCase(
        "scan-opset-8",
        """(float[2, 3] start, float[2, 4, 3] x) => (float[2, 3] last, float[2, 4, 3] y)
            <float[3] w = {1, 0.5, -1}> {
            last, y = Scan ( , start, x) <num_scan_inputs = 1, BODY>
        }""".replace("BODY", SCAN_BODY),
        [{"start": x(2, 3), "x": x(2, 4, 3)}],
        opset=8,
        absent=SWITCH,
    ),
]
