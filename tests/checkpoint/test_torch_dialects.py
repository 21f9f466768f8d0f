"""Every kind of tensor that torch writes: kept to the bit, or refused under its own name."""

import io
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.reference import BASE, assert_equal, assert_refused, bits
from torch import nn

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.checkpoint.views import View, check_view, materialise
from ascend_migrate.pipeline.dtypes import BY_NAME

both = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


def save(value: Any, path: Path, *, legacy: bool = False, protocol: int = 2) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return path


def tagged(tensor: torch.Tensor) -> torch.Tensor:
    tensor.note = {"a": [1, None]}  # type: ignore[attr-defined]
    return tensor


IMAGES = torch.randn(2, 3, 4, 5)
KEPT: dict[str, Callable[[], torch.Tensor]] = {
    "channels_last": lambda: IMAGES.to(memory_format=torch.channels_last),
    "channels_last_3d": lambda: IMAGES[None].to(memory_format=torch.channels_last_3d),
    "permuted": lambda: IMAGES.permute(3, 1, 0, 2),
    "one element of many": lambda: BASE[3, 4],
    "column": lambda: BASE[:, 2],
    "every third": lambda: BASE.reshape(-1)[1::3],
    "diagonal": BASE.diagonal,
    "windows": lambda: BASE.reshape(-1).unfold(0, 5, 2),
    "expanded rows": lambda: BASE[:1].expand(9, 8),
    "expanded scalar": lambda: torch.tensor(2.5).expand(3, 4),
    "size 1 with any stride": lambda: torch.as_strided(BASE, (1, 8), (1000, 1)),
    "empty middle": lambda: torch.empty(3, 0, 5),
    "empty with an offset": lambda: BASE.reshape(-1)[48:],
    "scalar bool": lambda: torch.tensor(True),
    "uint16": lambda: torch.tensor([0, 65535], dtype=torch.uint16),
    "uint32": lambda: torch.tensor([0, 2**32 - 1], dtype=torch.uint32),
    "uint64": lambda: torch.tensor([0, 2**63 - 1], dtype=torch.uint64),
    "int64 edges": lambda: torch.tensor([-(2**63), 2**63 - 1]),
    "fp8": lambda: torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn),
    "fp8 turned": lambda: BASE.to(torch.float8_e5m2).T,
    "bf16 patterns": lambda: torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16),
    "nan payloads": lambda: torch.tensor([0x7FC00001, -1, 0x7F800001]).int().view(torch.float32),
    "complex turned": lambda: torch.complex(BASE, -BASE).T,
    "complex128": lambda: torch.complex(BASE.double(), BASE.double()),
    "real part": lambda: torch.complex(BASE, -BASE).real,
    "imaginary part": lambda: torch.complex(BASE, -BASE).imag,
    "parameter": lambda: nn.Parameter(BASE.clone()),
    "parameter with attributes": lambda: tagged(nn.Parameter(BASE.clone())),
    "tensor with attributes": lambda: tagged(BASE.clone()),
    "buffer": lambda: nn.Buffer(BASE.clone()),
    "with a gradient": lambda: BASE.clone().requires_grad_(),
    "part of a large storage": lambda: torch.arange(100_000.0)[70_000:70_010],
    "rank 20": lambda: BASE[0].reshape([1] * 17 + [2, 2, 2]),
}


@both
@pytest.mark.parametrize("name", KEPT)
def test_kept_to_the_bit(tmp_path: Path, name: str, legacy: bool) -> None:
    tensor = KEPT[name]()
    if legacy and tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        tensor = tensor.clone()
    path = save({"w": tensor}, tmp_path / "a.pt", legacy=legacy)
    assert_equal(open_checkpoint(path), {"w": tensor})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_attributes_under_every_protocol(tmp_path: Path, protocol: int) -> None:
    state = {"w": tagged(nn.Parameter(BASE.clone())), "v": tagged(BASE.clone())}
    assert_equal(open_checkpoint(save(state, tmp_path / "a.pt", protocol=protocol)), state)


@both
def test_views_of_one_storage(tmp_path: Path, legacy: bool) -> None:
    state = {f"v{i}": BASE.reshape(-1)[i : i + 9] for i in range(20)}
    state |= {"all": BASE, "turned": BASE.T, "again": BASE}
    checkpoint = open_checkpoint(save(state, tmp_path / "a.pt", legacy=legacy))
    assert checkpoint.shared == (("all", "again"),)
    assert_equal(checkpoint, state)


@both
def test_odd_names(tmp_path: Path, legacy: bool) -> None:
    names = ["a b", "a/b", "größe", "名前", "'", '"', "\\", "a\nb", "..", "/etc", "x" * 5000, " "]
    state = {name: torch.tensor([float(i)]) for i, name in enumerate(names)}
    assert_equal(open_checkpoint(save(state, tmp_path / "a.pt", legacy=legacy)), state)


@both
def test_other_dicts(tmp_path: Path, legacy: bool) -> None:
    made: dict[str, torch.Tensor] = defaultdict(torch.Tensor)
    made["w"] = BASE
    for state in (OrderedDict(w=BASE), made, nn.ParameterDict({"w": BASE}).state_dict()):
        assert_equal(open_checkpoint(save(state, tmp_path / "a.pt", legacy=legacy)), {"w": BASE})


CONJ = torch.complex(BASE, BASE * 3).T.contiguous().conj()
NAN = torch.complex(BASE, torch.tensor(float("nan")).expand(6, 8)).conj()
MARKED: dict[str, torch.Tensor] = {
    "conj": CONJ,
    "conj of NaN": NAN,
    "conj turned": CONJ.T,
    "conj part": CONJ[1:3, ::2],
    "neg": NAN.imag,
    "neg float64": torch._neg_view(BASE.double()),
    "neg complex": torch._neg_view(CONJ.resolve_conj()),
    "neg and conj": torch._neg_view(CONJ),
    "neg int": torch._neg_view(torch.tensor([-(2**31), 5], dtype=torch.int32)),
    "neg bfloat16": torch._neg_view(BASE.bfloat16().T),
    "neg zero": torch._neg_view(torch.tensor([0.0, -0.0, float("inf"), float("nan")])),
}


@pytest.mark.parametrize("name", MARKED)
def test_lazy_marks(name: str) -> None:
    tensor = MARKED[name]
    plain = torch._neg_view(tensor) if tensor.is_neg() else tensor
    plain = plain.conj() if tensor.is_conj() else plain
    storage = memoryview(bytes(list(plain.untyped_storage())))
    view = View(
        "0",
        str(tensor.dtype).removeprefix("torch."),
        tuple(tensor.shape),
        tensor.stride(),
        int(tensor.storage_offset()),
        conj=tensor.is_conj(),
        neg=tensor.is_neg(),
    )
    check_view(view, len(storage))
    assert not view.as_stored
    array = materialise(view, storage)
    assert array.tobytes() == bits(tensor)
    assert array.flags.c_contiguous


@pytest.mark.parametrize("name", MARKED)
def test_lazy_marks_of_a_file(tmp_path: Path, name: str) -> None:
    tensor = MARKED[name]
    checkpoint = open_checkpoint(save({"w": tensor, "v": BASE}, tmp_path / "a.pt"))
    assert_equal(checkpoint, {"w": tensor, "v": BASE})


def quantized(dtype: torch.dtype) -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):
        return torch.quantize_per_tensor(BASE, 0.1, 0, dtype)


def per_channel() -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):
        return torch.quantize_per_channel(BASE, torch.ones(6), torch.zeros(6), 0, torch.qint8)


class Sub(torch.Tensor):
    pass


def nested(layout: torch.layout) -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):
        return torch.nested.nested_tensor([BASE, BASE[:2]], layout=layout)


REFUSED: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "coo": (BASE.to_sparse, "sparse tensor"),
    "csr": (BASE.to_sparse_csr, "sparse tensor"),
    "csc": (BASE.to_sparse_csc, "sparse tensor"),
    "bsr": (lambda: BASE.to_sparse_bsr((2, 2)), "sparse tensor"),
    "qint8": (lambda: quantized(torch.qint8), "torch-quantized"),
    "quint8": (lambda: quantized(torch.quint8), "torch-quantized"),
    "qint32": (lambda: quantized(torch.qint32), "torch-quantized"),
    "quint4x2": (lambda: quantized(torch.quint4x2), "torch-quantized"),
    "per channel": (per_channel, "torch-quantized"),
    "meta": (lambda: torch.empty(3, 4, device="meta"), "on the meta device"),
    "meta bfloat16": (lambda: torch.empty(3, device="meta").bfloat16(), "on the meta device"),
    "nested": (lambda: nested(torch.strided), "nested tensor"),
    "complex32": (lambda: BASE.to(torch.complex32), "'torch.complex32'"),
    "float4": (
        lambda: torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
        "'torch.float4_e2m1fn_x2'",
    ),
    "subclass": (lambda: BASE.as_subclass(Sub), "Sub'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(tmp_path: Path, name: str) -> None:
    make, reason = REFUSED[name]
    with warnings.catch_warnings(action="ignore"):
        path = save({"good": BASE, "odd.one": make()}, tmp_path / "a.pt")
    message = assert_refused(path, reason)
    assert "tensor 'odd.one'" in message
    # One tensor that cannot be kept does not stand in the way of the others.
    assert_equal(open_checkpoint(path, drop=["odd.*"]), {"good": BASE})


@pytest.mark.parametrize("name", REFUSED)
def test_beside_the_state_dict_they_do_no_harm(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        value = {"model": {"w": BASE}, "optimizer": {"odd": REFUSED[name][0]()}}
        path = save(value, tmp_path / "a.pt")
    assert_equal(open_checkpoint(path), {"w": BASE})


@pytest.mark.parametrize("name", ["float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"])
def test_rare_8_bit_types(tmp_path: Path, name: str) -> None:
    """Kept once the table of element types has them, refused by name until then."""
    tensor = torch.arange(256, dtype=torch.uint8).view(getattr(torch, name))
    path = save({"w": tensor}, tmp_path / "a.pt")
    if name in BY_NAME:
        assert_equal(open_checkpoint(path), {"w": tensor})
    else:
        assert_refused(path, f"'torch.{name}'")


def with_program(code: bytes) -> bytes:
    """A zip checkpoint of one storage of 16 floats and the given pickle."""
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(16.0)}, buffer)
    with zipfile.ZipFile(buffer) as old:
        found = {name: old.read(name) for name in old.namelist()}
    found["archive/data.pkl"] = code
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as new:
        for name, data in found.items():
            new.writestr(name, data)
    return out.getvalue()


def persistent(kind: bytes = b"torch\nFloatStorage", numel: int = 16) -> bytes:
    return b"(S'storage'\nc%s\nS'0'\nS'cpu'\nI%d\ntQ" % (kind, numel)


PLAIN = b"(%sI0\n(I16\nt(I1\ntI00\n}t" % persistent()
TWINS: dict[str, bytes] = {
    "tensor v1": b"}S'w'\nctorch._utils\n_rebuild_tensor\n(%sI0\n(I16\nt(I1\nttRs." % persistent(),
    "parameter": b"}S'w'\nctorch._utils\n_rebuild_parameter\n"
    b"(ctorch._utils\n_rebuild_tensor_v2\n%sRI00\n}tRs." % PLAIN,
    "device copy": b"}S'w'\nctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n"
    b"(ctorch._utils\n_rebuild_tensor_v2\n%sRctorch\nfloat32\nS'npu:0'\nI00\ntRs." % PLAIN,
    "cuda storage": b"}S'w'\nctorch._utils\n_rebuild_tensor\n(%sI0\n(I16\nt(I1\nttRs."
    % persistent(b"torch.cuda\nFloatStorage"),
    "text in bytes": b"}U\x01wctorch._utils\n_rebuild_tensor\n(%sI0\n(I16\nt(I1\nttRs."
    % persistent(),
    "dict by call": b"c__builtin__\ndict\n(((S'w'\nctorch._utils\n_rebuild_tensor_v2\n%sRtltR."
    % PLAIN,
}


@pytest.mark.parametrize("name", TWINS)
def test_odd_spellings(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.pt").write_bytes(with_program(TWINS[name]))
    assert_equal(open_checkpoint(tmp_path / "a.pt"), {"w": torch.arange(16.0)})


FORGED: dict[str, tuple[bytes, str]] = {
    "quantized storage as a plain tensor": (
        b"}S'w'\nctorch._utils\n_rebuild_tensor\n(%sI0\n(I4\nt(I1\nttRs."
        % persistent(b"torch\nQInt8Storage", 64),
        "torch-quantized",
    ),
    "unknown storage": (
        b"}S'w'\nctorch._utils\n_rebuild_tensor\n(%sI0\n(I4\nt(I1\nttRs."
        % persistent(b"torch\nWeirdStorage"),
        "WeirdStorage",
    ),
    "no storage": (b"}S'w'\nctorch._utils\n_rebuild_tensor\n(NI0\n(I4\nt(I1\nttRs.", "without a"),
    "no arguments": (b"}S'w'\nctorch._utils\n_rebuild_tensor_v2\n(tRs.", "damaged"),
    "type from nothing": (b"}S'w'\nctorch._tensor\n_rebuild_from_type_v2\n(NNNNtRs.", "no class"),
    "type from a call": (
        b"}S'w'\nctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\n(S'x'\nt}tRs.",
        "os.system",
    ),
    "type within type": (
        b"}S'w'\nctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\n"
        b"ctorch\nTensor\n(ctorch._tensor\n_rebuild_from_type_v2\nctorch\nTensor\nNNt}tRs.",
        "damaged",
    ),
    "element type by number": (
        b"}S'w'\nctorch._utils\n_rebuild_tensor_v3\n(%sI0\n(I4\nt(I1\ntI00\n}I7\ntRs."
        % persistent(b"torch.storage\nUntypedStorage", 64),
        "element type is none",
    ),
    "parameter of a text": (
        b"}S'w'\nctorch._utils\n_rebuild_parameter\n(S'x'\nI0\n}tRs.",
        "no dict",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tensors(tmp_path: Path, name: str) -> None:
    code, reason = FORGED[name]
    (tmp_path / "a.pt").write_bytes(with_program(code))
    assert_refused(tmp_path / "a.pt", reason)
