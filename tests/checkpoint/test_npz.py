"""NumPy archives: every plain array kept to the bit, every other one refused by name."""

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tests.checkpoint.archives import flip, pack, rewrite
from tests.checkpoint.reference import assert_refused, payload

from ascend_migrate.pipeline.checkpoint import open_checkpoint

RANDOM = np.random.default_rng(3)
BASE = RANDOM.standard_normal((4, 6))
ARRAYS: dict[str, Any] = {
    **{kind: BASE.astype(kind) for kind in ("float64", "float32", "float16", "complex64")},
    **{
        f"{sign}int{bits}": np.arange(-3, 9).astype(f"{sign}int{bits}")
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
    "complex128": BASE + 1j,
    "bool": BASE > 0,
    "scalar": np.float32(2.5),
    "empty": np.empty((0, 3), np.float32),
    "fortran": np.asfortranarray(BASE),
    "fortran 3": np.asfortranarray(RANDOM.standard_normal((2, 3, 4))),
    "turned": BASE.T,
    "sliced": BASE[::2, 1:4],
    "big-endian": BASE.astype(">f4"),
    "big-endian fortran": np.asfortranarray(BASE.astype(">i2")),
    "nan payload": np.array([0x7FC00001, 0xFFFFFFFF], np.uint32).view(np.float32),
    "size 1": BASE[:1, :1],
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_kind_of_array(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "a.npz", **ARRAYS)
    checkpoint = open_checkpoint(tmp_path / "a.npz")
    assert checkpoint.format == "npz"
    assert list(checkpoint.tensors) == list(ARRAYS)
    with np.load(tmp_path / "a.npz") as reference:
        for name in ARRAYS:
            wanted = reference[name].astype(reference[name].dtype.newbyteorder("="))
            array = checkpoint.read(name)
            assert array.dtype == wanted.dtype
            assert array.shape == wanted.shape
            assert array.tobytes() == wanted.tobytes()
            assert not array.flags.writeable


@pytest.mark.parametrize("name", ["a/b", "a b", "größe", "a.npy", "..a", "arr_0"])
def test_names(tmp_path: Path, name: str) -> None:
    arrays: dict[str, Any] = {name: BASE}
    np.savez(tmp_path / "a.npz", **arrays)
    assert list(open_checkpoint(tmp_path / "a.npz").tensors) == [name]


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_header_versions(tmp_path: Path, version: tuple[int, int]) -> None:
    (tmp_path / "a.npz").write_bytes(pack({"w.npy": npy(BASE, version)}))
    assert open_checkpoint(tmp_path / "a.npz").read("w").tolist() == BASE.tolist()


def test_a_header_of_python_2(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    (tmp_path / "a.npz").write_bytes(pack({"w.npy": plain("(4L,)")}))
    assert open_checkpoint(tmp_path / "a.npz").read("w").tolist() == [0.0] * 4
    assert not recwarn.list


def npy(array: Any, version: tuple[int, int] = (1, 0)) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


def header(text: str, data: bytes = b"") -> bytes:
    body = text.encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body + data


def plain(shape: str, descr: str = "'<f4'", data: bytes = bytes(16)) -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n", data)


def objects(folder: Path) -> bytes:
    array = np.empty(1, object)
    array[0] = payload(folder)
    return npy(array)


HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "objects": (objects, "array of Python objects"),
    "objects in a field": (
        lambda p: plain("(1,)", "[('a', '|O')]", pickle.dumps(payload(p))),
        "array of Python objects",
    ),
    "fields": (lambda p: npy(np.zeros(2, [("a", "f4")])), "not supported"),
    "texts": (lambda p: npy(np.array(["a", "b"])), "not supported"),
    "dates": (lambda p: npy(np.array(["2024-01-01"], "datetime64[D]")), "not supported"),
    "long double": (lambda p: npy(np.zeros(2, np.longdouble)), "not supported"),
    "bfloat16 as void": (lambda p: npy(np.zeros(2, ml_dtypes.bfloat16)), "not supported"),
    "void": (lambda p: npy(np.zeros(2, "V4")), "not supported"),
    "too short": (lambda p: plain("(5,)"), "declares '20' bytes and has 16"),
    "too long": (lambda p: plain("(3,)"), "declares '12' bytes and has 16"),
    "huge": (lambda p: plain(f"({2**62}, {2**62})"), "declares"),
    "endless": (lambda p: plain(f"({'9' * 4000},)"), "declares"),
    "negative": (lambda p: plain("(-4,)"), "negative size"),
    "fraction": (lambda p: plain("(4.0,)"), "damaged"),
    "open bracket": (
        lambda p: header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4\n"),
        "damaged header",
    ),
    "no shape": (lambda p: header("{'descr': '<f4', 'fortran_order': False}\n"), "damaged"),
    "code": (
        lambda p: plain(f"(__import__('os').system('touch {p / 'canary'}'),)"),
        "damaged",
    ),
    "code as type": (lambda p: plain("(4,)", f"open({str(p / 'canary')!r}, 'w')"), "damaged"),
    "nested": (lambda p: plain("(" * 3000 + ")" * 3000), "damaged"),
    "long header": (lambda p: plain("(4,)" + " " * 20_000), "damaged"),
    "cut header": (lambda p: plain("(4,)")[:30], "damaged"),
    "version 9": (lambda p: b"\x93NUMPY\x09\x00" + bytes(100), "version"),
    "not numpy": (lambda p: b"hello", "damaged"),
    "bad bool": (lambda p: plain("(2,)", "'|b1'", b"\x01\x02"), "neither 0 nor 1"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_array(tmp_path: Path, name: str, deflated: bool) -> None:
    make, reason = HOSTILE[name]
    records = {"good.npy": npy(BASE), "odd.npy": make(tmp_path)}
    (tmp_path / "a.npz").write_bytes(pack(records, deflated=deflated))
    assert_refused(tmp_path / "a.npz", reason)


def test_an_array_of_objects_can_be_left_out(tmp_path: Path) -> None:
    records = {"good.npy": npy(BASE), "odd.npy": objects(tmp_path)}
    (tmp_path / "a.npz").write_bytes(pack(records))
    checkpoint = open_checkpoint(tmp_path / "a.npz", drop=["odd"])
    assert checkpoint.read("good").tolist() == BASE.tolist()
    assert not (tmp_path / "canary").exists()


def test_a_flipped_bit(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=BASE)
    assert_refused(flip(tmp_path / "a.npz", BASE.tobytes()[:16]), "checksum")


def test_climbing_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=BASE)
    rewrite(tmp_path / "a.npz", lambda r: r.update({f"..{os.sep}x.npy": npy(BASE)}))
    assert_refused(tmp_path / "a.npz", "leaves its folder")
