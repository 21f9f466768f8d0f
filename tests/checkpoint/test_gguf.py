"""GGUF files against scalar transcriptions of ggml's functions, and its package if installed."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tests.checkpoint.reference import assert_refused

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.checkpoint.gguf_blocks import BLOCK_TYPES

F = np.float32
RANDOM = np.random.default_rng(17)
Tensor = tuple[str, list[int], int, bytes]


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def gguf(
    tensors: list[Tensor], meta: dict[str, tuple[int, bytes]] | None = None, align: int = 32
) -> bytes:
    """Writes a file; sizes are given in ggml's order, fastest axis first."""
    meta = meta or {}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta))
    for key, (kind, value) in meta.items():
        head += text(key) + struct.pack("<I", kind) + value
    body = b""
    for name, sizes, kind, data in tensors:
        body += bytes(-len(body) % align)
        head += text(name) + struct.pack(f"<I{len(sizes)}QI", len(sizes), *sizes, kind)
        head += struct.pack("<Q", len(body))
        body += data
    return head + bytes(-len(head) % align) + body


def half(data: bytes, at: int) -> Any:
    return F(np.frombuffer(data[at : at + 2], np.float16)[0])


def q8_0(b: bytes) -> list[Any]:
    return [F(np.int8(np.uint8(q))) * half(b, 0) for q in b[2:]]


def q4_0(b: bytes) -> list[Any]:
    numbers = [q & 15 for q in b[2:]] + [q >> 4 for q in b[2:]]
    return [F(q - 8) * half(b, 0) for q in numbers]


def q4_k(b: bytes) -> list[Any]:
    s, out = b[4:16], []
    for j in range(8):
        if j < 4:
            scale, floor = s[j] & 63, s[j + 4] & 63
        else:
            scale = (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4)
            floor = (s[j + 4] >> 4) | ((s[j] >> 6) << 4)
        for q in b[16 + 32 * (j // 2) : 48 + 32 * (j // 2)]:
            number = q >> 4 if j % 2 else q & 15
            out.append(half(b, 0) * F(scale) * F(number) - half(b, 2) * F(floor))
    return out


def q6_k(b: bytes) -> list[Any]:
    out = []
    for n in (0, 1):
        low, high = b[64 * n :][:64], b[128 + 32 * n :][:32]
        scales = np.frombuffer(b[192 + 8 * n :][:8], np.int8)
        for g in range(4):
            for i in range(32):
                q = low[i + 32 * (g % 2)]
                number = (q >> 4 if g > 1 else q & 15) | (((high[i] >> (2 * g)) & 3) << 4)
                out.append(half(b, 208) * F(scales[i // 16 + 2 * g]) * F(number - 32))
    return out


SCALAR: dict[str, Callable[[bytes], list[Any]]] = {
    "Q8_0": q8_0,
    "Q4_0": q4_0,
    "Q4_K": q4_k,
    "Q6_K": q6_k,
}


def blocks(kind: int, count: int) -> bytes:
    """Random blocks; their scales are any float16 pattern, NaN and Inf included."""
    return RANDOM.integers(0, 256, count * BLOCK_TYPES[kind].nbytes, np.uint8).tobytes()


@pytest.mark.parametrize("kind", BLOCK_TYPES, ids=lambda k: BLOCK_TYPES[k].name)
def test_blocks(tmp_path: Path, kind: int) -> None:
    block = BLOCK_TYPES[kind]
    data = blocks(kind, 12)
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf([("w", [block.elements * 3, 4], kind, data)]))
    checkpoint = open_checkpoint(path)
    assert checkpoint.notes == (f"1 tensors were dequantised from {block.name} to float32",)
    array = checkpoint.read("w")
    assert array.shape == (4, block.elements * 3)
    with np.errstate(all="ignore"):
        wanted = [
            number
            for at in range(0, len(data), block.nbytes)
            for number in SCALAR[block.name](data[at : at + block.nbytes])
        ]
    expected = np.array(wanted, F).reshape(array.shape)
    known = ~np.isnan(expected)
    assert known.any()
    assert array.dtype == F
    assert array[known].tobytes() == expected[known].tobytes()
    assert np.isnan(array[~known]).all()


@pytest.mark.parametrize("kind", BLOCK_TYPES, ids=lambda k: BLOCK_TYPES[k].name)
def test_against_the_gguf_package(tmp_path: Path, kind: int) -> None:
    gguf_py: Any = pytest.importorskip("gguf")
    data = np.frombuffer(blocks(kind, 9000), np.uint8).reshape(9000, -1)
    path = tmp_path / "a.gguf"
    writer = gguf_py.GGUFWriter(path, "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "größe"])
    writer.add_array("scores", [0.5, 1.5])
    quantised = gguf_py.GGMLQuantizationType(kind)
    writer.add_tensor("w", data, raw_dtype=quantised)
    writer.add_tensor("plain", RANDOM.standard_normal((3, 5)).astype(F))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    checkpoint = open_checkpoint(path)
    with np.errstate(all="ignore"):
        expected = gguf_py.quants.dequantize(data, quantised)
    np.testing.assert_array_equal(checkpoint.read("w"), expected)
    assert checkpoint.read("plain").shape == (3, 5)


BASE = RANDOM.standard_normal((4, 6))
PLAIN: dict[str, tuple[int, Any]] = {
    "float32": (0, BASE.astype(F)),
    "float16": (1, BASE.astype(np.float16)),
    "bfloat16": (30, BASE.astype(ml_dtypes.bfloat16)),
    "float64": (28, BASE),
    "int8": (24, np.arange(-4, 8, dtype=np.int8)),
    "int16": (25, np.arange(-4, 8, dtype=np.int16)),
    "int32": (26, np.arange(-4, 8, dtype=np.int32)),
    "int64": (27, np.arange(-4, 8, dtype=np.int64)),
}


@pytest.mark.parametrize("align", [8, 32, 64, 4096])
def test_plain_tensors(tmp_path: Path, align: int) -> None:
    tensors = [(n, list(a.shape[::-1]), k, a.tobytes()) for n, (k, a) in PLAIN.items()]
    tensors += [("scalar", [], 0, F(3).tobytes()), ("four", [5, 1, 2, 1], 24, bytes(10))]
    meta = {
        "general.alignment": (4, struct.pack("<I", align)),
        "name": (8, text("größe")),
        "flag": (7, b"\1"),
        "tokens": (9, struct.pack("<IQ", 8, 2) + text("a") + text(b"b")),
        "scores": (9, struct.pack("<IQ2f", 6, 2, 0.5, 1.5)),
        "none": (9, struct.pack("<IQ", 4, 0)),
    }
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf(tensors, meta, align))
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.tensors) == [name for name, *_ in tensors]
    for name, (_, array) in PLAIN.items():
        read = checkpoint.read(name)
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        assert read.tobytes() == array.tobytes()
    assert checkpoint.read("scalar").tolist() == 3.0
    assert checkpoint.tensors["four"].shape == (1, 2, 1, 5)


GOOD: Tensor = ("w", [4], 0, bytes(16))


def patched(at: int, data: bytes) -> bytes:
    found = bytearray(gguf([GOOD]))
    found[at : at + len(data)] = data
    return bytes(found)


def one(name: str = "w", sizes: tuple[int, ...] = (4,), kind: int = 0, data: bytes = b"") -> bytes:
    return gguf([(name, list(sizes), kind, data)])


def meta(kind: int, value: bytes, key: str = "x") -> bytes:
    return gguf([GOOD], {key: (kind, value)})


HOSTILE: dict[str, tuple[bytes, str]] = {
    "version 1": (patched(4, struct.pack("<I", 1)), "version 1"),
    "big-endian": (patched(4, struct.pack(">I", 3)), "big-endian"),
    "many tensors": (patched(8, struct.pack("<Q", 2**60)), "entries; refused"),
    "some tensors": (patched(8, struct.pack("<Q", 2_000_000)), "damaged"),
    "many entries": (patched(16, struct.pack("<Q", 2**63)), "entries; refused"),
    "long name": (patched(24, struct.pack("<Q", 2**62)), "past its end"),
    "name of no text": (patched(32, b"\xff"), "damaged"),
    "header only": (gguf([GOOD])[:20], "damaged"),
    "no data": (gguf([GOOD])[:-16], "cut off"),
    "cut": (gguf([GOOD])[:-1], "cut off"),
    "unknown type": (one(kind=99), "quantised as 99"),
    "Q5_K": (one(sizes=(256,), kind=13, data=bytes(176)), "quantised as Q5_K"),
    "rank 5": (one(sizes=(1, 1, 1, 1, 1)), "5 axes"),
    "rank of millions": (patched(33, b"\xff\xff\xff\x7f"), "axes"),
    "huge": (one(sizes=(2**62, 2**62)), "cut off"),
    "part of a block": (one(sizes=(33,), kind=8, data=bytes(68)), "no whole number"),
    "scalar block": (one(sizes=(), kind=8, data=bytes(34)), "no whole number"),
    "twice": (gguf([GOOD, GOOD]), "'w' twice"),
    "metadata twice": (
        gguf([GOOD]).replace(struct.pack("<QQ", 1, 0), struct.pack("<QQ", 1, 2), 1)[:24]
        + 2 * (text("k") + struct.pack("<IB", 0, 1)),
        "'k' twice",
    ),
    "unknown metadata": (meta(13, b""), "unknown type 13"),
    "nested array": (meta(9, struct.pack("<IQ", 9, 1)), "nests arrays"),
    "long array": (meta(9, struct.pack("<IQ", 4, 2**40)), "past its end"),
    "many texts": (meta(9, struct.pack("<IQ", 8, 2**40)), "entries; refused"),
    "alignment 0": (meta(4, struct.pack("<I", 0), "general.alignment"), "alignment '0'"),
    "alignment text": (meta(8, text("x"), "general.alignment"), "alignment 'x'"),
    "misplaced": (patched(49, struct.pack("<Q", 4)), "cut off"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file(tmp_path: Path, name: str) -> None:
    data, reason = HOSTILE[name]
    (tmp_path / "a.gguf").write_bytes(data)
    assert_refused(tmp_path / "a.gguf", reason)


def test_overlapping_tensors(tmp_path: Path) -> None:
    data = bytearray(gguf([GOOD, ("v", [4], 0, bytes(16))]))
    at = data.index(struct.pack("<IQ", 0, 32))
    data[at : at + 12] = struct.pack("<IQ", 0, 0)
    (tmp_path / "a.gguf").write_bytes(data)
    assert_refused(tmp_path / "a.gguf", "overlaps")


def test_every_truncation(tmp_path: Path) -> None:
    data = gguf([GOOD], {"tokens": (9, struct.pack("<IQ", 8, 1) + text("abc"))})
    for size in range(4, len(data)):
        (tmp_path / "a.gguf").write_bytes(data[:size])
        assert_refused(tmp_path / "a.gguf", "")
