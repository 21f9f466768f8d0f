"""A bundle that comes back with answers is judged, published and pulled like any other form.

ATC and the device are emulated (tests/converters/atc/emulated*.py): the answers are onnxruntime's.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from tests.converters.atc.emulated import install
from tests.converters.atc.emulated_device import ask
from tests.converters.atc.small import SPEC, write_model

from ascend_migrate.flows import cli
from ascend_migrate.pipeline.digest import file_digest

HALF = '[precision]\ntype = "float16"\n'

STRICT = ("strict", "plain.safetensors")

Judge = Callable[..., tuple[int, dict[str, Any]]]


class Place:
    """A folder with a specification, its golden files, and an emulated CANN."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_model(folder / "model.onnx")
        self.toolkit = install(folder)
        for name, text in (("plain", SPEC), ("half", SPEC + HALF)):
            (folder / f"{name}.toml").write_text(text)
            self.capture(name)

    def capture(self, name: str) -> None:
        spec, golden = self.folder / f"{name}.toml", self.folder / f"{name}.safetensors"
        assert cli.run(["capture", str(spec), "-o", str(golden)]) == 0

    def bundle(self, name: str, golden: str, mode: str = "origin", behaviour: str = "") -> Path:
        """Makes a bundle, and runs its script with the emulated ATC."""
        out = self.folder / name
        if out.exists():
            return out
        options = ["--soc", "Ascend910B3", "--bundle", "--precision-mode", mode, "-o", str(out)]
        given = ["--input", "x=float32[n=1|2|4,3]", "--golden", str(self.folder / golden)]
        assert cli.run(["om", str(self.folder / "model.onnx"), *options, *given]) == 0
        environment = {
            "PATH": f"{self.toolkit / 'bin'}:/usr/bin:/bin",
            "ASCEND_TOOLKIT_HOME": str(self.toolkit),
            "EMULATED_ATC": behaviour,
        }
        script = str(out / "convert.sh")
        subprocess.run([script], env=environment, check=True, capture_output=True)
        return out

    def answered(self, *made: str, behaviour: str = "") -> Path:
        """A bundle that was asked on the emulated device as well; not to be changed."""
        bundle = self.bundle(*made)
        out = bundle.with_name(f"{bundle.name} {behaviour}")
        if not out.exists():
            shutil.copytree(bundle, out)
            asked = ask(out, self.folder, behaviour=behaviour)
            assert (asked.returncode, asked.stderr) == (0, "")
        return out


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def bundle(place: Place, tmp_path: Path) -> Path:
    """A bundle that came back with answers."""
    made = place.answered(*STRICT)
    return Path(shutil.copytree(made, tmp_path / "bundle"))


@pytest.fixture
def judged(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    def judge(bundle: Path, golden: str = "plain.safetensors") -> tuple[int, dict[str, Any]]:
        out = tmp_path / "om"
        assert cli.run(["import-om", str(bundle), "-o", str(out)]) == 0
        capsys.readouterr()
        given = ["validate", str(out / "model.om"), "--against", str(place.folder / golden)]
        code = cli.run([*given, "-o", str(tmp_path / "report"), "--json"])
        captured = capsys.readouterr()
        if not captured.out:
            return code, {"error": captured.err}
        return code, json.loads(captured.out)

    return judge


def outcomes(document: dict[str, Any]) -> dict[str, str]:
    return {item["check"]: item["outcome"] for item in document["findings"]}


def why(document: dict[str, Any], check: str) -> str:
    return str(next(item["note"] for item in document["findings"] if item["check"] == check))


def test_there_and_back_and_published(bundle: Path, tmp_path: Path, judged: Judge) -> None:
    code, document = judged(bundle)
    assert (code, document["outcome"], document["level"]) == (0, "pass", "device")
    passed = {
        *("weights.ledger", "weights.origin", "outputs.present", "outputs.close", "outputs.peak"),
        *("calls.repeatable", "calls.batch", "outputs.vary"),
    }
    assert passed <= set(outcomes(document))
    name = "ais_bench on Ascend910B3 number 0, CANN 8.1.RC1, as answers.safetensors says"
    answers = tmp_path / "om" / "answers.safetensors"
    who = {"name": name, "level": "device", "answers": file_digest(answers)}
    assert document["context"]["runtimes"]["om"] == who
    assert sorted(file["path"] for file in document["subjects"]["om"]) == ["model.om", "om.json"]
    registry = ["--registry", str(tmp_path / "registry")]
    report, om = str(tmp_path / "report" / "report.json"), str(tmp_path / "om" / "model.om")
    assert cli.run(["publish", report, om, "--name", "small", *registry]) == 0
    assert cli.run(["gate", "small", *registry]) == 0
    blob = tmp_path / "registry" / "blobs" / "sha256" / file_digest(answers).removeprefix("sha256:")
    assert blob.read_bytes() == answers.read_bytes()
    assert cli.run(["pull", "small", "-o", str(tmp_path / "pulled"), *registry]) == 0
    pulled = {p.name: p for p in (tmp_path / "pulled").rglob("*") if p.is_file()}
    assert pulled["model.om"].read_bytes() == (bundle / "compiled" / "model.om").read_bytes()
    assert json.loads(pulled["om.json"].read_text())["soc"] == "Ascend910B3"


def test_answers_that_were_not_judged_are_no_evidence(
    bundle: Path, tmp_path: Path, judged: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(bundle)[0] == 0
    answers = tmp_path / "om" / "answers.safetensors"
    report, om = str(tmp_path / "report" / "report.json"), str(tmp_path / "om" / "model.om")
    publish = ["publish", report, om, "--name", "x", "--registry", str(tmp_path / "registry")]
    answers.write_bytes(answers.read_bytes() + b" ")
    assert cli.run(publish) == 1
    assert capsys.readouterr().err == (
        f"ascend-migrate: {answers}: not the answers that were judged; validate it again\n"
    )
    answers.unlink()
    assert cli.run(publish) == 1


@pytest.mark.parametrize(
    ("behaviour", "check"),
    [("spoiled", "outputs.close"), ("half", "outputs.close"), ("keeps state", "calls.repeatable")],
)
def test_wrong_answers_fail_and_are_not_published(
    place: Place, tmp_path: Path, judged: Judge, behaviour: str, check: str
) -> None:
    code, document = judged(place.answered(*STRICT, behaviour=behaviour))
    assert (code, document["outcome"]) == (1, "fail")
    assert outcomes(document)[check] == "fail"
    assert outcomes(document)["weights.ledger"] == "pass"
    report, om = str(tmp_path / "report" / "report.json"), str(tmp_path / "om" / "model.om")
    registry = ["--registry", str(tmp_path / "registry")]
    assert cli.run(["publish", report, om, "--name", "small", *registry]) == 1


def test_without_answers_nothing_is_proved(
    place: Place, tmp_path: Path, judged: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = judged(place.bundle(*STRICT))
    assert (code, document["outcome"], document["level"]) == (3, "not_run", "ledger")
    assert "no device was asked yet" in why(document, "outputs.close")
    report, om = str(tmp_path / "report" / "report.json"), str(tmp_path / "om" / "model.om")
    registry = ["--registry", str(tmp_path / "registry")]
    assert cli.run(["publish", report, om, "--name", "small", *registry]) == 1
    assert "no device was asked yet" in capsys.readouterr().err


def test_what_lies_beside_it_is_its_own(bundle: Path, place: Place, tmp_path: Path) -> None:
    """A spoiled graph, identity or file is noticed before anything is called proved."""
    out = tmp_path / "om"
    assert cli.run(["import-om", str(bundle), "-o", str(out)]) == 0
    given = [
        "validate",
        str(out / "model.om"),
        "--against",
        str(place.folder / "plain.safetensors"),
    ]
    assert cli.run(given) == 0
    for name, code in {"w.bin": 3, "model.onnx": 2, "model.om": 1}.items():
        kept = (out / name).read_bytes()
        (out / name).write_bytes(kept + b"\0")
        assert cli.run(given) == code, name
        (out / name).write_bytes(kept)
    assert cli.run(given) == 0
    (out / "om.json").unlink()
    assert cli.run(given) == 2


def test_right_answers_do_not_excuse_wrong_weights(
    bundle: Path, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The graph that it says it was made from has another weight than the source."""
    out = tmp_path / "om"
    assert cli.run(["import-om", str(bundle), "-o", str(out)]) == 0
    data = bytearray((out / "w.bin").read_bytes())
    data[0] ^= 1
    (out / "w.bin").write_bytes(data)
    said = json.loads((out / "om.json").read_text())
    said["made_from"]["w.bin"] = file_digest(out / "w.bin")
    (out / "om.json").write_text(json.dumps(said))
    capsys.readouterr()
    golden = str(place.folder / "plain.safetensors")
    assert cli.run(["validate", str(out / "model.om"), "--against", golden, "--json"]) == 1
    found = outcomes(json.loads(capsys.readouterr().out))
    assert (found["outputs.close"], found["weights.ledger"]) == ("pass", "fail")


@pytest.mark.parametrize(
    "asked",
    [
        # Rounded answers are within the noise of float16, which this golden file has measured.
        ("fp16", "half.safetensors", "half", 0),
        ("fp16", "half.safetensors", "spoiled", 0),
        ("fp16", "plain.safetensors", "half", 1),
        # What lowers nothing is judged by the limits of float32, whatever the golden file allows.
        ("origin", "half.safetensors", "half", 1),
        ("origin", "half.safetensors", "", 0),
    ],
)
def test_the_limits_are_those_of_the_precision_mode(
    place: Place, judged: Judge, asked: tuple[str, str, str, int]
) -> None:
    mode, golden, behaviour, code = asked
    made = place.answered(f"{mode}-{golden}", golden, mode, behaviour=behaviour)
    found, document = judged(made, golden)
    assert found == code
    if (mode, golden) == ("fp16", "plain.safetensors"):
        assert '[precision] type = "float16"' in str(document)
        return
    assert ("precision.graph" in outcomes(document)) == (mode == "fp16")


def edited(path: Path, **about: str | None) -> None:
    """Changes what answers say of themselves; None takes a key away."""
    with safe_open(path, framework="numpy") as file:
        known = {**file.metadata(), **about}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(arrays, path, {key: text for key, text in known.items() if text is not None})


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"om": "sha256:0"}, "are answers of another .om file"),
        ({"golden": "sha256:0"}, "are not to the questions of this folder"),
        ({"soc": "Ascend310P3"}, "were given by Ascend310P3; the file is for Ascend910B3"),
        ({"runtime": ""}, "does not say its runtime"),
        ({"device": None}, "does not say its device"),
        ({"schema": "another"}, "its schema is not"),
        ({"cases": "[]"}, "it names no cases"),
        ({"cases": '["a"]'}, "it has answers to no case"),
    ],
)
def test_answers_that_are_not_taken_back(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    about: dict[str, str | None],
    said: str,
) -> None:
    edited(bundle / "answers.safetensors", **about)
    assert cli.run(["import-om", str(bundle), "-o", str(tmp_path / "om")]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "om").exists()


def test_a_case_that_was_answered_once_is_not_answered(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bundle / "answers.safetensors"
    with safe_open(path, framework="numpy") as file:
        about = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file({n: a for n, a in arrays.items() if n != "1/later/y"}, path, about)
    assert cli.run(["import-om", str(bundle), "-o", str(tmp_path / "om")]) == 1
    assert "case 1 was not answered twice" in capsys.readouterr().err


def test_the_chip_that_answers_is_the_one_that_it_was_compiled_for(
    bundle: Path, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(bundle, place.folder, soc="Ascend310P3")
    assert cli.run(["import-om", str(bundle), "-o", str(tmp_path / "om")]) == 1
    assert "were given by Ascend310P3" in capsys.readouterr().err


def test_questions_that_the_device_was_not_asked_are_not_run(
    bundle: Path, place: Place, judged: Judge
) -> None:
    (place.folder / "more.toml").write_text(SPEC.replace("cases = 2", "cases = 5"))
    place.capture("more")
    code, document = judged(bundle, "more.safetensors")
    assert code == 3
    assert "was not asked everything" in why(document, "outputs.close")


def test_weights_beside_the_file_are_a_part_of_it(
    place: Place, tmp_path: Path, judged: Judge
) -> None:
    code, document = judged(place.answered("beside", STRICT[1], "origin", "weights beside"))
    assert code == 0
    names = sorted(file["path"] for file in document["subjects"]["om"])
    assert names == ["model.om", "om.json", "weight/0"]
    (tmp_path / "om" / "weight" / "0").unlink()
    given = ["validate", str(tmp_path / "om" / "model.om")]
    assert cli.run([*given, "--against", str(place.folder / "plain.safetensors")]) == 2


@pytest.mark.parametrize(
    ("given", "golden", "said"),
    [
        ("x=float32[n=1|2|4,3]", "w.bin", "w.bin: damaged golden file"),
        ("x=float32[n=1|2,3]", "plain.safetensors", "case longest n=4 cannot be asked: 'x' is"),
        ("z=float32[n=1|2|4,3]", "plain.safetensors", "'x' is no input; 'z' is missing"),
    ],
)
def test_what_a_device_could_not_be_asked_does_not_go_along(
    place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: str,
    golden: str,
    said: str,
) -> None:
    command = ["om", str(place.folder / "model.onnx"), "--soc", "Ascend910B3", "--bundle"]
    options = ["--input", given, "--golden", str(place.folder / golden)]
    assert cli.run([*command, *options, "-o", str(tmp_path / "out")]) != 0
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_golden_file_that_came_back_damaged_is_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever sends the folder may have changed what it says of the file as well."""
    (bundle / "golden.safetensors").write_bytes(b"junk")
    digest = file_digest(bundle / "golden.safetensors")
    edited(bundle / "answers.safetensors", golden=digest)
    request = json.loads((bundle / "request.json").read_text())
    request["files"]["golden.safetensors"] = digest
    (bundle / "request.json").write_text(json.dumps(request))
    result = json.loads((bundle / "result.json").read_text())
    result["request"] = file_digest(bundle / "request.json")
    (bundle / "result.json").write_text(json.dumps(result))
    assert cli.run(["import-om", str(bundle), "-o", str(tmp_path / "om")]) == 1
    error = capsys.readouterr().err
    assert "golden.safetensors: " in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "om").exists()


def test_a_failure_leaves_nothing_behind(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a request says beside what we wrote there is not taken, and no folder is half filled."""
    request = json.loads((bundle / "request.json").read_text())
    request["request"]["schema"] = "another"
    (bundle / "request.json").write_text(json.dumps(request))
    result = json.loads((bundle / "result.json").read_text())
    result["request"] = file_digest(bundle / "request.json")
    (bundle / "result.json").write_text(json.dumps(result))
    before = {path.name for path in tmp_path.iterdir()}
    assert cli.run(["import-om", str(bundle), "-o", str(tmp_path / "om")]) == 2
    assert "its schema is not" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == before
