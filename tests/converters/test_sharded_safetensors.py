"""Several safetensors files with an index: layout, readers, and conversions that are stopped."""

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.pipeline.limits import files_of_at_most

from ascend_migrate.converters.checkpoint_to_safetensors import convert
from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import SourceError, StoreError
from ascend_migrate.pipeline.records import Artifact

INDEX = "model.safetensors.index.json"
LIMIT = 2048
ROWS = torch.arange(256.0)
STATE = {
    "a": ROWS,
    "b": ROWS + 1,
    "a again": ROWS,
    "c": (ROWS + 2).half(),
    "large": torch.cat([ROWS, ROWS]) - 1,
    "d": torch.tensor(3),
    "empty": torch.empty(0, 2),
}
# In the source's order, each file as full as the limit allows.
FILES = [["a", "b"], ["c"], ["large"], ["d", "empty"]]

_KILLED = """
import os, signal, sys
from pathlib import Path
from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.converters.checkpoint_to_safetensors import convert

def told(done, total):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

convert(open_checkpoint(Path(sys.argv[1])), Path(sys.argv[2]), limit=2048, parent="", told=told)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.save(STATE, tmp_path / "source.pt")
    return tmp_path / "source.pt"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def run(source: Path, out: Path, limit: int = LIMIT) -> Artifact:
    return convert(open_checkpoint(source), out, limit=limit)


def index_of(folder: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((folder / INDEX).read_bytes())
    return found


def test_the_files_are_as_transformers_writes_them(source: Path, out: Path) -> None:
    made = run(source, out)
    places = {
        name: f"model-{number:05}-of-{len(FILES):05}.safetensors"
        for number, names in enumerate(FILES, 1)
        for name in names
    }
    size = sum(STATE[name].nbytes for name in places)
    assert index_of(out) == {"metadata": {"total_size": size}, "weight_map": places}
    assert made.entry == INDEX
    assert {path.name for path in out.iterdir()} == {INDEX, *places.values()}
    assert {file.path for file in made.files} == {INDEX, *places.values()}
    for file in made.files:
        data = (out / file.path).read_bytes()
        assert file.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert file.size == len(data)
    for name, shard in places.items():
        assert torch.equal(load_file(out / shard)[name], STATE[name])


def test_what_fits_into_one_file_is_one(source: Path, out: Path) -> None:
    made = run(source, out, 1 << 20)
    assert [file.path for file in made.files] == ["model.safetensors"]
    assert [path.name for path in out.iterdir()] == ["model.safetensors"]


def test_a_tensor_above_the_limit_has_a_file_to_itself(source: Path, out: Path) -> None:
    run(source, out, 1024)
    places = index_of(out)["weight_map"]
    assert [name for name in places if places[name] == places["large"]] == ["large"]


@pytest.mark.parametrize("place", [".", INDEX])
def test_it_is_read_back_with_its_ties(source: Path, out: Path, place: str) -> None:
    run(source, out)
    again = open_checkpoint(out / place)
    assert set(again.tensors) == set(STATE)
    assert again.shared == (("a", "a again"),)
    for name, tensor in STATE.items():
        assert again.read(name).tobytes() == tensor.numpy().tobytes()


def test_a_tie_that_the_index_contradicts_is_refused(source: Path, out: Path) -> None:
    run(source, out)
    index = index_of(out)
    index["weight_map"]["a again"] = index["weight_map"]["large"]
    (out / INDEX).write_text(json.dumps(index))
    with pytest.raises(SourceError, match="'a again'"):
        open_checkpoint(out / INDEX)


@pytest.mark.zoo
def test_transformers_loads_it(tmp_path: Path, out: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    state = transformers.BertModel(config).state_dict()
    torch.save(state, tmp_path / "bert.pt")
    run(tmp_path / "bert.pt", out, 100_000)
    config.save_pretrained(out)
    again = transformers.BertModel.from_pretrained(out).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())


def test_a_full_disk_leaves_nothing(source: Path, out: Path) -> None:
    checkpoint = open_checkpoint(source)
    with files_of_at_most(1800), pytest.raises(StoreError, match="File too large; free space"):
        convert(checkpoint, out, limit=LIMIT)
    assert list(out.iterdir()) == []


def test_a_damaged_tensor_leaves_nothing(source: Path, out: Path) -> None:
    data = source.read_bytes()
    at = data.index(STATE["large"].numpy().tobytes())
    source.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    with pytest.raises(SourceError, match=r"'large': record .* fails its checksum"):
        run(source, out)
    assert list(out.iterdir()) == []


def killed(source: Path, out: Path, after: int) -> Path:
    """Converts, and is killed once so many bytes are written; returns what it left."""
    command = [sys.executable, "-P", "-c", _KILLED, str(source), str(out), str(after)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (left,) = out.iterdir()
    return left


def finished(left: Path) -> dict[str, int]:
    """Files that are complete, by the records beside them, with their i-nodes."""
    return {path.stem: (left / path.stem).stat().st_ino for path in left.glob("*.json")}


def test_a_killed_conversion_goes_on(source: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    wanted = run(source, tmp_path / "other")
    total = sum(file.size for file in wanted.files if file.path != INDEX)
    kept = 0
    for after in (1, total // 2, total):
        left = killed(source, out, after)
        before = finished(left)
        kept += len(before)
        made = run(source, out)
        assert made.files == wanted.files
        assert {path.name for path in out.iterdir()} == {file.path for file in wanted.files}
        assert {name: (out / name).stat().st_ino for name in before} == before
        for path in out.iterdir():
            path.unlink()
    assert kept > 0


def test_what_was_finished_is_proved_before_it_is_taken(
    source: Path, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    wanted = run(source, tmp_path / "other")
    total = sum(file.size for file in wanted.files if file.path != INDEX)
    left = killed(source, out, total)
    assert len(finished(left)) >= 2
    spoiled, moved, *_ = finished(left)
    data = bytearray((left / spoiled).read_bytes())
    data[-1] ^= 1
    (left / spoiled).write_bytes(data)
    # As if it had been killed while the files got their places.
    (left / moved).rename(out / moved)
    assert run(source, out).files == wanted.files
    assert {path.name for path in out.iterdir()} == {file.path for file in wanted.files}


def test_what_was_left_of_another_source_is_not_taken(source: Path, out: Path) -> None:
    data = sum(STATE[name].nbytes for names in FILES for name in names)
    assert finished(killed(source, out, data))
    torch.save(STATE | {"a": ROWS + 9, "a again": ROWS}, source)
    run(source, out)
    found = load_file(out / index_of(out)["weight_map"]["a"])
    assert torch.equal(found["a"], ROWS + 9)
    assert not list(out.glob(".*"))
