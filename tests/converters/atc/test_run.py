"""Finding and running ATC, against a program that keeps to its documented contract."""

import os
import time
from pathlib import Path

import pytest
from tests.converters.atc.emulated import install

from ascend_migrate.converters.atc.command import arguments
from ascend_migrate.converters.atc.messages import failure
from ascend_migrate.converters.atc.run import run_atc
from ascend_migrate.pipeline.cann.om_request import OmRequest
from ascend_migrate.pipeline.cann.toolkit import Toolkit, find_toolkit
from ascend_migrate.pipeline.errors import ConversionError, SpecError, ToolchainError
from ascend_migrate.pipeline.inputs import parse_inputs


@pytest.fixture
def toolkit(tmp_path: Path) -> Toolkit:
    return find_toolkit({"ASCEND_TOOLKIT_HOME": str(install(tmp_path))})


def compiled(
    toolkit: Toolkit, folder: Path, request: OmRequest | None = None, timeout: float = 60
) -> Path:
    (folder / "model.onnx").write_bytes(b"a graph")
    inputs, _ = parse_inputs(["x=float32[1]"])
    asked = request or OmRequest("Ascend910B3", "8.1")
    given = arguments(str(folder / "model.onnx"), str(folder / "model"), inputs, asked, 7)
    return run_atc(toolkit, given, folder / "model", timeout=timeout)


def test_no_toolkit_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"install Ascend-cann-toolkit.*--bundle") as raised:
        find_toolkit({"PATH": str(tmp_path), "ASCEND_TOOLKIT_HOME": str(tmp_path)})
    assert raised.value.exit_code == 3


@pytest.mark.parametrize("name", ["ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH"])
def test_a_toolkit_is_found_by_its_variable(tmp_path: Path, name: str) -> None:
    root = install(tmp_path)
    assert find_toolkit({name: str(root)}) == Toolkit(root / "bin" / "atc", root, "8.1.RC1")


def test_a_toolkit_is_found_on_the_path(tmp_path: Path) -> None:
    root = install(tmp_path)
    found = find_toolkit({"PATH": f"/nowhere{os.pathsep}{root / 'bin'}"})
    assert found == Toolkit(root / "bin" / "atc", root, "8.1.RC1")


def test_the_stubs_of_the_driver_come_first(tmp_path: Path) -> None:
    root = install(tmp_path)
    stubs = root / f"{os.uname().machine}-linux" / "devlib"
    stubs.mkdir(parents=True)
    found = find_toolkit({"ASCEND_HOME_PATH": str(root)}).environment({"LD_LIBRARY_PATH": "/lib"})
    assert found["LD_LIBRARY_PATH"] == f"{stubs}:/lib"


def test_a_graph_is_compiled(toolkit: Toolkit, tmp_path: Path) -> None:
    assert compiled(toolkit, tmp_path) == tmp_path / "model.om"
    assert "ATC run success" in (tmp_path / "atc.log").read_text()


def test_the_file_for_another_host_has_another_name(toolkit: Toolkit, tmp_path: Path) -> None:
    request = OmRequest("Ascend910B3", "8.1", host_cpu="aarch64")
    assert compiled(toolkit, tmp_path, request).name == "model_linux_aarch64.om"


@pytest.mark.parametrize(
    ("behaviour", "kind", "said"),
    [
        ("old message", ConversionError, r"E19010 \(ai.onnx::22::Conv\): the parser does not know"),
        ("new message", ConversionError, r"E13010 \(ai.onnx::22::Conv\): the parser does not know"),
        ("no code", ToolchainError, "without a code, and said: Segmentation fault"),
        ("writes nothing", ToolchainError, "reports success and wrote no file"),
        ("says nothing", ToolchainError, r"without a code, and said: \.\.\."),
        ("fails after writing", ConversionError, "E20001"),
    ],
)
def test_a_failure_is_one_line_with_the_log(
    toolkit: Toolkit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: str,
    kind: type[Exception],
    said: str,
) -> None:
    monkeypatch.setenv("EMULATED_ATC", behaviour)
    with pytest.raises(kind, match=said) as raised:
        compiled(toolkit, tmp_path)
    assert "atc.log" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "atc.log").stat().st_size
    assert not (tmp_path / "model.om").exists()


def test_a_chip_that_this_atc_does_not_know(toolkit: Toolkit, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"E10001.*does not take"):
        compiled(toolkit, tmp_path, OmRequest("Ascend910B9", "8.1"))


def test_one_that_hangs_is_ended(
    toolkit: Toolkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMULATED_ATC", "hangs")
    begun = time.monotonic()
    with pytest.raises(ToolchainError, match="not done after 1 s"):
        compiled(toolkit, tmp_path, timeout=1)
    assert time.monotonic() - begun < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_program_that_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="cannot be run"):
        compiled(Toolkit(tmp_path / "absent", None, ""), tmp_path)


@pytest.mark.parametrize(
    ("output", "kind", "said"),
    [
        ("[ERROR] E40020: Failed to import Python module [te]", ToolchainError, "numpy<2"),
        (
            "EZ3002: Optype [Conv2D] of Ops kernel is unsupported",
            ConversionError,
            "no kernel takes",
        ),
        ("EZ9999: Inner Error!", ToolchainError, "an internal error"),
        ("E12345: something new", ToolchainError, "E12345: something new"),
        ("", ToolchainError, "said: nothing"),
        ("W11001: only a warning\nE20001: compile failed", ConversionError, "E20001"),
    ],
)
def test_codes(output: str, kind: type[Exception], said: str) -> None:
    error = failure("model", output, "atc.log")
    assert type(error) is kind
    assert said in str(error)
