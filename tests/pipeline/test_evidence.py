"""The report document: read back as written, and refused when anything about it is odd."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from tests.pipeline import strategies

from ascend_migrate.pipeline.errors import EvidenceError, ExitCode
from ascend_migrate.pipeline.evidence import MAX_BYTES, decode, encode, read_report, write_report
from ascend_migrate.pipeline.records import FileEntry, Finding, Form, Outcome, Verdict

VERDICT = Verdict(
    source="sha256:1",
    golden="sha256:2",
    subjects={Form.ONNX: (FileEntry("model.onnx", "sha256:3", 7),)},
    findings=(
        Finding("outputs.close", Form.ONNX, "y", Outcome.PASS, 1e-7, 1e-5),
        Finding("weights.ledger", Form.ONNX, "w", Outcome.FAIL, note="w is missing"),
    ),
    context={"seed": 0},
)


@given(verdict=strategies.verdicts)
def test_reads_back_what_it_writes(verdict: Verdict) -> None:
    data = encode(verdict, {"timings": [1.5]})
    assert decode(data, "it") == verdict
    assert encode(decode(data, "it"), {"timings": [1.5]}) == data


def test_a_file(tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", VERDICT)
    assert read_report(tmp_path / "report.json") == VERDICT
    document = json.loads((tmp_path / "report.json").read_bytes())
    assert document["schema"] == "ascend-migrate/report/1"
    assert document["verdict"]["outcome"] == "fail"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_have(tmp_path: Path, value: float) -> None:
    odd = Finding("c", Form.ONNX, "s", Outcome.PASS, measured=value)
    with pytest.raises(EvidenceError, match="cannot be written as JSON"):
        write_report(tmp_path / "report.json", Verdict("s", "g", {}, (odd,)))
    assert list(tmp_path.iterdir()) == []


def altered(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(encode(VERDICT))
    change(document)
    return json.dumps(document).encode()


def replaced(old: bytes, new: bytes) -> bytes:
    data = encode(VERDICT)
    assert data.count(old) == 1
    return data.replace(old, new)


ODD: dict[str, tuple[bytes, str]] = {
    "outcome": (replaced(b'"outcome":"fail","source"', b'"outcome":"pass","source"'), "altered"),
    "finding gone": (altered(lambda d: d["verdict"]["findings"].pop()), "altered"),
    "no findings": (altered(lambda d: d["verdict"]["findings"].clear()), "altered"),
    "later schema": (
        altered(lambda d: d.update(schema="ascend-migrate/report/2")),
        "'ascend-migrate/report/2' is not 'ascend-migrate/report/1'",
    ),
    "no schema": (altered(lambda d: d.pop("schema")), "schema None"),
    "one key more": (altered(lambda d: d.update(also=1)), "'also'"),
    "one key less": (altered(lambda d: d.pop("extra")), "'extra'"),
    "no note": (altered(lambda d: d["verdict"]["findings"][0].pop("note")), "'note'"),
    "no source": (altered(lambda d: d["verdict"].pop("source")), "'source'"),
    "other form": (altered(lambda d: d["verdict"]["subjects"].update(elf=[])), "'elf'"),
    "other outcome": (
        altered(lambda d: d["verdict"]["findings"][0].update(outcome="skipped")),
        "'skipped'",
    ),
    "findings no list": (altered(lambda d: d["verdict"].update(findings=1)), "TypeError"),
    "verdict no table": (altered(lambda d: d.update(verdict=[1])), "TypeError"),
    "subjects no table": (altered(lambda d: d["verdict"].update(subjects=[])), "AttributeError"),
    "no level": (altered(lambda d: d["verdict"].update(level="chip")), "'chip' is no level"),
    "no device": (altered(lambda d: d["verdict"].update(level="device")), "not every form was run"),
    "cpu as device": (
        altered(
            lambda d: d["verdict"].update(
                level="device", context={"runtimes": {"om": {"level": "cpu"}}}
            )
        ),
        "not every form was run",
    ),
    "key twice": (replaced(b'"seed":0', b'"seed":0,"seed":1'), "a key is given twice"),
    "NaN": (replaced(b"1e-07", b"NaN"), "NaN is not JSON"),
    "text as NaN": (replaced(b"1e-07", b'"nan"'), "nan is no number"),
    "endless number": (replaced(b"1e-07", b"1e400"), "inf is no number"),
    "endless size": (replaced(b'"size":7', b'"size":1e400'), "OverflowError"),
    "list": (b"[]", "not a JSON object"),
    "deep": (b"[" * 100_000, "not a JSON document"),
    "cut": (encode(VERDICT)[:-1], "not a JSON document"),
    "no text": (b"\xff\xfe\x00", "not a JSON document"),
    "empty": (b"", "not a JSON document"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_documents(name: str) -> None:
    data, reason = ODD[name]
    with pytest.raises(EvidenceError) as caught:
        decode(data, "report.json")
    assert str(caught.value).startswith("report.json: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code is ExitCode.REFUSED


def test_every_cut_is_refused() -> None:
    data = encode(VERDICT)
    for size in range(len(data)):
        with pytest.raises(EvidenceError):
            decode(data[:size], "it")


def test_no_changed_byte_turns_a_failure_into_a_pass() -> None:
    data = encode(VERDICT)
    for at in range(len(data)):
        for bit in (1, 2, 4, 32):
            other = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
            try:
                outcome = decode(other, "it").outcome
            except EvidenceError:
                continue
            assert outcome is Outcome.FAIL


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"absent\.json: the report cannot be read: No such"):
        read_report(tmp_path / "absent.json")
    with (tmp_path / "large.json").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(EvidenceError, match=r"large\.json: larger than a report can be"):
        read_report(tmp_path / "large.json")
