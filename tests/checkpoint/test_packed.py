"""Sparse and quantized tensors: plain where that was asked for, equal to torch's own to the bit."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.reference import BASE, assert_equal, assert_refused

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import SourceError

utils: Any = torch._utils
SEED = torch.Generator().manual_seed(3)
HOLES = BASE * (torch.rand(6, 8, generator=SEED) > 0.6)
NUMBERS = torch.arange(-60, 60).reshape(4, 5, 6)


def coo(values: torch.Tensor, *size: int, spread: int = 2) -> torch.Tensor:
    """Not coalesced: most places are named several times."""
    places = torch.randint(0, 4, (spread, len(values)), generator=SEED)
    return torch.sparse_coo_tensor(places, values, size)


MANY = torch.randn(300, generator=SEED) * 100
SPARSE: dict[str, Callable[[], torch.Tensor]] = {
    "coo": HOLES.to_sparse,
    "coo of one axis": lambda: HOLES.to_sparse(1),
    "coo of three axes": (NUMBERS % 7 * (NUMBERS % 2)).to_sparse,
    "coo without an axis": lambda: torch.sparse_coo_tensor(
        torch.empty(0, 3, dtype=torch.long), torch.randn(3, 2), (2,)
    ),
    "twice in one place": lambda: coo(MANY, 4, 4),
    "twice, bfloat16": lambda: coo(MANY.bfloat16(), 4, 4),
    "twice, float16": lambda: coo((MANY / 100).half(), 4, 4),
    "twice, complex": lambda: coo(torch.complex(MANY, MANY.flip(0)), 4, 4),
    "twice, int8": lambda: coo(torch.arange(100, dtype=torch.int8), 4, 4),
    "twice, bool": lambda: coo(MANY > 0, 4, 4),
    "twice, rows": lambda: coo(MANY.reshape(50, 6), 4, 6, spread=1),
    "minus zero": lambda: torch.sparse_coo_tensor(
        torch.tensor([[1, 2]]), torch.tensor([-0.0, -1.0]), (4,)
    ),
    "nothing in it": lambda: torch.zeros(3, 5).to_sparse(),
    "empty": lambda: torch.empty(0, 5).to_sparse(),
    "csr": HOLES.to_sparse_csr,
    "csc": HOLES.to_sparse_csc,
    "bsr": lambda: HOLES.to_sparse_bsr((2, 4)),
    "bsc": lambda: HOLES.to_sparse_bsc((3, 2)),
    "csr, int32": lambda: torch.sparse_csr_tensor(
        torch.tensor([0, 1, 3], dtype=torch.int32),
        torch.tensor([4, 0, 2], dtype=torch.int32),
        torch.tensor([1.5, -2.5, 3.5], dtype=torch.float64),
        (2, 5),
    ),
    "csr, batches": lambda: torch.stack([BASE, BASE * 2, BASE * 3]).to_sparse_csr(),
    "bsr, batches": lambda: torch.stack([BASE, BASE * 2]).to_sparse_bsr((2, 2)),
    "csc with rows behind": lambda: torch.randn(3, 4, 2).to_sparse_csc(dense_dim=1),
    "csr, empty": lambda: torch.zeros(3, 4).to_sparse_csr(),
}


def save(value: Any, path: Path, *, legacy: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_made_dense(tmp_path: Path, name: str, legacy: bool) -> None:
    tensor = SPARSE[name]()
    state = {"good": BASE, "odd": tensor, "tied": tensor}
    checkpoint = open_checkpoint(save(state, tmp_path / "a.pt", legacy=legacy), unpack=["sparse"])
    assert_equal(checkpoint, {n: t.to_dense() for n, t in state.items()})
    assert checkpoint.notes[-1] == "2 sparse tensor(s) turned into plain ones"
    if tensor.numel():
        assert checkpoint.shared == (("odd", "tied"),)


def quantized(tensor: torch.Tensor, scale: float, zero: int, dtype: torch.dtype) -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):
        return torch.quantize_per_tensor(tensor, scale, zero, dtype)


def integers(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    limits = torch.iinfo(dtype)
    made = torch.randint(limits.min, limits.max + 1, shape, generator=SEED)
    return made.to(dtype)


def per_channel(axis: int, dtype: torch.dtype, kind: torch.dtype) -> torch.Tensor:
    values = integers(dtype, 5, 7, 6)
    size = values.shape[axis]
    scales = torch.rand(size, generator=SEED, dtype=kind) * 1e-3
    zeros = torch.randint(-9 if dtype.is_signed else 0, 9, (size,), generator=SEED)
    return by_channel(values, scales, zeros, axis)


def by_channel(
    values: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor, axis: int
) -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):
        made: Any = torch._make_per_channel_quantized_tensor
        found: torch.Tensor = made(values, scales, zeros, axis)
    return found


def per_tensor(dtype: torch.dtype, scale: float, zero: int) -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):
        made: Any = torch._make_per_tensor_quantized_tensor
        found: torch.Tensor = made(integers(dtype, 300, 3), scale, zero)
    return found


def float_zeros() -> torch.Tensor:
    scales, zeros = torch.rand(6, generator=SEED) + 0.01, torch.rand(6, generator=SEED) * 9
    with warnings.catch_warnings(action="ignore"):
        return torch.quantize_per_channel(BASE, scales, zeros, 0, torch.quint8)


INTS = (torch.int8, torch.uint8, torch.int32)
QUANTIZED: dict[str, Callable[[], torch.Tensor]] = {
    **{
        f"{dtype}, scale {scale}, zero {zero}": partial(per_tensor, dtype, scale, zero)
        for dtype in INTS
        for scale in (1 / 3, 0.0123456789)
        for zero in (0, 120)
    },
    **{
        f"{dtype} along {axis}, {kind}": partial(per_channel, axis, dtype, kind)
        for dtype in INTS
        for axis in (0, 2)
        for kind in (torch.float32, torch.float64)
    },
    "float zero points": float_zeros,
    "turned": lambda: quantized(BASE, 0.1, 3, torch.quint8).T,
    "part": lambda: quantized(BASE, 0.1, 3, torch.qint8)[1:3, 2:],
    "channels last": lambda: quantized(
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), 0.1, 3, torch.qint8
    ),
    "scalar": lambda: quantized(torch.tensor(2.5), 0.1, 3, torch.qint8),
    "empty": lambda: quantized(torch.empty(0, 3), 0.1, 3, torch.qint8),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_dequantized(tmp_path: Path, name: str, legacy: bool) -> None:
    tensor = QUANTIZED[name]()
    path = save({"good": BASE, "odd": tensor}, tmp_path / "a.pt", legacy=legacy)
    checkpoint = open_checkpoint(path, unpack=["quantized"])
    assert_equal(checkpoint, {"good": BASE, "odd": tensor.dequantize()})


def test_both_kinds_nested_and_renamed(tmp_path: Path) -> None:
    thin, small = HOLES.to_sparse(), quantized(BASE, 0.1, 3, torch.qint8)
    state = {"model": {"module.s": thin, "module.q": small}, "step": 3}
    checkpoint = open_checkpoint(
        save(state, tmp_path / "a.pt"), unpack=["sparse", "quantized"], drop=[]
    )
    assert_equal(checkpoint, {"s": thin.to_dense(), "q": small.dequantize()})


class Forged:
    """Pickles to a call of one of torch's own functions with any arguments."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.args


def sparse(*data: Any, layout: Any = torch.sparse_coo) -> Forged:
    return Forged(utils._rebuild_sparse_tensor, layout, data)


ONE, TWO = torch.tensor([[1]]), torch.tensor([2.5])
CSR = torch.sparse_csr
FORGED: dict[str, tuple[Forged, str]] = {
    "index too large": (sparse(torch.tensor([[4]]), TWO, torch.Size([4]), True), "out of range"),
    "index below zero": (sparse(torch.tensor([[-1]]), TWO, torch.Size([4]), True), "out of range"),
    "index of floats": (sparse(ONE.float(), TWO, torch.Size([4]), True), "out of range"),
    "values missing": (sparse(ONE, torch.empty(0), torch.Size([4]), True), "do not fit"),
    "values of another size": (sparse(ONE, torch.ones(1, 2), torch.Size([4]), True), "do not fit"),
    "more axes than sizes": (
        sparse(torch.zeros(9, 1, dtype=torch.long), TWO, torch.Size([4]), True),
        "do not fit",
    ),
    "bomb": (sparse(ONE, TWO, torch.Size([2**40]), True), "decompression bomb"),
    "bomb of many axes": (sparse(ONE, TWO, torch.Size([2**40] * 3), True), "decompression bomb"),
    "negative size": (sparse(ONE, TWO, (-4,), True), "no natural number"),
    "text for a size": (sparse(ONE, TWO, "4", True), "a part that is none"),
    "text for a part": (sparse("x", TWO, torch.Size([4]), True), "a part that is none"),
    "no parts": (sparse(), "damaged"),
    "unknown layout": (sparse(ONE, TWO, torch.Size([4]), layout="x"), "the layout 'x'"),
    "rows that do not add up": (
        sparse(torch.tensor([0, 2]), torch.tensor([0]), TWO, torch.Size([1, 3]), layout=CSR),
        "do not add up",
    ),
    "rows that go back": (
        sparse(torch.tensor([0, 3, 1]), torch.tensor([0]), TWO, torch.Size([2, 3]), layout=CSR),
        "do not add up",
    ),
    "rows too few": (
        sparse(torch.tensor([0, 1]), torch.tensor([0]), TWO, torch.Size([2, 3]), layout=CSR),
        "do not fit",
    ),
    "column out of range": (
        sparse(torch.tensor([0, 1]), torch.tensor([3]), TWO, torch.Size([1, 3]), layout=CSR),
        "out of range",
    ),
    "matrix of one axis": (
        sparse(torch.tensor([0, 1]), torch.tensor([0]), TWO, torch.Size([3]), layout=CSR),
        "do not fit",
    ),
    "blocks of nothing": (
        sparse(
            torch.tensor([0, 1]),
            torch.tensor([0]),
            torch.ones(1, 0, 2),
            torch.Size([1, 2]),
            layout=torch.sparse_bsr,
        ),
        "do not fit",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORGED)
def test_forged_sparse_tensors(tmp_path: Path, name: str) -> None:
    value, reason = FORGED[name]
    path = save({"good": BASE, "odd": value}, tmp_path / "a.pt")
    with pytest.raises(SourceError) as caught:
        open_checkpoint(path, unpack=["sparse"]).read("odd")
    message = str(caught.value)
    assert message.startswith(str(path))
    assert reason in message, message
    assert "\n" not in message


def tampered(parameters: tuple[Any, ...]) -> Any:
    tensor: Any = per_channel(0, torch.int8, torch.float64)
    function, args = tensor.__reduce_ex__(2)
    inner = args[2] if len(args) == 4 else args  # with a class around it, or not
    return Forged(function, *inner[:4], parameters, *inner[5:])


SCALES, ZEROS = torch.ones(5), torch.zeros(5, dtype=torch.long)
AFFINE = torch.per_channel_affine
PARAMETERS: dict[str, tuple[tuple[Any, ...], str]] = {
    "no scheme": ((), "not read"),
    "unknown scheme": ((torch.float32, 1.0, 0), "the scheme 'torch.float32'"),
    "text for a scale": ((torch.per_tensor_affine, "1", 0), "scale or zero point"),
    "zero point too large": ((torch.per_tensor_affine, 1.0, 2**40), "scale or zero point"),
    "too few parameters": ((torch.per_tensor_affine, 1.0), "damaged"),
    "axis too large": ((AFFINE, SCALES, ZEROS, 3), "axis that it lacks"),
    "axis below zero": ((AFFINE, SCALES, ZEROS, -1), "axis that it lacks"),
    "too few scales": ((AFFINE, SCALES[:4], ZEROS[:4], 0), "too many or too few"),
    "scales and zeros differ": ((AFFINE, SCALES, ZEROS[:4], 0), "too many or too few"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PARAMETERS)
def test_forged_quantized_tensors(tmp_path: Path, name: str) -> None:
    parameters, reason = PARAMETERS[name]
    path = save({"good": BASE, "odd": tampered(parameters)}, tmp_path / "a.pt")
    assert_refused(path, reason)


def test_without_being_asked_the_message_says_how(tmp_path: Path) -> None:
    path = save({"s": HOLES.to_sparse()}, tmp_path / "a.pt")
    assert_refused(path, "tensor 's' is a sparse tensor")
    assert_refused(path, "--unpack sparse makes it dense")
    small = save({"q": quantized(BASE, 0.1, 3, torch.qint8)}, tmp_path / "b.pt")
    assert_refused(small, "--unpack quantized makes it float32")


def test_asking_for_what_is_not_there_is_a_fault(tmp_path: Path) -> None:
    path = save({"w": BASE}, tmp_path / "a.pt")
    with pytest.raises(SourceError, match="has no sparse tensor for --unpack sparse"):
        open_checkpoint(path, unpack=["sparse"])


@pytest.mark.filterwarnings("ignore")
def test_four_bits_are_refused_all_the_same(tmp_path: Path) -> None:
    ones = torch.ones(6)
    tensor = torch.quantize_per_channel(BASE, ones, ones * 0.5, 0, torch.quint4x2)
    path = save({"q": tensor}, tmp_path / "a.pt")
    with pytest.raises(SourceError, match="of a kind that is not read"):
        open_checkpoint(path, unpack=["quantized"])
