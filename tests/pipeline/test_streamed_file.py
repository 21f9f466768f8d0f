"""Files that are hashed while they are written."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.pipeline.limits import files_of_at_most

from ascend_migrate.pipeline.errors import StoreError
from ascend_migrate.pipeline.streamed_file import StreamedFile


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.binary(max_size=5000), max_size=20))
def test_bytes_and_digest(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("streamed") / "file"
    with StreamedFile(path) as file:
        for piece in pieces:
            file.write(memoryview(piece))
        digest = file.finish()
    data = b"".join(pieces)
    assert path.read_bytes() == data
    assert (digest, file.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


def test_without_a_digest(tmp_path: Path) -> None:
    with StreamedFile(tmp_path / "file", hashed=False) as file:
        file.write(memoryview(b"abc"))
        assert file.finish() == ""
    assert (tmp_path / "file").read_bytes() == b"abc"


def test_a_full_disk(tmp_path: Path) -> None:
    with files_of_at_most(10_000), StreamedFile(tmp_path / "file") as file:
        file.write(memoryview(bytes(9000)))
        with pytest.raises(StoreError, match="File too large; free space"):
            file.write(memoryview(bytes(2000)))


def test_a_file_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="File exists"), StreamedFile(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"
