"""The stage store: made once, found again, made anew when damaged, and never half there."""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ascend_migrate.pipeline import store
from ascend_migrate.pipeline.errors import StoreError
from ascend_migrate.pipeline.store import RECORD, StageResult, StageStore, stage_key

INPUTS = {"source": "sha256:1"}
PARAMS = {"opset": 17, "names": ["x"]}


def work(folder: Path) -> Mapping[str, Any]:
    (folder / "sub").mkdir()
    (folder / "sub/a.bin").write_bytes(b"a" * 100)
    (folder / "b.txt").write_text("b")
    return {"made": ("a", "b")}


def run(root: Path, work: Callable[[Path], Mapping[str, Any]] = work) -> StageResult:
    return StageStore(root).run("export", inputs=INPUTS, params=PARAMS, work=work)


def never(folder: Path) -> Mapping[str, Any]:
    raise AssertionError("the work was done again")


def test_work_is_done_once(tmp_path: Path) -> None:
    first = run(tmp_path)
    second = run(tmp_path, never)
    assert (first.reused, second.reused) == (False, True)
    assert first.path == second.path
    assert first.record == second.record == {"made": ["a", "b"]}
    assert first.note == second.note == ""
    assert (first.path / "sub/a.bin").read_bytes() == b"a" * 100


def test_the_folder_says_what_is_in_it(tmp_path: Path) -> None:
    result = run(tmp_path)
    key = stage_key("export", INPUTS, PARAMS)
    assert result.path.name == f"export-{key.removeprefix('sha256:')}"
    record = json.loads((result.path / RECORD).read_bytes())
    assert record["key"] == key
    assert [(f["path"], f["size"]) for f in record["files"]] == [("b.txt", 1), ("sub/a.bin", 100)]


@pytest.mark.parametrize(
    ("stage", "inputs", "params"),
    [
        ("convert", INPUTS, PARAMS),
        ("export", {"source": "sha256:2"}, PARAMS),
        ("export", {"golden": "sha256:1"}, PARAMS),
        ("export", INPUTS, {**PARAMS, "opset": 18}),
        ("export", INPUTS, {"names": ["x"]}),
        ("export", {**INPUTS, **{"opset": "17"}}, {"names": ["x"]}),
    ],
)
def test_whatever_decides_the_content_is_in_the_key(
    stage: str, inputs: dict[str, str], params: dict[str, Any]
) -> None:
    assert stage_key(stage, inputs, params) != stage_key("export", INPUTS, PARAMS)
    assert stage_key(stage, inputs, params) == stage_key(stage, dict(inputs), dict(params))


def test_another_release_reuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    key = stage_key("export", INPUTS, PARAMS)
    monkeypatch.setattr(store, "tool_version", lambda: "99.0")
    assert stage_key("export", INPUTS, PARAMS) != key


def change(path: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_bytes(data)


def forge(**changes: Any) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        record = json.loads((folder / RECORD).read_bytes())
        (folder / RECORD).write_text(json.dumps(record | changes))

    return alter


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (change("sub/a.bin", b"a" * 99), "sub/a.bin is missing or has another size"),
    "other bytes": (change("sub/a.bin", b"a" * 99 + b"b"), "sub/a.bin has other bytes"),
    "gone": (lambda f: (f / "b.txt").unlink(), "b.txt is missing"),
    "no record": (lambda f: (f / RECORD).unlink(), f"{RECORD} cannot be read (FileNotFoundError)"),
    "not JSON": (change(RECORD, b"{"), "(JSONDecodeError)"),
    "list": (change(RECORD, b"[]"), "(TypeError)"),
    "deep": (change(RECORD, b"[" * 100_000), "(RecursionError)"),
    "other schema": (forge(schema="ascend-migrate/stage/0"), "belongs to another stage or release"),
    "other key": (forge(key="sha256:0"), "belongs to another stage or release"),
    "no files": (forge(files=None), "(TypeError)"),
    "endless size": (
        change(
            RECORD,
            b'{"schema":"ascend-migrate/stage/1","key":"KEY","data":{},'
            b'"files":[{"path":"b.txt","digest":"","size":1e400}]}'.replace(
                b"KEY", stage_key("export", INPUTS, PARAMS).encode()
            ),
        ),
        "(OverflowError)",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_stage_is_set_aside_and_made_again(tmp_path: Path, name: str) -> None:
    damage, reason = DAMAGE[name]
    first = run(tmp_path)
    damage(first.path)
    second = run(tmp_path)
    assert not second.reused
    assert reason in second.note
    assert second.path == first.path
    assert second.record == first.record
    assert run(tmp_path, never).reused
    assert len(list(tmp_path.glob("damaged-*"))) == 1


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"x": {1, 2}}, "is not JSON"),
        ({"x": float("nan")}, "is not JSON"),
        ({"x": Path("a")}, "is not JSON"),
    ],
)
def test_a_result_that_is_not_json(tmp_path: Path, result: Any, reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        run(tmp_path, lambda folder: result)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".lock-")] == []


def test_settings_that_are_not_json() -> None:
    with pytest.raises(StoreError, match="stage export: its settings cannot be written as JSON"):
        stage_key("export", {}, {"x": float("inf")})


def test_the_name_of_the_record_is_taken(tmp_path: Path) -> None:
    def clash(folder: Path) -> Mapping[str, Any]:
        (folder / RECORD).write_bytes(b"{}")
        return {}

    with pytest.raises(StoreError, match=f"{RECORD} is the store's own name"):
        run(tmp_path, clash)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ZeroDivisionError("no"), ZeroDivisionError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(28, "No space left on device"), StoreError),
    ],
)
def test_work_that_fails_leaves_nothing(
    tmp_path: Path, error: BaseException, wanted: type[BaseException]
) -> None:
    def fail(folder: Path) -> Mapping[str, Any]:
        work(folder)
        raise error

    with pytest.raises(wanted):
        run(tmp_path, fail)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".lock-")] == []
    assert not run(tmp_path).reused


def test_leftovers_of_the_dead_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".tmp-dead").mkdir()
    (tmp_path / ".tmp-dead/file").write_bytes(b"x")
    run(tmp_path)
    assert not (tmp_path / ".tmp-dead").exists()


def test_two_at_once_do_the_work_once(tmp_path: Path) -> None:
    made: list[int] = []
    results: list[StageResult] = []
    both = threading.Barrier(2)

    def count(folder: Path) -> Mapping[str, Any]:
        made.append(1)
        return work(folder)

    def one() -> None:
        both.wait()
        results.append(run(tmp_path, count))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert sorted(result.reused for result in results) == [False, True]
