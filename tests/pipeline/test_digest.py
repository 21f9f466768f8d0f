"""Digests against published test vectors, and the one spelling of JSON."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ascend_migrate.pipeline.digest import bytes_digest, canonical_json, file_digest, json_digest

# FIPS 180-2, appendix B.
VECTORS = [
    (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
]


@pytest.mark.parametrize(("data", "wanted"), VECTORS)
def test_published_vectors(tmp_path: Path, data: bytes, wanted: str) -> None:
    (tmp_path / "file").write_bytes(data)
    assert bytes_digest(data) == f"sha256:{wanted}"
    assert file_digest(tmp_path / "file") == f"sha256:{wanted}"


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_a_file_of_several_blocks(tmp_path: Path, size: int) -> None:
    data = bytes(i * i % 251 for i in range(1 << 10)) * (size // 1024 + 1)
    (tmp_path / "file").write_bytes(data[:size])
    assert file_digest(tmp_path / "file") == f"sha256:{hashlib.sha256(data[:size]).hexdigest()}"


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ({"Z": {}, "a": [], "é": "日本"}, '{"Z":{},"a":[],"é":"日本"}'),
        ([1.5, -0.0, 1e300], "[1.5,-0.0,1e+300]"),
        ("\n\x00\u2028", '"\\n\\u0000\u2028"'),
    ],
)
def test_the_one_spelling(document: Any, text: str) -> None:
    assert canonical_json(document) == text.encode("utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {"a": [math.nan]}])
def test_numbers_that_json_does_not_have(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
documents = st.recursive(
    scalars.filter(lambda v: v not in (math.inf, -math.inf)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(document=documents)
def test_nothing_is_lost(document: Any) -> None:
    try:
        data = canonical_json(document)
    except UnicodeEncodeError:  # half a surrogate pair is no text
        return
    assert json.loads(data) == document


@given(pairs=st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers()))
def test_the_order_of_keys_does_not_count(pairs: dict[str, int]) -> None:
    assert json_digest(pairs) == json_digest(dict(reversed(pairs.items())))
