"""TorchScript archives and exported programs: their weights, and never their code."""

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoint.archives import flip, pack, rewrite
from tests.checkpoint.reference import BASE, assert_equal, assert_refused, payload, plain_pickle
from torch import nn

from ascend_migrate.pipeline.checkpoint import open_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


# Untyped in torch's own stubs.
jit: Any = torch.jit
quantize_dynamic: Any = torch.ao.quantization.quantize_dynamic


class Net(nn.Module):
    """Everything that a module tree can hold: tied, shared, half, strange names, plain tensors."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Linear(4, 4)
        self.conv = nn.Conv2d(3, 4, 2)
        self.conv.weight.data = self.conv.weight.data.to(memory_format=torch.channels_last)
        self.layers = nn.ModuleList([first, nn.BatchNorm1d(4)])
        self.named = nn.ModuleDict({"a_b": nn.Linear(4, 4).half()})
        self.tied = nn.Linear(4, 4)
        self.tied.weight = first.weight
        self.norm = self.layers[1]
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("turned", BASE.T)
        self.scalar = nn.Buffer(torch.tensor(3, dtype=torch.int64))
        self.plain = torch.ones(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.plain.sum() + self.scalar


NET = Net().eval()
STATE = dict(NET.state_dict())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    with warnings.catch_warnings(action="ignore"):
        jit.script(NET).save(folder / "script.pt")
        jit.trace(NET, torch.ones(3)).save(folder / "trace.pt")
        jit.freeze(jit.script(NET)).save(folder / "frozen.pt")
        program = torch.export.export(NET, (torch.ones(3),))
        torch.export.save(program, folder / "program.pt2")
    return folder


def copy(folder: Path, name: str, into: Path) -> Path:
    (into / name).write_bytes((folder / name).read_bytes())
    return into / name


@pytest.mark.parametrize("name", ["script.pt", "trace.pt"])
def test_torchscript_has_the_names_of_its_state_dict(folder: Path, name: str) -> None:
    checkpoint = open_checkpoint(folder / name)
    assert checkpoint.format == "torchscript"
    reference = dict(jit.load(folder / name).state_dict())
    assert_equal(checkpoint, reference)
    assert any("program is not" in note for note in checkpoint.notes)
    assert {"layers.0.weight", "tied.weight"} <= set(checkpoint.shared[0])


def test_a_plain_tensor_of_a_module_is_said(folder: Path) -> None:
    checkpoint = open_checkpoint(folder / "script.pt")
    assert "'plain' is no parameter or buffer and is left out" in checkpoint.notes
    assert_equal(checkpoint, STATE)


def test_exported_program(folder: Path) -> None:
    checkpoint = open_checkpoint(folder / "program.pt2")
    assert checkpoint.format == "torch-export"
    assert_equal(checkpoint, STATE | {"plain": NET.plain})
    assert any({"layers.0.weight", "tied.weight"} <= set(group) for group in checkpoint.shared)


@pytest.mark.parametrize("name", ["script.pt", "program.pt2"])
def test_deflated(folder: Path, tmp_path: Path, name: str) -> None:
    path = rewrite(copy(folder, name, tmp_path), lambda r: None, deflated=True)
    assert set(open_checkpoint(path).tensors) >= set(STATE)
    assert open_checkpoint(path).read("turned").tobytes() == BASE.T.contiguous().numpy().tobytes()


def test_mobile_archives_are_read_alike(tmp_path: Path) -> None:
    module = jit.script(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
    module._save_for_lite_interpreter(str(tmp_path / "a.ptl"))
    assert_equal(open_checkpoint(tmp_path / "a.ptl"), dict(module.state_dict()))


def top(records: dict[str, bytes]) -> str:
    return next(iter(records)).partition("/")[0]


def table(change: Callable[[dict[str, Any]], Any], name: str = "weights/model_weights") -> Any:
    """Changes the table of weights of an exported program."""

    def apply(records: dict[str, bytes]) -> None:
        path = f"{top(records)}/data/{name}_config.json"
        config = json.loads(records[path])
        records[path] = json.dumps(change(config["config"]) or config).encode()

    return apply


def put(name: str, data: bytes) -> Any:
    return lambda r: r.update({f"{top(r)}/{name}": data})


def drop(name: str) -> Any:
    return lambda r: r.pop(f"{top(r)}/{name}")


W = "conv.weight"
HOSTILE: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "script payload": (
        "script.pt",
        lambda p: put("data.pkl", plain_pickle(payload(p))),
        "posix.system",
    ),
    "script payload in an attribute": (
        "script.pt",
        lambda p: put("data.pkl", b"c__torch__\nNet\n)\x81}U\x01xcos\nsystem\n(U\x01ytRsb."),
        "os.system",
    ),
    "script without code": (
        "script.pt",
        lambda p: lambda r: [r.pop(n) for n in list(r) if "/code/" in n],
        "lacks the declaration",
    ),
    "script without data": ("script.pt", lambda p: drop("data.pkl"), "of another layout"),
    "script without a storage": ("script.pt", lambda p: drop("data/0"), "lacks the storage"),
    "script is no module": ("script.pt", lambda p: put("data.pkl", b"}."), "holds no module"),
    "script of many paths": (
        "script.pt",
        lambda p: put(
            "data.pkl",
            b"".join(
                b"c__torch__\nN\n)\x81}("
                + (b"U\x01ah%cU\x01bh%c" % (i - 1, i - 1) if i else b"")
                + b"ubq%c0" % i
                for i in range(50)
            )
            + b"h\x31.",
        ),
        "without end",
    ),
    "script that holds itself": (
        "script.pt",
        lambda p: put("data.pkl", b"c__torch__\nN\n)\x81q\x00}U\x01ah\x00sb."),
        "without end",
    ),
    "frozen": ("frozen.pt", lambda p: lambda r: None, "became constants"),
    "program with pickled weights": (
        "program.pt2",
        lambda p: table(lambda c: c[W].update(use_pickle=True)),
        "kept as a pickle",
    ),
    "program climbing": (
        "program.pt2",
        lambda p: table(lambda c: c[W].update(path_name="../../../../etc/passwd")),
        "lacks the record",
    ),
    "program without a weight": (
        "program.pt2",
        lambda p: drop("data/weights/weight_0"),
        "lacks the record",
    ),
    "program with a short weight": (
        "program.pt2",
        lambda p: put("data/weights/weight_0", b"1234"),
        "reaches byte",
    ),
    "program with a negative size": (
        "program.pt2",
        lambda p: table(lambda c: c[W]["tensor_meta"].update(sizes=[{"as_int": -1}])),
        "no natural number",
    ),
    "program with a symbolic size": (
        "program.pt2",
        lambda p: table(lambda c: c[W]["tensor_meta"].update(sizes=[{"as_expr": "s0"}])),
        "no natural number",
    ),
    "program with a huge size": (
        "program.pt2",
        lambda p: table(lambda c: c[W]["tensor_meta"].update(sizes=[{"as_int": 2**62}] * 4)),
        "no computer",
    ),
    "program with a stride bomb": (
        "program.pt2",
        lambda p: table(
            lambda c: c[W]["tensor_meta"].update(
                sizes=[{"as_int": 2**20}] * 2, strides=[{"as_int": 0}] * 2
            )
        ),
        "decompression bomb",
    ),
    "program with an unknown type": (
        "program.pt2",
        lambda p: table(lambda c: c[W]["tensor_meta"].update(dtype=99)),
        "element type",
    ),
    "program with a sparse weight": (
        "program.pt2",
        lambda p: table(lambda c: c[W]["tensor_meta"].update(layout=1)),
        "layout",
    ),
    "program without meta": (
        "program.pt2",
        lambda p: table(lambda c: c[W].update(tensor_meta={})),
        "damaged",
    ),
    "program of one list": ("program.pt2", lambda p: table(lambda c: [1]), "is none; damaged"),
    "program with a name twice": (
        "program.pt2",
        lambda p: put("data/weights/model_weights_config.json", b'{"config":{"a":{},"a":{}}}'),
        "'a' occurs twice",
    ),
    "program with a constant of the same name": (
        "program.pt2",
        lambda p: table(
            lambda c: {"config": {W: next(iter(c.values()))}}, "constants/model_constants"
        ),
        "a weight and a constant",
    ),
    "program of a big-endian machine": (
        "program.pt2",
        lambda p: put("byteorder", b"big"),
        "endian",
    ),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_program(folder: Path, tmp_path: Path, name: str) -> None:
    source, change, reason = HOSTILE[name]
    assert_refused(rewrite(copy(folder, source, tmp_path), change(tmp_path)), reason)


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def old_program(folder: Path, **records: bytes) -> Path:
    """The layout of torch.export.save before torch 2.8, with canaries where it had pickles."""
    found = {
        "serialized_exported_program.json": b"{}",
        "serialized_state_dict.pt": saved(STATE),
        "serialized_constants.pt": saved({"plain": NET.plain}),
        "serialized_example_inputs.pt": plain_pickle(payload(folder)),
        "version": b"8.1",
    }
    path = folder / "old.pt2"
    path.write_bytes(
        pack(found | {f"serialized_{name}.pt": data for name, data in records.items()})
    )
    return path


def test_a_program_of_the_old_layout(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(old_program(tmp_path))
    assert checkpoint.format == "torch-export"
    assert_equal(checkpoint, STATE | {"plain": NET.plain})
    assert {"layers.0.weight", "tied.weight"} <= set(checkpoint.shared[0])
    assert not (tmp_path / "canary").exists()


OLD: dict[str, tuple[Callable[[Path], dict[str, bytes]], str]] = {
    "payload": (lambda p: {"state_dict": saved({"w": BASE, "x": payload(p)})}, "posix.system"),
    "payload as constant": (lambda p: {"constants": saved({"x": payload(p)})}, "posix.system"),
    "bare pickle": (lambda p: {"state_dict": plain_pickle(payload(p))}, "damaged"),
    "a name twice": (lambda p: {"constants": saved({W: BASE})}, "a name of another"),
    "a list": (lambda p: {"state_dict": saved([BASE])}, "holds no dict"),
}


@pytest.mark.parametrize("name", OLD)
def test_hostile_program_of_the_old_layout(tmp_path: Path, name: str) -> None:
    make, reason = OLD[name]
    assert_refused(old_program(tmp_path, **make(tmp_path)), reason)


CANARIES = {
    "sample inputs": "data/sample_inputs/model.pt",
    "opaque constant": "data/constants/opaque_obj_0",
    "extra": "extra/x.pkl",
}


@pytest.mark.parametrize("name", CANARIES)
def test_pickles_beside_the_weights_are_never_opened(
    folder: Path, tmp_path: Path, name: str
) -> None:
    change = put(CANARIES[name], plain_pickle(payload(tmp_path)))
    path = rewrite(copy(folder, "program.pt2", tmp_path), change)
    assert_equal(open_checkpoint(path), STATE | {"plain": NET.plain})
    assert not (tmp_path / "canary").exists()


def test_an_opaque_constant_is_left_out(folder: Path, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["thing"] = {
            "path_name": "custom_obj_0",
            "is_param": False,
            "use_pickle": False,
            "tensor_meta": None,
        }

    path = rewrite(
        copy(folder, "program.pt2", tmp_path), table(change, "constants/model_constants")
    )
    checkpoint = open_checkpoint(path)
    assert "thing" not in checkpoint.tensors
    assert any("'thing'" in note for note in checkpoint.notes)


@pytest.mark.parametrize("name", ["script.pt", "program.pt2"])
def test_a_flipped_bit_of_a_weight(folder: Path, tmp_path: Path, name: str) -> None:
    needle = STATE["conv.bias"].numpy().tobytes()
    assert_refused(flip(copy(folder, name, tmp_path), needle), "checksum")


def test_packed_weights_are_refused_by_name(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        module = quantize_dynamic(nn.Sequential(nn.Linear(3, 2)), {nn.Linear}, dtype=torch.qint8)
        jit.script(module).save(tmp_path / "a.pt")
    message = assert_refused(tmp_path / "a.pt", "packed into")
    assert "tensor '0._packed_params._packed_params'" in message
