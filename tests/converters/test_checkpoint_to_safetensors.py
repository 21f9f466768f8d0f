"""model.safetensors, read by the reference reader and compared bit for bit."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from tests.pipeline.limits import files_of_at_most

from ascend_migrate.converters.checkpoint_to_safetensors import convert, read_tied
from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import ConversionError, MigrationError, SourceError, StoreError
from ascend_migrate.pipeline.records import Artifact, Form

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
]
BASE = torch.arange(48.0).reshape(6, 8)


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist())


def noise(dtype: torch.dtype, shape: tuple[int, ...] = (3, 5)) -> torch.Tensor:
    """Every bit at random: signs, subnormals, infinities and NaNs with all their payloads."""
    size = dtype.itemsize * int(torch.tensor(shape).prod())
    values = torch.randint(0, 256, (size,), generator=torch.Generator().manual_seed(size))
    if dtype == torch.bool:
        return (values > 127).reshape(shape)
    return values.to(torch.uint8).view(dtype).reshape(shape)


def run(folder: Path, state: Mapping[str, torch.Tensor], *, legacy: bool = False) -> Artifact:
    source = folder / "source.pt"
    torch.save(dict(state), source, _use_new_zipfile_serialization=not legacy)
    (folder / "out").mkdir(exist_ok=True)
    return convert(open_checkpoint(source), folder / "out")


def header_of(path: Path) -> tuple[dict[str, Any], int]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), 8 + length


def assert_equal(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    found = load_file(path)
    assert set(found) == set(state)
    for name, value in state.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert bits(found[name]) == bits(value)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_element_type(tmp_path: Path, dtype: torch.dtype, legacy: bool) -> None:
    state = {"x": noise(dtype), "scalar": noise(dtype, (1,)).reshape(())}
    state["empty"] = torch.empty(0, 4, dtype=dtype)
    assert_equal(run(tmp_path, state, legacy=legacy).path, state)


VIEWS = {
    "turned": BASE.T,
    "sliced": BASE[1:5:2, 2:7],
    "repeated": BASE[0, :1].expand(4, 3),
    "offset": BASE[3:],
    "parameter": torch.nn.Parameter(BASE.clone()),
    'names with é, " and \\': BASE,
    "a/../b": BASE,
}


@pytest.mark.parametrize("name", VIEWS)
def test_every_kind_of_view(tmp_path: Path, name: str) -> None:
    assert_equal(run(tmp_path, {name: VIEWS[name]}).path, {name: VIEWS[name].detach()})


def test_a_mixed_file_is_aligned_for_readers_that_map_it(tmp_path: Path) -> None:
    state = {str(dtype): noise(dtype) for dtype in DTYPES}
    path = run(tmp_path, state).path
    header, start = header_of(path)
    assert start % 64 == 0
    assert header.pop("__metadata__") == {"format": "pt"}
    for name, entry in header.items():
        assert (start + entry["data_offsets"][0]) % state[name].dtype.itemsize == 0
    assert_equal(path, state)


def test_the_artifact_says_what_it_is(tmp_path: Path) -> None:
    made = run(tmp_path, {"x": BASE})
    assert (made.form, made.entry, made.root) == (
        Form.SAFETENSORS,
        "model.safetensors",
        tmp_path / "out",
    )
    assert made.files[0].size == made.path.stat().st_size
    assert made.parent == open_checkpoint(tmp_path / "source.pt").digest
    assert made.notes == ()


def test_tied_tensors_are_stored_once(tmp_path: Path) -> None:
    state = {"a": BASE, "b": BASE, "c": BASE.clone(), "d": BASE}
    made = run(tmp_path, state)
    assert_equal(made.path, {"a": BASE, "c": BASE})
    assert read_tied(made.path) == {"b": "a", "d": "a"}
    with safe_open(made.path, framework="pt") as file:
        assert json.loads(file.metadata()["ascend_migrate.tied"]) == {"b": "a", "d": "a"}
    assert made.notes == (
        "'b' is tied to 'a' and stored once",
        "'d' is tied to 'a' and stored once",
    )
    again = open_checkpoint(made.path)
    assert {name: again.read(name).tolist() for name in again.tensors} == dict.fromkeys(
        ("a", "b", "c", "d"), BASE.tolist()
    )


def test_a_file_without_ties(tmp_path: Path) -> None:
    assert read_tied(run(tmp_path, {"x": BASE}).path) == {}
    (tmp_path / "broken").write_bytes(b"x")
    with pytest.raises(SourceError, match="broken: is too short"):
        read_tied(tmp_path / "broken")


def test_the_same_state_is_the_same_file(tmp_path: Path) -> None:
    state = {"b": BASE, "a": BASE.half(), "c": BASE.clone()}
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = run(tmp_path / "one", state)
    two = run(tmp_path / "two", dict(reversed(state.items())), legacy=True)
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.digest == two.digest


def test_a_converted_file_converts_to_itself(tmp_path: Path) -> None:
    first = run(tmp_path, {"a": BASE, "b": BASE, "c": BASE.half()})
    (tmp_path / "again").mkdir()
    second = convert(open_checkpoint(first.path), tmp_path / "again")
    assert second.path.read_bytes() == first.path.read_bytes()


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(
    table=st.dictionaries(
        names.filter(lambda n: n != "__metadata__" and not n.startswith(("module.", "_orig_mod."))),
        st.tuples(st.sampled_from(DTYPES), shapes),
        min_size=1,
        max_size=6,
    )
)
def test_any_state(tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]) -> None:
    state = {
        name: noise(dtype, shape) if 0 not in shape else torch.empty(shape, dtype=dtype)
        for name, (dtype, shape) in table.items()
    }
    assert_equal(run(tmp_path_factory.mktemp("any"), state).path, state)


def test_a_full_disk_keeps_the_former_file(tmp_path: Path) -> None:
    before = run(tmp_path, {"x": torch.ones(2)}).path.read_bytes()
    torch.save({"x": torch.ones(10_000)}, tmp_path / "large.pt")
    checkpoint = open_checkpoint(tmp_path / "large.pt")
    with files_of_at_most(20_000), pytest.raises(StoreError, match="File too large; free space"):
        convert(checkpoint, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.safetensors"]
    assert (tmp_path / "out/model.safetensors").read_bytes() == before


def damaged(path: Path) -> None:
    data = path.read_bytes()
    at = data.index(BASE.numpy().tobytes())
    path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])


FAILING: dict[str, tuple[Mapping[str, torch.Tensor], type[MigrationError], str]] = {
    "reserved name": (
        {"__metadata__": torch.ones(1)},
        ConversionError,
        "safetensors reserves the name '__metadata__'",
    ),
    "type that the format lacks": (
        {"w": torch.zeros(2), "z": torch.zeros(2, dtype=torch.complex128)},
        ConversionError,
        "tensor 'z' is complex128, which the format does not have",
    ),
    "damaged tensor": ({"x": BASE}, SourceError, "fails its checksum"),
}


@pytest.mark.parametrize("what", FAILING)
def test_what_fails_leaves_nothing_behind(tmp_path: Path, what: str) -> None:
    state, kind, reason = FAILING[what]
    source = tmp_path / "source.pt"
    torch.save(dict(state), source)
    if kind is SourceError:
        damaged(source)
    (tmp_path / "out").mkdir()
    with pytest.raises(kind) as caught:
        convert(open_checkpoint(source), tmp_path / "out")
    assert str(caught.value).startswith(f"{source}: ")
    assert reason in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    torch.save({"x": BASE}, tmp_path / "a.pt")
    with pytest.raises(StoreError, match="No such file or directory"):
        convert(open_checkpoint(tmp_path / "a.pt"), tmp_path / "none")
