"""The two kinds of source: what decides their identity, and what they know."""

from pathlib import Path

import pytest
from tests.flows.toys import Home

from ascend_migrate.flows.sources import CheckpointSource, GraphSource, code_digest, open_source
from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.errors import ModelError, SourceError
from ascend_migrate.pipeline.records import Form
from ascend_migrate.pipeline.spec import ModelRef, read_spec


def test_checkpoint_is_identified_by_its_bytes_and_the_code_that_reads_it(
    home: Home, tmp_path: Path
) -> None:
    source = open_source(read_spec(home.spec(tmp_path)))
    assert isinstance(source, CheckpointSource)
    assert source.digest == file_digest(home.checkpoint)
    code = file_digest(home.folder / "toy_models.py")
    assert source.params == {
        "model": ["toy_models:Toy", [], {}, code],
        "key": None,
        "drop": [],
        "rename": [],
        "unpack": [],
        "trust": False,
        "max_shard_size": None,
        "store_as": None,
        "allow": [[], []],
    }
    assert [str(item) for item in source.inputs] == ["x=float32[n=1..4,3]"]
    assert source.weights is not None
    assert set(source.weights.tensors) == {
        "first.weight", "first.bias", "second.weight", "second.bias"
    }  # fmt: skip


def test_building_twice_gives_two_models(home: Home, tmp_path: Path) -> None:
    source = open_source(read_spec(home.spec(tmp_path)))
    assert isinstance(source, CheckpointSource)
    one, other = source.build(), source.build()
    assert one is not other
    assert not one.training
    # What one of them changes must not be seen by the other, nor written to the file.
    before = file_digest(home.checkpoint)
    next(one.parameters()).data.zero_()
    assert next(other.parameters()).abs().sum() > 0
    assert file_digest(home.checkpoint) == before


def test_graph_is_identified_by_all_its_files(home: Home, tmp_path: Path) -> None:
    spec = home.spec(tmp_path, to=("onnx",), model=None, source=home.graph)
    source = open_source(read_spec(spec))
    assert isinstance(source, GraphSource)
    assert source.params == {}
    assert source.weights is None
    assert [str(item) for item in source.inputs] == ["x=float32[batch=1..8,16]"]
    copy = tmp_path / home.graph.name
    copy.write_bytes(home.graph.read_bytes() + b"\x3a\x00")  # an empty graph field: merged, same
    other = home.spec(tmp_path, to=("onnx",), model=None, source=copy)
    assert open_source(read_spec(other)).digest != source.digest


def test_graph_writes_its_large_weights_beside_itself(home: Home, tmp_path: Path) -> None:
    spec = home.spec(tmp_path, to=("onnx",), model=None, source=home.graph)
    (artifact,) = open_source(read_spec(spec)).export(tmp_path, graph=True)
    assert artifact.form is Form.ONNX
    assert [f.path for f in artifact.files] == ["model.onnx", "model.safetensors"]
    assert (tmp_path / "model.safetensors").stat().st_size > 16 * 32 * 4


def test_link_to_a_checkpoint_is_read_through(home: Home, tmp_path: Path) -> None:
    # As in a download cache, whose files are links to blobs without a suffix.
    blob = tmp_path / "0123abcd"
    blob.write_bytes(home.graph.read_bytes())
    link = tmp_path / "model.onnx"
    link.symlink_to(blob)
    spec = read_spec(home.spec(tmp_path, to=("onnx",), model=None, source=link))
    assert spec.is_onnx
    assert len(open_source(spec).inputs) == 1


def test_pickled_module_is_never_opened(home: Home, tmp_path: Path) -> None:
    import torch

    path = tmp_path / "module.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(SourceError, match=r"is a whole pickled .*Linear object"):
        open_source(read_spec(home.spec(tmp_path, source=path)))


def test_code_digest_follows_the_file_and_runs_nothing(tmp_path: Path) -> None:
    module = tmp_path / "package" / "models.py"
    module.parent.mkdir()
    (module.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    module.write_text("raise RuntimeError('imported')")
    ref = ModelRef("package.models:Net", search=tmp_path)
    assert code_digest(ref) == file_digest(module)
    module.write_text("changed = True")
    assert code_digest(ref) == file_digest(module)
    # A folder without __init__.py is a package as well, in one that was never imported.
    inner = module.parent / "plain" / "nets.py"
    inner.parent.mkdir()
    inner.write_text("raise RuntimeError")
    package = module.parent.name
    ref = ModelRef(f"{package}.plain.nets:Net", search=tmp_path)
    assert code_digest(ref) == file_digest(inner)
    assert code_digest(None) == ""
    assert code_digest(ModelRef("absent.models:Net", search=tmp_path)) == ""
    assert code_digest(ModelRef("sys:Net", search=tmp_path)) == ""  # built in: has no file


def test_missing_weights_are_listed(home: Home, tmp_path: Path) -> None:
    spec = home.spec(tmp_path)
    spec.write_text(spec.read_text().replace("[model]", 'drop = ["first.*"]\n[model]'))
    source = open_source(read_spec(spec))
    assert isinstance(source, CheckpointSource)
    with pytest.raises(ModelError, match=r"missing first\.weight; missing first\.bias"):
        source.build()
    spec.write_text(spec.read_text().replace("[model]", 'allow_missing = ["first.*"]\n[model]'))
    allowed = open_source(read_spec(spec))
    assert isinstance(allowed, CheckpointSource)
    assert allowed.params["allow"] == [["first.*"], []]
    assert allowed.build() is not None
