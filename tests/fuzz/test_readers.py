"""The fuzzed readers in the test suite: seeds, former findings, and what hypothesis thinks of."""

import json
import os
import pickletools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz import seeds
from tests.fuzz.run import FINDINGS
from tests.fuzz.targets import SHARD_TENSORS, SHARDS, TARGETS, archive, header, index, unpickler

from ascend_migrate.pipeline.checkpoint.torch_names import INERT

# One folder serves all examples: each of them overwrites its file.
ONE_FOLDER = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=5000,
)


def _corpus() -> Iterator[tuple[str, str, bytes]]:
    for target in TARGETS:
        for number, data in enumerate(getattr(seeds, target)()):
            yield target, str(number), data
    for path in sorted(FINDINGS.rglob("*.*")):
        yield path.parent.name, path.name, path.read_bytes()


CORPUS = list(_corpus())


@pytest.mark.parametrize(
    ("target", "data"),
    [(target, data) for target, _, data in CORPUS],
    ids=[f"{target}-{name}" for target, name, _ in CORPUS],
)
def test_seeds_and_findings(tmp_path: Path, target: str, data: bytes) -> None:
    TARGETS[target](data, tmp_path)


@pytest.mark.parametrize("target", TARGETS)
@settings(parent=ONE_FOLDER)
@given(data=st.data())
def test_mutated_seeds(tmp_path: Path, target: str, data: st.DataObject) -> None:
    known = [seed for name, _, seed in CORPUS if name == target]
    text = bytearray(data.draw(st.sampled_from(known)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.sampled_from((0, 1, 1, 1, 8, len(text))))
        text[at : at + cut] = data.draw(st.binary(max_size=8))
    TARGETS[target](bytes(text), tmp_path)


NAMES = [*INERT, "torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "torch.Size"]
NAMES += ["collections.OrderedDict", "torch.float32", "os.system", "evil.f"]
PLAIN = [op.code.encode("latin1") for op in pickletools.opcodes if op.arg is None]
PIECES = st.one_of(
    st.sampled_from(PLAIN),
    st.integers(-3, 80).map(lambda n: b"J" + struct.pack("<i", n)),
    st.sampled_from(("storage", "0", "1", "cpu", "w", "a.b")).map(
        lambda s: b"X" + struct.pack("<I", len(s)) + s.encode()
    ),
    st.sampled_from(NAMES).map(lambda name: "c{}\n{}\n".format(*_split(name)).encode()),
    st.tuples(st.sampled_from((b"q", b"h")), st.integers(0, 3)).map(
        lambda pair: pair[0] + bytes([pair[1]])
    ),
    st.just(b"}("),
    st.just(b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\x40tQ"),
    st.just(b"K\0(K\x40t(K\1t\x89}tR"),
)


def _split(name: str) -> tuple[str, str]:
    module, _, attribute = name.rpartition(".")
    return module, attribute


@ONE_FOLDER
@given(pieces=st.lists(PIECES, max_size=40))
def test_random_programs(tmp_path: Path, pieces: list[bytes]) -> None:
    unpickler(b"\x80\x02" + b"".join(pieces) + b".", tmp_path)


NUMBERS = st.integers(-2, 20) | st.sampled_from((2**31, 2**32 - 1, 2**63, 2**64)) | st.booleans()
JSON = st.recursive(
    st.none() | NUMBERS | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
TENSORS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(("F32", "BF16", "U8", "BOOL", "F8_E4M3", "F4")) | JSON,
        "shape": st.lists(NUMBERS, max_size=4) | JSON,
        "data_offsets": st.lists(NUMBERS, min_size=2, max_size=2) | JSON,
    },
    optional={"more": JSON},
)


@ONE_FOLDER
@given(
    table=st.dictionaries(st.sampled_from(("w", "x", "__metadata__")), TENSORS | JSON, max_size=3)
    | JSON,
    data=st.binary(max_size=40),
    wrong=st.sampled_from((0, 0, 0, 1, -1, 2**40)),
)
def test_random_headers(tmp_path: Path, table: object, data: bytes, wrong: int) -> None:
    text = json.dumps(table).encode()
    header(struct.pack("<Q", max(len(text) + wrong, 0)) + text + data, tmp_path)


PLACES = st.sampled_from((*SHARDS, "c", "../a.safetensors", "/etc/hostname", ".", "", "a\0")) | JSON


@ONE_FOLDER
@given(table=st.dictionaries(st.sampled_from((*SHARD_TENSORS, "y")), PLACES) | JSON, more=JSON)
def test_random_indexes(tmp_path: Path, table: object, more: object) -> None:
    index(json.dumps({"weight_map": table, "metadata": more}).encode(), tmp_path)


@ONE_FOLDER
@given(
    names=st.lists(
        st.sampled_from(("a/data.pkl", "a/data/0", "a/data/1", "b", "../c", "w.npy", "a/")),
        min_size=1,
        max_size=4,
    ),
    lies=st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=4)), max_size=3),
    method=st.sampled_from((0, 8, 99)),
)
def test_random_archives(
    tmp_path: Path, names: list[str], lies: list[tuple[int, bytes]], method: int
) -> None:
    body, directory = b"", b""
    for name in names:
        data = b"\x80\x02}." if name.endswith("pkl") else bytes(16)
        facts = struct.pack(
            "<5H3I2H", 20, 0, method, 0, 33, zlib.crc32(data), len(data), len(data), len(name), 0
        )
        directory += b"PK\1\2\x14\0" + facts + struct.pack("<3H2I", 0, 0, 0, 0, len(body))
        directory += name.encode()
        body += b"PK\3\4" + facts + name.encode() + data
    end = struct.pack("<4H2IH", 0, 0, len(names), len(names), len(directory), len(body), 0)
    made = bytearray(body + directory + b"PK\5\6" + end)
    for at, lie in lies:
        made[at : at + len(lie)] = lie
    archive(bytes(made), tmp_path)
