import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from tests.validators import toys
from torch import Tensor, nn

from ascend_migrate.pipeline.digest import file_digest
from ascend_migrate.pipeline.errors import EvidenceError, ModelError
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import capture, read_golden
from ascend_migrate.validators.localisation import on_record
from ascend_migrate.validators.localisation.on_record import OnRecord, read_record
from ascend_migrate.validators.localisation.sketch import distances, sketch
from ascend_migrate.validators.original import Traced

CASES = make_cases(toys.X, seed=0, count=2)
SOURCE = "sha256:" + "0" * 64


def record(kind: type[nn.Module], folder: Path) -> Path:
    path = folder / "golden.safetensors"
    names = capture(toys.original(kind, folder), CASES, path, source=SOURCE)
    assert names == [case.name for case in CASES]
    return path


def test_what_is_read_is_what_was_recorded(tmp_path: Path) -> None:
    path = record(toys.Plain, tmp_path)
    golden = read_golden(path)
    session = toys.original(toys.Plain, tmp_path).session()
    assert (golden.source, golden.digest, golden.no_exact) == (SOURCE, file_digest(path), "")
    assert golden.about["device"] == "cpu"
    assert set(golden.weights) == set(toys.Plain().state_dict())
    for case, found in zip(CASES, golden.cases, strict=True):
        assert found.name == case.name
        assert np.array_equal(found.feeds["x"], case.feeds["x"])
        assert np.array_equal(found.own["output_0"], session(case.feeds)["output_0"])
        assert np.array_equal(found.again["output_0"], found.own["output_0"])
        assert found.exact is not None
        assert found.exact["output_0"].dtype == np.float64


def test_same_capture_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = record(toys.Plain, tmp_path), record(toys.Plain, tmp_path / "other")
    assert one.read_bytes() == other.read_bytes()


def with_intermediates(kind: type[nn.Module], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "golden.safetensors"
    capture(toys.original(kind, folder), CASES, path, source=SOURCE, intermediates=True)
    return path


def test_intermediates_are_those_of_the_most_varied_case(tmp_path: Path) -> None:
    path = with_intermediates(toys.Plain, tmp_path)
    found, golden = read_record(path), read_golden(path)
    assert isinstance(found, OnRecord)
    case = next(c for c in golden.cases if c.name == found.case)
    numbers = {c.name: np.unique(c.feeds["x"]).size for c in golden.cases}
    assert numbers[case.name] == max(numbers.values())
    shown: list[Traced] = []
    visit = lambda item: shown.append(replace(item, array=item.array.copy()))  # noqa: E731
    toys.original(toys.Plain, tmp_path).trace(case.feeds, visit)
    assert [(i.name, i.module) for i in found.items] == [(t.name, t.module) for t in shown]
    values = found.values({item.name for item in shown})
    for item, told in zip(shown, found.items, strict=True):
        assert np.array_equal(values[item.name], item.array)
        assert told.own.shape == item.array.shape
        noise, _ = distances(told.own, told.exact.sums)
        assert 0 <= noise < 1e-6 * told.own.scale
    assert case.exact is not None
    last, _ = distances(found.items[-1].exact, sketch(case.exact["output_0"]).sums)
    assert last < 1e-12


def test_same_capture_same_intermediates(tmp_path: Path) -> None:
    one, other = (with_intermediates(toys.Plain, tmp_path / name) for name in "ab")
    assert one.read_bytes() == other.read_bytes()


def test_who_judges_finds_the_same_with_and_without(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    without = read_golden(record(toys.Plain, tmp_path / "a"))
    found = read_golden(with_intermediates(toys.Plain, tmp_path / "b"))
    for one, other in zip(without.cases, found.cases, strict=True):
        assert one.feeds.keys() == other.feeds.keys()
        assert np.array_equal(one.own["output_0"], other.own["output_0"])
    assert read_record(tmp_path / "a/golden.safetensors") == "it was recorded without intermediates"


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_intermediates_fit_in_their_room(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = read_record(with_intermediates(toys.Plain, tmp_path / "whole"))
    assert isinstance(everything, OnRecord)
    room = share * 12 * sum(item.own.sums.size for item in everything.items)
    monkeypatch.setattr(on_record, "LIMIT", int(room))
    monkeypatch.setattr(on_record, "BUCKETS", max(i.own.sums.size for i in everything.items))
    found = read_record(with_intermediates(toys.Plain, tmp_path / "thin"))
    assert isinstance(found, OnRecord)
    assert 12 * sum(item.own.sums.size for item in found.items) <= room
    assert found.complete == (share == 1)
    assert {i.name for i in found.items} <= {i.name for i in everything.items}


def test_damaged_intermediates_are_refused(tmp_path: Path) -> None:
    path = with_intermediates(toys.Plain, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"complete":true', b'"complete";true'))
    with pytest.raises(EvidenceError, match=r"damaged intermediates .*`capture`"):
        read_record(path)


NAME, SHAPE, STRANGE, SCALE = 0, 2, 3, 5
"""Places of what is said of an intermediate."""


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (SHAPE, [-5]),
        (SHAPE, [0]),
        (SHAPE, [1 << 40, 1 << 40]),
        (SHAPE, [999]),
        (SHAPE, "wide"),
        (STRANGE, [float("inf"), 0, 0]),
        (STRANGE, [0, 0]),
        (SCALE, 10**400),
    ],
)
def test_hostile_intermediates_are_refused(
    place: int, value: object, sound: Path, tmp_path: Path
) -> None:
    path = altered(sound, tmp_path, lambda said: said["items"][-1].__setitem__(place, value))
    with pytest.raises(EvidenceError, match=r"damaged intermediates .*`capture`"):
        read_record(path)


def test_what_is_said_instead_of_intermediates_is_one_line(sound: Path, tmp_path: Path) -> None:
    def change(said: dict[str, Any]) -> None:
        del said["items"]
        said["note"] = "x\n\x1b[2Jy"

    path = altered(sound, tmp_path, change)
    assert read_record(path) == "x\\n\\x1b[2Jy"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_intermediates(toys.Plain, tmp_path_factory.mktemp("sound"))


def altered(sound: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Returns a golden file in which something else is said of the intermediates."""
    path, key = folder / "golden.safetensors", "intermediates/about"
    with safe_open(sound, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    said = json.loads(tensors[key].tobytes())
    change(said)
    save_file(tensors | {key: np.frombuffer(json.dumps(said).encode(), np.uint8)}, path, metadata)
    return path


def test_a_second_answer_is_kept_only_where_it_differs(tmp_path: Path) -> None:
    def kept(path: Path) -> bool:
        with safe_open(path, framework="numpy") as file:
            return any("/again/" in name for name in file.keys())  # noqa: SIM118

    (tmp_path / "stateful").mkdir()
    assert not kept(record(toys.Plain, tmp_path))
    path = record(toys.Stateful, tmp_path / "stateful")
    assert kept(path)
    found = read_golden(path).cases[0]
    assert not np.array_equal(found.again["output_0"], found.own["output_0"])


def test_the_failing_case_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"case 'longest batch=4': Failing fails"):
        record(toys.Failing, tmp_path)
    assert not (tmp_path / "golden.safetensors").exists()


class OnlyFloat32(toys.Plain):
    """Stands for an operator without a float64 kernel."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            raise RuntimeError("not implemented for 'Double'")
        return super().forward(x)


def test_a_missing_twin_is_said_and_not_invented(tmp_path: Path) -> None:
    golden = read_golden(record(OnlyFloat32, tmp_path))
    assert "not implemented for 'Double'" in golden.no_exact
    assert golden.cases[0].exact is None


class Narrowing(toys.Plain):
    """How many rows it returns is decided by rounding."""

    def forward(self, x: Tensor) -> Tensor:
        third = torch.ones(1, dtype=x.dtype) / 3
        rows = 1 if float(third) == 1 / 3 else x.shape[0]
        return super().forward(x)[:rows]


def test_a_twin_of_other_sizes_is_none(tmp_path: Path) -> None:
    golden = read_golden(record(Narrowing, tmp_path))
    assert golden.no_exact == "in case longest batch=4 its outputs have other sizes"
    assert golden.cases[0].exact is None


@pytest.mark.parametrize("kind", ["own", "exact"])
def test_outputs_that_are_not_of_one_size_are_refused(kind: str, tmp_path: Path) -> None:
    path = record(toys.Plain, tmp_path)
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    save_file(tensors | {f"1/{kind}/output_0": np.zeros(7)}, path, metadata)
    with pytest.raises(EvidenceError, match=r"case .* are not of one size"):
        read_golden(path)


@pytest.mark.parametrize(("names", "said"), [([], "no case"), (["a\nb", "c"], "")])
def test_names_of_cases_are_one_line_each(names: list[str], said: str, tmp_path: Path) -> None:
    path, key = record(toys.Plain, tmp_path), "ascend_migrate.golden"
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        document = json.loads(file.metadata()[key])
    save_file(tensors, path, {key: json.dumps(document | {"cases": names})})
    if said:
        with pytest.raises(EvidenceError, match=said):
            read_golden(path)
    else:
        assert [case.name for case in read_golden(path).cases] == ["a\\nb", "c"]


def test_damaged_golden_files_are_refused(tmp_path: Path) -> None:
    path = record(toys.Plain, tmp_path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-1], whole.replace(b"golden/2", b"golden/9")):
        path.write_bytes(content)
        with pytest.raises(EvidenceError, match=r"golden\.safetensors: .*`capture`"):
            read_golden(path)
    path.unlink()
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_golden(path)


class Autocast(toys.Plain):
    """Computes in bfloat16 although its weights are float32."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x).float()


class SwitchedOff(toys.Plain):
    """Names autocast only to switch it off, as many models do."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(x)


class Medium(toys.Plain):
    """Lets float32 products be computed in bfloat16, where the processor can."""

    def forward(self, x: Tensor) -> Tensor:
        torch.set_float32_matmul_precision("medium")
        return super().forward(x)


class Newer(toys.Plain):
    """The same for the convolutions of all libraries, by torch's newer setting."""

    def forward(self, x: Tensor) -> Tensor:
        torch.backends.fp32_precision = "tf32"  # type: ignore[attr-defined]
        return super().forward(x)


@pytest.fixture
def torch_settings() -> Iterator[None]:
    yield
    torch.backends.fp32_precision = "none"  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("torch_settings")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Autocast, r"autocast \(cpu bfloat16\)"),
        (Medium, "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'"),
        (Newer, "torch.backends.mkldnn.conv.fp32_precision = 'tf32'"),
    ],
)
def test_less_precision_than_promised_is_refused(
    kind: type[nn.Module], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=f"than the types of its weights: .*{said}") as caught:
        record(kind, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "golden.safetensors").exists()


def test_less_precision_that_is_asked_for_is_said(tmp_path: Path) -> None:
    path = tmp_path / "golden.safetensors"
    original = toys.original(Autocast, tmp_path)
    capture(original, CASES, path, source=SOURCE, precision=Precision("bfloat16"))
    golden = read_golden(path)
    assert golden.about["reduced"] == "autocast (cpu bfloat16)"
    assert golden.about["autocast"] == "cpu bfloat16"


def test_what_decided_the_numbers_is_recorded(tmp_path: Path) -> None:
    about = dict(read_golden(record(SwitchedOff, tmp_path)).about)
    flags = dict(item.split() for item in about.pop("float32").split(", "))
    assert flags["cudnn.conv"] == "tf32"  # torch's default, which nothing here uses
    assert {flags[f"mkldnn.{kind}"] for kind in ("matmul", "conv", "rnn")} <= {"none", "ieee"}
    assert about == {
        "types": "float32",
        "runtime": f"torch {torch.__version__}",
        "device": "cpu",
        "autocast": "off",
        "deterministic": "as torch chooses",
        "libraries": f"python {platform.python_version()}, numpy {np.__version__}",
    }
