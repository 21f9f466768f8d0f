"""Real inputs that the user gives."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.validators.toys import specs

from ascend_migrate.pipeline.errors import SourceError
from ascend_migrate.validators.samples import load_samples

IDS = "ids=int64[batch=1..4,time=2..16]:5..70"
PIXELS = "x=float32[batch,3]"
ARRAYS = {"ids": np.full((2, 9), 7), "x": np.ones((2, 3), np.float32)}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".json"])
def test_samples_become_cases(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sample{suffix}"
    if suffix == ".npz":
        np.savez(path, **ARRAYS)  # type: ignore[arg-type]  # numpy's stub takes only arrays by position
    elif suffix == ".json":
        path.write_text(json.dumps({name: array.tolist() for name, array in ARRAYS.items()}))
    else:
        save_file(ARRAYS, path)
    (case,) = load_samples(path, specs(IDS, PIXELS))
    assert case.name == f"sample {path.name} batch=2 time=9"
    assert set(case.feeds) == set(ARRAYS)
    for name, array in case.feeds.items():
        assert array.dtype == ARRAYS[name].dtype
        assert array.tolist() == ARRAYS[name].tolist()


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_one_input_needs_no_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sample{suffix}"
    if suffix == ".npy":
        np.save(path, ARRAYS["ids"])
    else:
        path.write_text(json.dumps(ARRAYS["ids"].tolist()))
    (case,) = load_samples(path, specs(IDS))
    assert case.feeds["ids"].tolist() == ARRAYS["ids"].tolist()
    with pytest.raises(SourceError, match="without a name, but the model has 2 inputs"):
        load_samples(path, specs(IDS, PIXELS))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"ids": np.full((2, 9), 7)}, "'x' is missing"),
        ({"ids": np.full((2, 9), 7), "x": np.ones((3, 3), np.float32)}, "'x' is float32[3, 3]"),
        ({"ids": np.full((2, 17), 7), "x": np.ones((2, 3), np.float32)}, "'ids' is int64[2, 17]"),
        ({"ids": np.ones((2, 9)), "x": np.ones((2, 3), np.float32)}, "'ids' is float64"),
        ({"ids": np.full((2, 9), 7), "x": np.ones((2, 3)), "y": np.ones(1)}, "'y' is no input"),
    ],
)
def test_a_sample_that_does_not_fit_is_named(
    tmp_path: Path, arrays: dict[str, np.ndarray], said: str
) -> None:
    path = tmp_path / "sample.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(SourceError) as caught:
        load_samples(path, specs(IDS, PIXELS))
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[1.5, 7]]", "'ids' is float64"),
        ("[[true, false]]", "'ids' is bool"),
        ('[["a", "b"]]', "'ids' is str"),
        ("[[7, 7], [7]]", "not a readable"),
        ("[[7, NaN]]", "NaN is no number"),
        ('{"other": [[7, 7]]}', "'other' is no input; 'ids' is missing"),
        ("[" * 100000, "not a readable"),
        ("[[7", "not a readable"),
    ],
)
def test_json_that_is_no_sample_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "sample.json"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        load_samples(path, specs(IDS))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_json_numbers_that_the_type_cannot_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sample.json"
    path.write_text("[[1, 300]]")
    with pytest.raises(SourceError, match=r"'x' is int64\[1, 2\]"):
        load_samples(path, specs("x=uint8[1,2]"))


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N."])
def test_a_damaged_or_pickled_sample_is_refused(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = tmp_path / f"sample{suffix}"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"not a readable"):
        load_samples(path, specs(IDS))
