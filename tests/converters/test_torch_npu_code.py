"""What is said of code, rule by rule, and of what is not code."""

import sys
from pathlib import Path

import pytest
from tests.converters.torch_npu_cases import CASES, SILENT, Case
from tests.converters.torch_npu_page import PAGE, page

from ascend_migrate.converters.torch_npu.code import Seen, read_module
from ascend_migrate.converters.torch_npu.modules import MAX_BYTES, read_code
from ascend_migrate.pipeline.errors import ModelError, SourceError
from ascend_migrate.pipeline.torch_npu.rules import load_rules


def _seen(code: str) -> tuple[Seen, ...]:
    return read_module(f"import torch\n{code}\n".encode(), "").seen


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}: {case.code[-40:]}")
def test_each_rule_is_met_by_its_code(case: Case) -> None:
    lines = case.code.split("\n")
    last = next(n for n, line in enumerate(lines, 2) if n == len(lines) + 1 or line[0] == "@")
    found = [(item.line, item.becomes) for item in _seen(case.code) if item.rule == case.rule]
    assert (last, case.becomes) in found


def test_every_rule_about_code_has_a_case() -> None:
    assert {item.rule.id for item in load_rules().code} == {case.rule for case in CASES}


def test_the_page_has_the_rules() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.converters.torch_npu_page"


@pytest.mark.parametrize("code", SILENT.values(), ids=SILENT)
def test_nothing_is_said_of(code: str) -> None:
    assert _seen(code) == ()


def test_one_place_is_quoted_from_its_source() -> None:
    code = 'y = net(x).cuda(\n    non_blocking=True,\n)  # moved\nz = "µ", x.is_cuda'
    assert _seen(code) == (
        Seen(2, "cuda-method", "net(x).cuda( non_blocking=True, )", ".npu(non_blocking=True)"),
        Seen(5, "is-cuda", "x.is_cuda", ".is_npu"),
    )


def test_another_encoding_is_quoted_as_it_reads() -> None:
    source = "# coding: latin-1\nimport torch\na = 'ü', torch.isin(x, 'ä')\n".encode("latin-1")
    assert [(item.line, item.found) for item in read_module(source, "").seen] == [(3, "torch.isin")]


def test_a_module_of_the_project_is_not_taken_for_a_package_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import kernels\nkernels.go().cuda()\n")
    (tmp_path / "kernels.py").write_text("def go(): pass\n")
    code = read_code("net:Net", tmp_path)
    assert [(m.path, [s.rule for s in m.seen]) for m in code.modules] == [
        ("kernels.py", []),
        ("net.py", ["cuda-method"]),
    ]


def test_what_the_model_imports_of_its_project_is_read_and_never_run(tmp_path: Path) -> None:
    package = tmp_path / "models"
    (package / "layers").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    (package / "net.py").write_text(
        "import numpy, json, torch\nfrom .layers import block\nfrom . import tools as t\n"
        "import aside\nraise SystemExit('imported')\n"
    )
    (package / "layers" / "block.py").write_text("from ..tools import go\nx = 'cuda'\n")
    (package / "tools.py").write_text("from models import net\n")
    (package / "unused.py").write_text("x = 'cuda'\n")
    (tmp_path / "aside.py").write_text("def f(:\n")
    code = read_code("models.net:Net", tmp_path)
    assert [item.path for item in code.modules] == [
        "models/__init__.py",
        "models/layers/block.py",
        "models/net.py",
        "models/tools.py",
    ]
    assert code.unread == {
        "aside.py": "is not Python: line 1: invalid syntax",
        "numpy": "another package",
    }
    assert [(m.path, s.line) for m in code.modules for s in m.seen] == [
        ("models/layers/block.py", 2)
    ]
    assert "models" not in sys.modules


def test_an_installed_model_is_read_with_its_package() -> None:
    code = read_code("wave:open", None)
    assert [item.path for item in code.modules] == ["wave.py"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"def f(:\n", "is not Python: line 1: invalid syntax"),
        (b"x = '\xff'\n", "is not Python: line 1: (unicode error)"),
        (b"# coding: nosuch\n", "is not Python: unknown encoding: nosuch"),
        (b"x = 1\0\n", "is not Python: source code string cannot contain null bytes"),
        (b"-" * 200_000 + b"1", "is nested more deeply than Python's parser goes"),
        (b"x" + b".a" * 100_000, "is nested more deeply than Python's parser goes"),
        (b"(" * 5_000, "is not Python: line 1: too many nested parentheses"),
        (b"#" * (MAX_BYTES + 1), f"is larger than code is ({MAX_BYTES} bytes)"),
    ],
)
def test_what_is_no_code_is_one_line(tmp_path: Path, source: bytes, reason: str) -> None:
    (tmp_path / "hostile.py").write_bytes(source)
    with pytest.raises(ModelError) as caught:
        read_code("hostile:Net", tmp_path)
    text = str(caught.value)
    assert text.startswith(f"model hostile:Net: {tmp_path / 'hostile.py'} {reason}")
    assert "\n" not in text


def test_a_table_of_many_arguments_takes_no_long_time() -> None:
    many = ", ".join(f"name_{i}={i}" for i in range(20_000))
    code = f"t = dict({many})\ny = f({', '.join(['x'] * 20_000)}, pin_memory=True)"
    assert [item.rule for item in _seen(code)] == ["pin-memory"]


def test_a_long_sum_is_walked() -> None:
    code = "x = " + " + ".join(["1"] * 2_000 + ["y.double()"])
    assert [item.rule for item in _seen(code)] == ["float64"]


def test_an_absent_module_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"there is no module 'nowhere\.at_all' to look at"):
        read_code("nowhere.at_all:Net", None)


def test_a_compiled_module_is_not_read() -> None:
    with pytest.raises(ModelError, match=r"is compiled \(.so\), not Python source"):
        read_code("_json:Net", None)


def test_not_python_says_where() -> None:
    with pytest.raises(SourceError, match="is not Python: line 2: invalid syntax"):
        read_module(b"x = 1\nx = = 2\n", "")
