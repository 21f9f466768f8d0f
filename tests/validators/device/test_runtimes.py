"""Which runtime runs what, and what each says on a machine without a device: this one."""

from pathlib import Path

import onnx
import pytest
from onnx import parser

from ascend_migrate.converters.onnx_to_mindir import convert
from ascend_migrate.pipeline.errors import CheckError, ExitCode, SpecError, ToolchainError
from ascend_migrate.pipeline.limits import DEFAULT_LIMITS
from ascend_migrate.pipeline.records import GRAPH_FORMS, Artifact, Form
from ascend_migrate.validators.device import ais_bench
from ascend_migrate.validators.runners import (
    CPU,
    RUNTIMES,
    check_runtime,
    open_runner,
    runtimes_of,
)

GRAPH = """<ir_version: 8, opset_import: ["" : 17]>
net ({dtype}[n, 3] x) => ({dtype}[n, 3] y) {{ y = Relu (x) }}"""


def graph(folder: Path, dtype: str = "float") -> Artifact:
    onnx.save(parser.parse_model(GRAPH.format(dtype=dtype)), folder / "model.onnx")
    return Artifact.of(Form.ONNX, folder, ["model.onnx"], parent="p")


@pytest.mark.parametrize("form", sorted(GRAPH_FORMS))
def test_every_form_that_computes_is_judged_without_a_device_unless_asked(form: Form) -> None:
    default, *others = runtimes_of(form)
    assert default in ("onnxruntime-cpu", "mindspore-cpu", "answers")
    assert others  # and can be asked on one


def test_weights_have_no_runtime() -> None:
    assert runtimes_of(Form.SAFETENSORS) == []


@pytest.mark.parametrize("name", RUNTIMES)
def test_another_form_is_refused_with_what_runs_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for form in Form:
        artifact = Artifact.of(form, tmp_path, ["file"], parent="p")
        if form in RUNTIMES[name].forms:
            check_runtime(artifact, name)
            continue
        with pytest.raises(SpecError) as caught:
            check_runtime(artifact, name)
        assert caught.value.exit_code == ExitCode.INPUT
        assert f"{name} does not run {form}" in str(caught.value)
        assert all(known in str(caught.value) for known in runtimes_of(form))


def test_the_cpu_says_so(tmp_path: Path) -> None:
    with open_runner(graph(tmp_path), DEFAULT_LIMITS) as runner:
        assert (runner.name, runner.level) == ("onnxruntime-cpu", CPU)


def test_an_onnxruntime_without_the_provider(tmp_path: Path) -> None:
    said = (
        r"^onnxruntime-cann: .*model\.onnx: not loaded: this onnxruntime \S+ has no "
        r"CANNExecutionProvider; .*pip install onnxruntime-cann 'numpy<2'$"
    )
    with pytest.raises(ToolchainError, match=said) as caught:
        open_runner(graph(tmp_path), DEFAULT_LIMITS, "onnxruntime-cann")
    assert not caught.value.transient
    assert caught.value.exit_code == ExitCode.UNABLE


def test_what_is_no_type_of_numpy_does_not_travel(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match=r"model\.onnx: 'x' is bfloat16, which"):
        open_runner(graph(tmp_path, "bfloat16"), DEFAULT_LIMITS, "onnxruntime-cann")


@pytest.mark.mindspore
def test_a_mindspore_that_reaches_no_device(tmp_path: Path) -> None:
    made = convert(graph(tmp_path).path, tmp_path, inputs=(), parent="p")
    said = (
        r"^MindSpore: .*model\.mindir: not loaded: it does not reach an Ascend device; .*"
        r"set_env\.sh.* \(Unsupported device target Ascend\)$"
    )
    with pytest.raises(ToolchainError, match=said) as caught:
        open_runner(made, DEFAULT_LIMITS, "mindspore-ascend")
    assert caught.value.exit_code == ExitCode.UNABLE


@pytest.mark.parametrize(
    ("missing", "said"), [("acl", "part of CANN"), ("ais_bench", "on no package index")]
)
def test_ais_bench_is_missing(
    missing: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ais_bench.MODULES:
        if module != missing:
            (tmp_path / f"{module}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ToolchainError, match=f"module {missing} is not installed .*{said}"):
        ais_bench.check_installed()


def test_a_compiled_file_is_asked_nothing_without_a_golden_file(tmp_path: Path) -> None:
    (tmp_path / "model.om").write_bytes(b"")
    artifact = Artifact.of(Form.OM, tmp_path, ["model.om"], parent="p")
    with pytest.raises(CheckError, match="no golden file"):
        open_runner(artifact, DEFAULT_LIMITS, "ais_bench")
