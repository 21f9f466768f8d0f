"""The records: what is written is read back, and identity is what it should be."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from tests.pipeline import strategies

from ascend_migrate.pipeline.digest import canonical_json
from ascend_migrate.pipeline.records import (
    Artifact,
    FileEntry,
    Finding,
    Form,
    Outcome,
    Verdict,
)

PASS, FAIL, NOT_RUN = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN


def write(root: Path, content: bytes = b"abc") -> Path:
    (root / "sub").mkdir(parents=True)
    (root / "sub/b").write_bytes(content)
    (root / "a").write_bytes(b"")
    return root


def artifact(root: Path) -> Artifact:
    return Artifact.of(Form.ONNX, root, ["sub/b", "a", "a"], parent="sha256:1", notes=["n"])


def test_a_file(tmp_path: Path) -> None:
    found = FileEntry.of(write(tmp_path), "sub/b")
    # FIPS 180-2, appendix B.1.
    digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found == FileEntry("sub/b", digest, 3)


def test_an_artifact_lists_each_file_once_and_sorted(tmp_path: Path) -> None:
    found = artifact(write(tmp_path))
    assert [file.path for file in found.files] == ["a", "sub/b"]
    assert found.entry == "sub/b"
    assert found.path == tmp_path / "sub/b"


def test_identity_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    one = artifact(write(tmp_path / "one"))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert artifact(tmp_path / "two").digest == one.digest
    assert replace(one, parent="sha256:2", notes=()).digest == one.digest


def test_identity_depends_on_form_entry_and_bytes(tmp_path: Path) -> None:
    one = artifact(write(tmp_path / "one"))
    others = [
        replace(one, form=Form.MINDIR),
        replace(one, entry="a"),
        replace(one, files=one.files[1:]),
        artifact(write(tmp_path / "two", b"abd")),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 5


@pytest.mark.parametrize(
    ("outcomes", "worst"),
    [
        ([], NOT_RUN),
        ([PASS], PASS),
        ([PASS, PASS], PASS),
        ([PASS, NOT_RUN], NOT_RUN),
        ([NOT_RUN, FAIL, PASS], FAIL),
        ([PASS, FAIL], FAIL),
    ],
)
def test_the_worst_finding_is_the_outcome(outcomes: list[Outcome], worst: Outcome) -> None:
    findings = tuple(Finding("c", Form.ONNX, "s", outcome) for outcome in outcomes)
    assert Verdict("sha256:1", "sha256:2", {}, findings).outcome is worst


def test_a_stated_outcome_is_not_believed() -> None:
    data = Verdict("s", "g", {}, (Finding("c", Form.ONNX, "s", FAIL),)).to_json()
    assert Verdict.from_json(data | {"outcome": "pass"}).outcome is FAIL


@pytest.mark.parametrize("measured", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_can_be_written(measured: float) -> None:
    found = Finding("c", Form.ONNX, "s", FAIL, measured, 1.0)
    assert Finding.from_json(json.loads(canonical_json(found.to_json()))) == replace(
        found, measured=None
    )


@given(verdict=strategies.verdicts)
def test_a_verdict_survives_json(verdict: Verdict) -> None:
    assert Verdict.from_json(json.loads(canonical_json(verdict.to_json()))) == verdict


@given(file=strategies.files)
def test_a_file_survives_json(file: FileEntry) -> None:
    assert FileEntry.from_json(json.loads(canonical_json(file.to_json()))) == file
