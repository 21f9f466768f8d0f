"""The command line as scripts rely on it: exit codes, streams, one line for each error."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.flows.toys import COMMAND, Home, command, started

from ascend_migrate.flows import cli, cli_inspect, steps

# What is asked with {0} for a folder of the test's own -> exit code, and what the error names.
OUTCOMES = {
    "done": (["inspect", "toy.pt"], 0, ""),
    "weights alone": (["migrate", "toy.pt", "--to", "safetensors", "--registry", "{0}/r"], 0, ""),
    "nothing listed": (["list", "--registry", "{0}/nowhere"], 0, ""),
    "no command": ([], 2, "Usage:"),
    "no such command": (["export"], 2, "No such command 'export'"),
    "no such option": (["list", "--all"], 2, "No such option '--all'"),
    "no argument": (["inspect"], 2, "Missing argument 'PATH'"),
    "no file": (["inspect", "absent.pt"], 2, "'absent.pt' does not exist"),
    "no checkpoint": (["inspect", "toy_models.py"], 2, "toy_models.py: is of no known format"),
    "no form": (["migrate", "toy.pt", "--to", "elf"], 2, "to: no form 'elf'"),
    "no model": (["migrate", "toy.pt"], 2, "model: is required for onnx, mindir"),
    "no specification": (["capture", "toy.pt", "-o", "{0}/g"], 2, "is not a specification"),
    "no such name": (["gate", "toy", "--registry", "{0}/nowhere"], 2, "toy: no such name"),
    "model for a graph": (["migrate", "graph.onnx", "--model", "a:b"], 2, "needs no model"),
    "weights of a graph": (
        ["convert", "graph.onnx", "--to", "safetensors", "-o", "{0}/c"],
        2,
        "safetensors cannot be made from an ONNX file",
    ),
    "key of a graph": (["migrate", "graph.onnx", "--key", "a"], 2, "source.key: belongs to"),
    "two state dicts": (["convert", "nested.pt", "--to", "safetensors", "-o", "{0}"], 2, "--key"),
    "dropped in vain": (
        ["migrate", "toy.pt", "--to", "safetensors", "--drop", "third.*"],
        2,
        "no name matches the --drop pattern 'third.*'",
    ),
    "folder is a file": (
        ["migrate", "toy.pt", "--to", "safetensors", "--registry", "toy.pt"],
        3,
        "Not a directory",
    ),
    "no way to write": (
        ["convert", "toy.pt", "--to", "safetensors", "-o", "toy.pt/c"],
        3,
        "Not a directory",
    ),
    "folder in use": (
        ["convert", "toy.pt", "--to", "safetensors", "-o", "."],
        2,
        "exists and is not an empty folder",
    ),
    "wrong reference": (
        ["validate", "graph.onnx", "--against", "nested.pt"],
        2,
        "neither a specification",
    ),
}

# Which model of toys.CODE is asked for -> what the error says.
MODELS = {
    "Absent": "has no attribute 'Absent'",
    "broken": "RuntimeError: cannot build",
    "number": "returned int, not a torch.nn.Module",
    "Raises": "ValueError: two lines",
}


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Runs a command in this process; what C code prints counts as well."""
    code = cli.run([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return code, out, err


def errors(err: str) -> list[str]:
    """The lines that are no progress."""
    return [line for line in err.splitlines() if not line.startswith("  ")]


@pytest.mark.parametrize("case", OUTCOMES)
def test_outcome_has_its_exit_code(
    case: str, in_home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments, wanted, named = OUTCOMES[case]
    code, out, err = run(capfd, *(a.format(tmp_path) for a in arguments))
    assert code == wanted, err
    if code == 0:
        assert out
        assert errors(err) == []
        return
    assert out == ""
    assert named in err
    assert case == "no command" or all(e.startswith("ascend-migrate: ") for e in errors(err))


@pytest.mark.parametrize("model", MODELS)
def test_model_that_fails_is_an_input_at_fault(
    model: str, in_home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(
        capfd, "migrate", "toy.pt", *in_home.options(model), "--registry", tmp_path / "r"
    )
    assert (code, out) == (2, "")
    (line,) = errors(err)
    assert MODELS[model] in line


def test_names_that_do_not_fit_are_all_listed(
    in_home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = [*in_home.options(), "--drop", "second.*", "--registry", tmp_path / "r"]
    code, _, err = run(capfd, "migrate", "toy.pt", *options)
    assert code == 2
    assert "missing second.weight; missing second.bias" in errors(err)[0]


def test_every_fault_of_a_specification_has_its_line(
    in_home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("bad.toml").write_text('to = ["elf"]\nnam = "x"\n[source]\npath = "absent.pt"\n')
    code, out, err = run(capfd, "migrate", "bad.toml", "--json")
    assert code == 2
    faults = json.loads(out)["faults"]
    assert len(faults) == 4
    assert errors(err) == [f"ascend-migrate: bad.toml: {fault}" for fault in faults]
    assert [fault.partition(":")[0] for fault in faults] == ["name", "nam", "to", "source.path"]


def test_specification_that_is_not_toml_names_its_line(
    in_home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("cut.toml").write_text('name = "x"\nto = onnx"\n')
    code, _, err = run(capfd, "migrate", "cut.toml")
    assert code == 2
    assert "cut.toml: is not TOML" in err
    assert "line 2" in err


def test_specification_takes_no_second_word(
    in_home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = in_home.spec(tmp_path / "r")
    code, _, err = run(capfd, "migrate", spec, "--model", "a:b", "--to", "onnx", "--drop", "x")
    assert code == 2
    assert "say --model, --drop, --to in it" in err


def test_difference_is_1_and_publishes_nothing(
    in_home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = [*in_home.options("Stateful"), "--to", "onnx", "--registry", tmp_path / "r"]
    code, out, err = run(capfd, "migrate", "toy.pt", *options)
    assert code == 1
    assert out.startswith("FAIL: not equivalent to the original\n")
    assert "it keeps state between calls" in out
    assert "published: nothing" in out
    assert errors(err) == []
    code, out, _ = run(capfd, "list", "--registry", tmp_path / "r", "--json")
    assert (code, json.loads(out)) == (0, [])


def test_missing_runtime_is_3_and_publishes_nothing(
    in_home: Home,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mindspore", None)  # as if it were not installed
    options = [*in_home.options(), "--registry", tmp_path / "r"]
    code, out, _ = run(capfd, "migrate", "toy.pt", *options)
    assert code == 3
    assert out.startswith("NOT RUN: not proved")
    assert "pip install 'ascend-migrate[mindspore]'" in out
    assert run(capfd, "gate", "toy", "--registry", tmp_path / "r")[0] == 2
    # Installed since: what was not run is asked again, though every other step is reused.
    monkeypatch.undo()
    monkeypatch.chdir(in_home.folder)
    code, out, _ = run(capfd, "migrate", "toy.pt", *options, "--json")
    assert code == 0
    assert json.loads(out)["reused"] == ["capture", "export", "convert"]


def test_gate_refuses_what_was_altered(
    published: tuple[Path, steps.Migration], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, done = published
    assert done.publication is not None
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("stages"))
    assert run(capfd, "gate", "toy", "--registry", copy)[0] == 0
    graph = next(f for a in done.verdict.subjects.values() for f in a if f.path == "model.onnx")
    blob = copy / "blobs" / "sha256" / graph.digest.removeprefix("sha256:")
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[::-1])
    code, out, err = run(capfd, "gate", "toy", "--registry", copy)
    assert (code, out) == (1, "")
    assert graph.digest.removeprefix("sha256:") in err
    assert run(capfd, "verify", "toy", "--registry", copy)[0] == 1
    assert run(capfd, "promote", "toy", "production", "--registry", copy)[0] == 1


def test_every_result_is_json_and_nothing_else(
    in_home: Home,
    published: tuple[Path, steps.Migration],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    root, _ = published
    spec, own = in_home.spec(root), ["--registry", tmp_path / "r"]
    here = ["--registry", root]
    golden, artifact = tmp_path / "golden.safetensors", tmp_path / "c" / "model.onnx"
    script: list[list[object]] = [
        ["inspect", "toy.pt"],
        ["doctor"],
        ["migrate", spec],
        ["convert", spec, "--to", "onnx", "-o", artifact.parent],
        ["capture", spec, "-o", golden],
        ["validate", artifact, "--against", golden, "-o", tmp_path / "v"],
        ["validate", artifact, "--against", spec],
        ["publish", tmp_path / "v" / "report.json", artifact, "--name", "single", *own],
        ["gate", "single", *own],
        ["promote", "single", "production", *own],
        ["list", *own],
        ["show", "single:production", *own],
        ["pull", "toy", "-o", tmp_path / "p", *here],
        ["verify", *own],
        ["gc", *own],
    ]
    results = {}
    for arguments in script:
        code, out, err = run(capfd, *arguments, "--json")
        assert code == 0, err
        assert errors(err) == []
        results[arguments[0]] = json.loads(out)
    assert results["migrate"]["reused"] == ["capture", "export", "convert", "judge"]
    assert results["migrate"]["outcome"] == "pass"
    assert results["convert"]["judged"] is False
    assert [f["path"] for f in results["convert"]["files"]] == ["model.onnx", "model.safetensors"]
    assert results["validate"]["outcome"] == "pass"
    assert results["gate"]["admitted"] is True
    assert results["list"][0]["aliases"] == ["production"]
    assert results["show"]["entries"] == {"onnx": "model.onnx"}
    assert results["pull"]["files"] == ["model.mindir", "model.onnx", "model.safetensors"]
    assert results["verify"] == {"problems": []}


def test_alias_goes_back(in_home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own = ["--registry", tmp_path]
    for key in ("generator", "critic"):
        weights = ["nested.pt", "--to", "safetensors", "--key", key, "--name", "w"]
        assert run(capfd, "migrate", *weights, "--drop", "*.bias", *own)[0] == 0
    assert run(capfd, "migrate", "toy.pt", "--to", "safetensors", "--name", "w", *own)[0] == 0
    for ref in ("w:v1", "w:v2"):
        assert run(capfd, "promote", ref, "production", *own)[0] == 0
    code, out, _ = run(capfd, "rollback", "w:production", *own)
    assert code == 0
    assert out.startswith("w:production is again v1 sha256:")
    code, _, err = run(capfd, "rollback", "w:staging", *own)
    assert code == 2
    assert "w:staging" in err


def test_errors_are_json_too(in_home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capfd, "inspect", "absent.pt", "--json")
    assert code == 2
    assert json.loads(out)["error"] == "UsageError"
    code, out, _ = run(capfd, "inspect", "toy_models.py", "--json")
    assert code == 2
    assert json.loads(out)["error"] == "SourceError"


def test_defect_is_3_and_leaves_its_traceback_in_a_file(
    in_home: Home, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(**_: object) -> int:
        raise KeyError("planted")

    monkeypatch.setattr(cli_inspect.inspect, "callback", planted)
    code, out, err = run(capfd, "inspect", "toy.pt")
    assert (code, out) == (3, "")
    (line,) = errors(err)
    assert line.startswith("ascend-migrate: unexpected KeyError: 'planted'; this is a defect")
    log = Path(line.rpartition(" ")[2])
    assert "in planted" in log.read_text()
    log.unlink()


def test_help_is_fast_and_loads_nothing_heavy() -> None:
    seconds = []
    for _ in range(3):
        before = os.times()
        done = command("--help")
        after = os.times()
        assert done.returncode == 0
        # Of the processor: beside other jobs, the clock on the wall measures those as well.
        used = after.children_user + after.children_system
        seconds.append(used - before.children_user - before.children_system)
    assert 0 < statistics.median(seconds) < 0.5
    assert "Exit codes: 0 equivalent and admitted" in done.stdout
    heavy = {"torch", "onnx", "onnxruntime", "prefect", "mindspore", "numpy", "ml_dtypes"}
    code = (
        "import sys; from ascend_migrate.flows import cli; cli.run(['--help']); "
        f"print({heavy!r} & set(sys.modules), file=sys.stderr)"
    )
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stderr.strip() == "set()"


def test_weights_are_converted_without_anything_heavy(in_home: Home, tmp_path: Path) -> None:
    heavy = {"torch", "numpy", "ml_dtypes", "pydantic", "google.protobuf", "rich", "prefect"}
    arguments = ["convert", "toy.pt", "--to", "safetensors", "-o", str(tmp_path / "weights")]
    code = (
        f"import sys; from ascend_migrate.flows import cli; code = cli.run({arguments!r}); "
        f"print(code, {heavy!r} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "0 set()"


def test_every_command_is_listed_in_full_and_explains_itself(
    capfd: pytest.CaptureFixture[str],
) -> None:
    contract = "inspect convert migrate capture validate gate publish promote rollback list show "
    contract += "verify gc pull flow doctor preflight om import-om forecast selftest"
    assert set(cli.cli.commands) == set(contract.split())
    _, out, _ = run(capfd, "--help")
    assert "..." not in out.partition("Commands:")[2].partition("Exit codes")[0]
    for name in cli.cli.commands:
        code, out, _ = run(capfd, name, "--help")
        assert code == 0
        assert out.startswith(f"Usage: ascend-migrate {name}")


def test_report_path_is_as_one_would_type_it(
    in_home: Home, published: tuple[Path, steps.Migration], capfd: pytest.CaptureFixture[str]
) -> None:
    root, _ = published
    # As examples/attacut/migration.toml does: the folder is given by way of its parent.
    spec = in_home.spec(Path("..") / root.parent.name / root.name)
    code, out, _ = run(capfd, "migrate", spec)
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("report: ")]
    path = Path(line.removeprefix("report: "))
    assert ".." not in path.parts
    assert path.is_file()


def test_progress_comes_before_the_result_in_a_pipe(in_home: Home, tmp_path: Path) -> None:
    options = ["--to", "safetensors", "--registry", str(tmp_path)]
    done = subprocess.run(
        [COMMAND, "migrate", "toy.pt", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[:4] == ["  export", "  judge", "  judge safetensors", "  publish"]
    assert lines[4] == "PASS: proved by its weights; no output was compared"


@pytest.mark.parametrize(("what", "code"), [("toy.pt", 0), ("toy_models.py", 2)])
def test_reader_that_leaves_changes_no_exit_code(what: str, code: int, in_home: Home) -> None:
    process = started("inspect", what, "--json", cwd=in_home.folder)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == code


def test_full_or_closed_output(in_home: Home) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, "inspect", "toy.pt"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 3
    assert done.stderr == b"ascend-migrate: output: No space left on device\n"
    closed = subprocess.run(
        ["/bin/sh", "-c", f"exec {COMMAND} inspect toy.pt >&-"], capture_output=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (0, b"")


@pytest.mark.parametrize("delay", [0.0, 0.7])
def test_interrupt_stops_with_one_line(delay: float, in_home: Home, tmp_path: Path) -> None:
    options = [*in_home.options(), "--registry", str(tmp_path)]
    process = started("migrate", "toy.pt", *options, cwd=in_home.folder)
    assert process.stderr is not None
    assert process.stderr.readline() == "  capture\n"
    time.sleep(delay)  # at once, and while libraries are being imported
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert [line for line in err.split("\n") if line and not line.startswith("  ")] == [
        "ascend-migrate: stopped"
    ]
