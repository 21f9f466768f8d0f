"""The safetensors form in several files: through convert, the gate, the registry and back."""

import json
from pathlib import Path

import pytest
import torch

from ascend_migrate.flows import cli
from ascend_migrate.pipeline.checkpoint import open_checkpoint

ROWS = torch.randn(100, 100, generator=torch.Generator().manual_seed(1))
STATE = {"a": ROWS, "b": ROWS + 1, "tied": ROWS, "c": torch.arange(10)}
INDEX = "model.safetensors.index.json"
FILES = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)] + [INDEX]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.save(STATE, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.run([str(argument) for argument in arguments])
    return code, *capfd.readouterr()


def assert_whole(path: Path) -> None:
    found = open_checkpoint(path)
    assert {n: found.read(n).tobytes() for n in found.tensors} == {
        name: tensor.numpy().tobytes() for name, tensor in STATE.items()
    }


def test_it_is_judged_published_and_pulled(
    source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = ["--registry", tmp_path / "registry"]
    shards = ["--to", "safetensors", "--max-shard-size", "50KB"]
    assert run(capfd, "migrate", source, *shards, "--name", "m", *own)[0] == 0
    assert run(capfd, "gate", "m", *own)[0] == 0
    code, out, _ = run(capfd, "pull", "m", "-o", tmp_path / "pulled", *own, "--json")
    assert code == 0
    assert json.loads(out)["files"] == FILES
    assert_whole(tmp_path / "pulled")
    pulled = tmp_path / "pulled" / INDEX
    spec = tmp_path / "m.toml"
    spec.write_text('name = "m"\nto = ["safetensors"]\n[source]\npath = "model.pt"\n')
    assert run(capfd, "validate", pulled, "--against", spec)[0] == 0
    # One byte of one shard, and it is not the same model any more.
    shard = tmp_path / "pulled" / FILES[1]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert run(capfd, "validate", pulled, "--against", spec)[0] == 1


def test_convert(source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = {}
    for name, options in {"hashed": [], "not hashed": ["--no-digest"]}.items():
        out = tmp_path / name
        arguments = ["convert", source, "--to", "safetensors", "--max-shard-size", "50KB"]
        code, said, err = run(capfd, *arguments, *options, "-o", out, "--json")
        assert (code, err) == (0, "")
        assert sorted(path.name for path in out.iterdir()) == FILES
        assert_whole(out)
        made[name] = {file["path"]: file["digest"] for file in json.loads(said)["files"]}
    assert list(made["hashed"]) == FILES
    assert all(made["hashed"].values())
    assert [made["not hashed"][name] for name in FILES[:2]] == ["", ""]


def test_a_folder_with_other_files_is_left_alone(
    source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    code, _, err = run(capfd, "convert", source, "--to", "safetensors", "-o", out)
    assert code == 2
    assert "not an empty folder" in err
    assert [path.name for path in out.iterdir()] == ["mine"]


FAULTS: dict[tuple[str, ...], str] = {
    ("--to", "safetensors", "--max-shard-size", "5 apples"): "'5 apples' is no size",
    ("--to", "onnx", "--max-shard-size", "5GB"): "a graph points into one file",
}


@pytest.mark.parametrize("options", FAULTS)
def test_what_cannot_be_divided(
    options: tuple[str, ...], source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capfd, "convert", source, *options, "-o", tmp_path / "out")
    assert code == 2
    assert FAULTS[options] in err
    assert not (tmp_path / "out").exists()
