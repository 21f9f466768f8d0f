"""The index of a MindIR model that is several graphs."""

import json
from pathlib import Path

import pytest

from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.pipeline.mindir_buckets import (
    INDEX,
    Bucket,
    graphs_of,
    is_index,
    read_index,
    write_index,
)

BUCKETS = (Bucket("a.mindir", {"h": 8, "w": 2}), Bucket("b.mindir", {"h": 16, "w": 2}))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    for bucket in BUCKETS:
        (tmp_path / bucket.file).write_bytes(b"")
    return tmp_path / write_index(tmp_path, BUCKETS)


def test_reads_back_what_it_writes(index: Path) -> None:
    assert index.name == INDEX
    assert read_index(index) == BUCKETS
    assert graphs_of(index) == [index.parent / "a.mindir", index.parent / "b.mindir"]
    assert str(BUCKETS[0]) == "h=8 w=2"


def test_a_graph_is_its_own_only_graph(tmp_path: Path) -> None:
    assert not is_index(tmp_path / "model.mindir")
    assert graphs_of(tmp_path / "model.mindir") == [tmp_path / "model.mindir"]


def _changed(**fields: object) -> str:
    document = {
        "schema": "ascend-migrate/buckets/1",
        "buckets": [{"file": "a.mindir", "sizes": {}}],
    }
    return json.dumps(document | fields)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not an index of MindIR graphs"),
        ("[" * 100_000, "not an index of MindIR graphs"),
        ("[]", "not an index of MindIR graphs"),
        (_changed(schema="ascend-migrate/buckets/2"), "its schema is not"),
        (_changed(buckets=[]), "names no graph"),
        (_changed(buckets=[{"file": "a.mindir", "sizes": {"h": "many"}}]), "invalid literal"),
        (_changed(buckets=[{"file": "../a.mindir", "sizes": {}}]), "something else"),
        (_changed(buckets=[{"file": "model.onnx", "sizes": {}}]), "something else"),
        (_changed(buckets=[{"file": "gone.mindir", "sizes": {}}]), "is missing"),
        (" " * (1 << 21), "too large"),
    ],
)
def test_a_damaged_index_is_one_error(text: str, said: str, index: Path) -> None:
    index.write_text(text)
    with pytest.raises(SourceError, match=said) as caught:
        read_index(index)
    assert str(index) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_index_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        read_index(tmp_path / INDEX)
