"""The form for torch_npu: the weights' own bytes, and what is said of each element type."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from ascend_migrate.converters import checkpoint_to_safetensors, checkpoint_to_torch_npu
from ascend_migrate.pipeline.cann.generations import load_generation
from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.errors import SourceError, StoreError
from ascend_migrate.pipeline.records import Artifact, Form
from ascend_migrate.pipeline.torch_npu.manifest import MANIFEST, read_manifest, weights_of
from ascend_migrate.pipeline.torch_npu.rules import load_rules


def _file(path: Path, tensors: dict[str, tuple[str, list[int], int]]) -> Path:
    """Writes zeros in the format's own spelling: name -> (type, shape, bytes)."""
    header, end = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return path


def _made(source: Path, into: Path, *, dtype: str | None = None) -> Artifact:
    into.mkdir()
    weights = checkpoint_to_safetensors.convert(open_checkpoint(source), into, dtype=dtype)
    return checkpoint_to_torch_npu.convert(weights, None)


NO_BFLOAT16 = {"Ascend310", "Ascend310P", "Ascend910"}
NO_FLOAT8 = NO_BFLOAT16 | {"Ascend310B", "Ascend910B", "Ascend910_93"}


class Row(NamedTuple):
    """Two numbers of a type, and what is said of them."""

    dtype: str
    size: int
    rule: str
    effect: str
    chips: set[str]
    compute: str


FINDINGS = [
    Row("F64", 16, "tensor-float64", "changes numbers", set(), "float32"),
    Row("C64", 16, "tensor-complex", "fails", set(), "pairs of float32"),
    Row("F8_E4M3FNUZ", 2, "tensor-float8-fnuz", "fails", set(), "float32"),
    Row("F8_E5M2FNUZ", 2, "tensor-float8-fnuz", "fails", set(), "float32"),
    Row("F8_E4M3", 2, "tensor-float8", "fails", NO_FLOAT8, "float8_e4m3fn"),
    Row("F8_E5M2", 2, "tensor-float8", "fails", NO_FLOAT8, "float8_e5m2"),
    Row("BF16", 4, "tensor-bfloat16", "fails", NO_BFLOAT16, "bfloat16"),
    Row("I64", 16, "tensor-int64", "note", set(), "int64"),
    Row("U64", 16, "tensor-unsigned", "note", set(), "uint64"),
    Row("U16", 4, "tensor-unsigned", "note", set(), "uint16"),
]
SILENT = [("F32", [2], 8), ("F16", [2], 4), ("I32", [2], 8), ("U8", [2], 2), ("I64", [], 8)]
PACKED = ["layer.qweight", "layer.qzeros", "layer.SCB", "layer.weight_packed"]


@pytest.mark.parametrize("row", FINDINGS, ids=lambda row: row.dtype)
def test_each_type_that_is_different_is_found(tmp_path: Path, row: Row) -> None:
    tensors = {"plain": ("F32", [2], 8), "x": (row.dtype, [2], row.size)}
    found = read_manifest(_made(_file(tmp_path / "a.safetensors", tensors), tmp_path / "out").path)
    assert found["tensors"] == [{"rule": row.rule, "tensors": ["x"]}]
    about = found["rules"][row.rule]
    assert (about["effect"], set(about["chips"])) == (row.effect, row.chips)
    assert about["source"]
    assert about["certainty"]
    rows = [other for other in found["dtype_policy"] if other["stored"] != "float32"]
    assert [(other["bytes"], other["compute"]) for other in rows] == [(row.size, row.compute)]


def test_every_rule_about_tensors_is_in_the_table() -> None:
    met = {row.rule for row in FINDINGS} | {"tensor-packed"}
    assert {item.rule.id for item in load_rules().tensors} == met


@pytest.mark.parametrize(("dtype", "shape", "size"), SILENT)
def test_nothing_is_said_of_common_types(
    tmp_path: Path, dtype: str, shape: list[int], size: int
) -> None:
    source = _file(tmp_path / "a.safetensors", {"x": (dtype, shape, size)})
    assert read_manifest(_made(source, tmp_path / "out").path)["tensors"] == []


@pytest.mark.parametrize("name", PACKED)
def test_packed_weights_are_known_by_their_names(tmp_path: Path, name: str) -> None:
    tensors = {name: ("U8", [2], 2), "layer.weight": ("U8", [2], 2)}
    found = read_manifest(_made(_file(tmp_path / "a.safetensors", tensors), tmp_path / "out").path)
    assert found["tensors"] == [{"rule": "tensor-packed", "tensors": [name]}]


def test_rules_name_chips_that_there_are_and_each_name_is_given_once() -> None:
    rules = load_rules()
    every = [*(item.rule for item in rules.tensors), *(item.rule for item in rules.code)]
    families = set(load_generation("9.0").chips.values())
    assert {chip for rule in every for chip in rule.families} <= families
    assert len({rule.id for rule in every}) == len(every)
    assert all(rule.says and rule.remedy and rule.source for rule in every)


def test_no_advice_weakens_a_check() -> None:
    """No rule and no setting tells anyone to trust a pickle, or to let transfer_to_npu patch."""
    rules = load_rules()
    said = [*(item.rule.remedy for item in rules.code), *(item["set"] for item in rules.settings)]
    assert not [text for text in said if "weights_only=False" in text and "nothing" not in text]
    assert not [text for text in said if "import transfer_to_npu" in text]
    patched = next(item.rule for item in rules.code if item.rule.id == "transfer-to-npu")
    assert "keep map_location, weights_only and every comparison as they are" in patched.remedy


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    state = {"a": torch.randn(3, 4), "b": torch.randn(5).to(torch.bfloat16)}
    state["c"], state["d"] = torch.randn(2, dtype=torch.float64), state["a"]
    torch.save(state, tmp_path / "a.pt")
    return tmp_path / "a.pt"


def test_the_weights_are_those_of_the_safetensors_form(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = checkpoint_to_safetensors.convert(open_checkpoint(checkpoint), tmp_path / "plain")
    made = _made(checkpoint, tmp_path / "out")
    assert (made.form, made.entry, made.parent) == (Form.TORCH_NPU, MANIFEST, plain.parent)
    assert [file.path for file in made.files] == ["model.safetensors", MANIFEST]
    assert made.files[0] == plain.files[0]
    original = torch.load(checkpoint)
    for name, tensor in load_file(weights_of(made.path)).items():
        assert tensor.dtype == original[name].dtype
        assert tensor.view(torch.uint8).equal(original[name].view(torch.uint8))


def test_the_same_checkpoint_gives_the_same_manifest(checkpoint: Path, tmp_path: Path) -> None:
    first, second = (_made(checkpoint, tmp_path / name) for name in ("one", "two"))
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.digest == second.digest
    assert str(tmp_path) not in first.path.read_text()


def test_the_policy_is_that_of_the_types_that_are_stored(checkpoint: Path, tmp_path: Path) -> None:
    found = read_manifest(_made(checkpoint, tmp_path / "out", dtype="float16").path)
    rows = [(row["stored"], row["tensors"], row["bytes"]) for row in found["dtype_policy"]]
    # a and d are tied: two names, and each is 12 numbers.
    assert rows == [("float64", 1, 16), ("float16", 2, 48), ("bfloat16", 1, 10)]
    lower = found["dtype_policy"][2]
    assert lower["compute"] == "bfloat16"
    assert [(set(row["chips"]), row["compute"]) for row in lower["except"]] == [
        (NO_BFLOAT16, "float16")
    ]
    assert found["verified_on_device"] is False


def test_a_manifest_that_cannot_be_written_is_not_left_half(
    checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    weights = checkpoint_to_safetensors.convert(open_checkpoint(checkpoint), tmp_path / "out")
    (tmp_path / "out" / MANIFEST).mkdir()
    with pytest.raises(StoreError):
        checkpoint_to_torch_npu.convert(weights, None)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["model.safetensors", MANIFEST]


EMPTY: dict[str, Any] = {key: [] for key in ("tensors", "dtype_policy", "settings")}
GOOD: dict[str, Any] = {
    **EMPTY,
    "schema": "ascend-migrate/torch-npu/1",
    "weights": "model.safetensors",
    "rules": {},
    "code": None,
}
RULE = {"effect": "fails", "says": "", "remedy": "", "certainty": "", "source": "", "chips": []}
PLACE = {"rule": "r", "file": "a.py", "line": 1, "found": "", "becomes": ""}
MALFORMED = [
    *({key: value for key, value in GOOD.items() if key != left_out} for left_out in GOOD),
    {**GOOD, "tensors": [{"rule": "unknown", "tensors": []}]},
    {**GOOD, "tensors": 3},
    {**GOOD, "rules": {"r": {**RULE, "effect": "other"}}},
    {**GOOD, "rules": {"r": {**RULE, "chips": "Ascend910"}}},
    {**GOOD, "rules": {"r": {**RULE, "says": 3}}},
    {**GOOD, "rules": {"r": RULE}, "code": {"findings": [{**PLACE, "file": 3}], "not_read": {}}},
    {**GOOD, "rules": {"r": RULE}, "code": {"findings": [{**PLACE, "line": []}], "not_read": {}}},
    {**GOOD, "code": {"findings": [], "not_read": []}},
    {**GOOD, "dtype_policy": [{"stored": "float32"}]},
    {**GOOD, "settings": ["a"]},
]


@pytest.mark.parametrize("document", MALFORMED, ids=lambda document: str(document)[-60:])
def test_a_manifest_that_its_readers_could_not_show_is_refused(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    path = tmp_path / MANIFEST
    (tmp_path / "model.safetensors").write_bytes(b"")
    path.write_text(json.dumps(GOOD))
    assert weights_of(path) == tmp_path / "model.safetensors"
    path.write_text(json.dumps(document))
    with pytest.raises(SourceError) as caught:
        weights_of(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "is not ascend-migrate/torch-npu/1"),
        (json.dumps({**GOOD, "schema": "other"}).encode(), "is not ascend-migrate/torch-npu/1"),
        *(
            (json.dumps({**GOOD, "weights": name}).encode(), "are not the name of a file beside it")
            for name in ("../a", "/etc/passwd", "a/b", "", "..", 3, None, "a\n")
        ),
        (json.dumps({**GOOD, "weights": "absent"}).encode(), "names absent, which is not beside"),
    ],
)
def test_a_manifest_from_a_stranger_is_refused(
    tmp_path: Path, document: bytes, reason: str
) -> None:
    path = tmp_path / MANIFEST
    path.write_bytes(document)
    with pytest.raises(SourceError, match=reason) as caught:
        weights_of(path)
    assert "\n" not in str(caught.value)
