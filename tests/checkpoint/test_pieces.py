"""Tensors piece by piece are the same as tensors at once, whatever their layout and file."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ascend_migrate.pipeline.checkpoint import mapped, open_checkpoint, streams, views
from ascend_migrate.pipeline.errors import SourceError

BASE = torch.arange(60.0).reshape(3, 4, 5)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that every tensor is cut, and rows as well."""
    monkeypatch.setattr(mapped, "PIECE", 16)
    monkeypatch.setattr(views, "_GATHERED", 24)
    monkeypatch.setattr(streams, "_HELD", 64)


STATE = {
    "whole": BASE,
    "turned": BASE.permute(2, 0, 1),
    "steps": BASE[:, ::2, 1:],
    "part": BASE.reshape(-1)[7:23],
    "repeated": BASE[0, :1].expand(4, 5),
    "conj": torch.randn(3, 4, dtype=torch.complex64).T.conj(),
    "neg": torch.randn(3, 4, dtype=torch.complex64).T.conj().imag,
    "bools": BASE.permute(2, 1, 0) > 30,
    "scalar": torch.tensor(3, dtype=torch.int16),
    "empty": torch.empty(0, 3),
    "bytes": torch.arange(50, dtype=torch.uint8),
}


def deflate(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        records = [(name, file.read(name)) for name in file.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in records:
            file.writestr(name, data)


@pytest.mark.parametrize("kind", ["stored", "deflated", "legacy"])
def test_every_layout(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source.pt"
    torch.save(STATE, path, _use_new_zipfile_serialization=kind != "legacy")
    if kind == "deflated":
        deflate(path)
    checkpoint = open_checkpoint(path)
    for name, tensor in STATE.items():
        found = b"".join(checkpoint.pieces(name))
        assert found == checkpoint.read(name).tobytes()
        plain = tensor.resolve_conj().resolve_neg().contiguous()
        assert found == plain.reshape(-1).view(torch.uint8).numpy().tobytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_strides(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    order = data.draw(st.permutations(range(len(shape))))
    steps = [data.draw(st.integers(1, 2)) for _ in shape]
    full = torch.arange(
        float(torch.tensor([n * s for n, s in zip(shape, steps, strict=True)]).prod())
    )
    view = full.reshape([n * s for n, s in zip(shape, steps, strict=True)])
    view = view[tuple(slice(None, None, step) for step in steps)].permute(*order)
    path = tmp_path_factory.mktemp("any") / "source.pt"
    torch.save({"x": view}, path)
    assert b"".join(open_checkpoint(path).pieces("x")) == view.contiguous().numpy().tobytes()


def first_of(pieces: Iterator[memoryview]) -> bytes:
    return bytes(next(pieces))


def test_a_wrong_checksum_is_known_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "source.pt"
    torch.save({"x": BASE}, path)
    data = path.read_bytes()
    at = data.index(BASE.numpy().tobytes()) + BASE.nbytes - 1
    path.write_bytes(data[:at] + b"\x99" + data[at + 1 :])
    pieces = open_checkpoint(path).pieces("x")
    assert first_of(pieces) == BASE.numpy().tobytes()[:16]
    with pytest.raises(SourceError, match="fails its checksum"):
        list(pieces)


def test_a_bool_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "source.pt"
    torch.save({"x": torch.tensor([7] * 40, dtype=torch.uint8).view(torch.bool)}, path)
    with pytest.raises(SourceError, match="neither 0 nor 1"):
        list(open_checkpoint(path).pieces("x"))


@pytest.mark.parametrize("how", ["replaced", "written to", "cut off"])
def test_a_file_that_changes_meanwhile(tmp_path: Path, how: str) -> None:
    path = tmp_path / "source.pt"
    torch.save({"x": BASE}, path)
    checkpoint = open_checkpoint(path)
    if how == "replaced":
        torch.save({"x": BASE + 1}, tmp_path / "new.pt")
        (tmp_path / "new.pt").replace(path)
    elif how == "written to":
        os.utime(path, (1, 1))
    else:
        os.truncate(path, 100)
    if how != "cut off":
        open_checkpoint(path)  # so that the former file is not still open
    with pytest.raises(SourceError, match="was changed while it was read; start again"):
        list(checkpoint.pieces("x"))


def test_a_new_file_under_an_old_name(tmp_path: Path) -> None:
    path = tmp_path / "source.pt"
    for number in range(3):
        torch.save({"x": BASE + number}, tmp_path / "new.pt")
        (tmp_path / "new.pt").replace(path)
        found = b"".join(open_checkpoint(path).pieces("x"))
        assert found == (BASE + number).numpy().tobytes()
