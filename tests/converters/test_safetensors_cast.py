"""Casts on the way to the file: torch's bits, and every loss counted."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open
from safetensors.numpy import save_file

from ascend_migrate.converters import checkpoint_to_safetensors
from ascend_migrate.converters.safetensors_cast import CASTS, Loss, cast
from ascend_migrate.converters.safetensors_layout import Stored
from ascend_migrate.flows import steps
from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.precision import Precision
from ascend_migrate.pipeline.records import Outcome
from ascend_migrate.pipeline.registry import OciRegistry
from ascend_migrate.pipeline.spec import read_spec
from ascend_migrate.validators.ledger import ledger
from ascend_migrate.validators.ledger.stored_weights import stored_weights
from ascend_migrate.validators.ledger.weights import weights_of_checkpoint

ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}


def stored(array: np.ndarray, cut: int = 1 << 19) -> Stored:
    data = array.tobytes()

    def pieces() -> Iterator[memoryview]:
        return (memoryview(data)[at : at + cut] for at in range(0, len(data), cut))

    return Stored("w", array.dtype.name, array.shape, pieces)


def cast_bytes(array: np.ndarray, dtype: str, cut: int = 1 << 19) -> tuple[bytes, Loss]:
    loss = Loss()
    return b"".join(cast(stored(array, cut), dtype, loss).pieces()), loss


@pytest.mark.parametrize("dtype", CASTS)
@settings(max_examples=50, deadline=None)
@given(data=st.data(), cut=st.integers(1, 97))
def test_torch_has_the_same_bits(dtype: str, data: st.DataObject, cut: int) -> None:
    array = data.draw(arrays.arrays(np.float32, st.integers(1, 40), elements={"allow_nan": False}))
    want = torch.from_numpy(array).to(getattr(torch, dtype))
    found, loss = cast_bytes(array, dtype, cut)
    assert found == want.view(torch.uint8).numpy().tobytes()
    back = want.double().numpy()
    assert loss.overflowed == np.count_nonzero(np.isinf(back) & np.isfinite(array))
    assert loss.vanished == np.count_nonzero((back == 0) & (array != 0))
    kept = np.isfinite(back) & (back != 0)
    exact = array[kept].astype(np.float64)
    assert loss.change >= np.abs((back[kept] - exact) / exact).max(initial=0)


@pytest.mark.parametrize(("dtype", "roundoff"), ROUNDOFF.items())
def test_ordinary_weights_change_by_no_more_than_rounding(dtype: str, roundoff: float) -> None:
    array = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    _, loss = cast_bytes(array, dtype)
    assert loss == Loss(1, 0, 0, roundoff)
    assert loss.said(dtype).startswith(f"1 tensors were cast to {dtype}: 0 elements became infin")


@pytest.mark.parametrize("dtype", CASTS)
def test_a_nan_stays_one(dtype: str) -> None:
    found, loss = cast_bytes(np.array([np.nan, 1], np.float32), dtype)
    back = torch.frombuffer(bytearray(found), dtype=getattr(torch, dtype)).isnan()
    assert back.tolist() == [True, False]
    assert (loss.overflowed, loss.vanished) == (0, 0)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float64", "float8_e4m3fn", "bfloat16"])
def test_others_are_left_as_they_are(dtype: str) -> None:
    tensor = Stored("w", dtype, (1,), lambda: iter(()))
    assert cast(tensor, "bfloat16", Loss()) is tensor


def saved(folder: Path, **more: np.ndarray) -> Path:
    state: dict[str, np.ndarray] = {
        "w": np.linspace(-1, 1, 99, dtype=np.float32),
        "ids": np.arange(3),
    }
    save_file({**state, **more}, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def migrated(folder: Path, dtype: str, **more: np.ndarray) -> steps.Migration:
    saved(folder, **more)
    spec = folder / "migration.toml"
    spec.write_text(
        'name = "toy"\nto = ["safetensors"]\nsource.path = "weights.safetensors"\n'
        f'safetensors.store_as = "{dtype}"\n'
    )
    return steps.migrate(steps.open_workspace(read_spec(spec), lambda _line: None))


@pytest.mark.parametrize("dtype", CASTS)
def test_a_cast_is_judged_and_published_with_what_it_lost(dtype: str, tmp_path: Path) -> None:
    done = migrated(tmp_path, dtype)
    assert done.verdict.outcome is Outcome.PASS
    (equal,) = (f for f in done.verdict.findings if f.check == "weights.equal")
    assert f"1 of 2 tensors bit-equal; 1 equal after the cast to {dtype}" in equal.note
    served = OciRegistry(tmp_path / "registry").pull("toy", tmp_path / "served")
    with safe_open(served / "model.safetensors", "pt") as file:
        np.testing.assert_array_equal(
            file.get_tensor("w").view(torch.uint8),
            torch.from_numpy(np.linspace(-1, 1, 99, dtype=np.float32))
            .to(getattr(torch, dtype))
            .view(torch.uint8),
        )
        assert file.get_tensor("ids").dtype == torch.int64


def test_weights_that_the_type_cannot_hold_are_refused(tmp_path: Path) -> None:
    done = migrated(tmp_path, "float16", big=np.array([70000, 1], np.float32))
    assert done.verdict.outcome is Outcome.FAIL
    assert done.publication is None
    (fault,) = (f for f in done.verdict.findings if f.outcome is Outcome.FAIL)
    assert (fault.subject, fault.note) == ("big", "the cast to float16 makes 1 infinite")


def test_a_cast_that_rounds_otherwise_is_found(tmp_path: Path) -> None:
    """Cut off instead of rounded: the commonest wrong way to make bfloat16."""
    checkpoint = open_checkpoint(saved(tmp_path))
    made = tmp_path / "made"
    made.mkdir()
    artifact = checkpoint_to_safetensors.convert(checkpoint, made, dtype="bfloat16")
    weights = weights_of_checkpoint(checkpoint, precision=Precision("bfloat16"))

    def outcomes() -> set[Outcome]:
        stored = stored_weights(artifact)
        return {f.outcome for f in ledger.check_equal(artifact.form, weights, stored, cast=True)}

    assert outcomes() == {Outcome.PASS}
    cut = (checkpoint.read("w").view(np.uint32) >> 16).astype(np.uint16)
    data = bytearray(artifact.path.read_bytes())
    data[-cut.nbytes :] = cut.tobytes()
    artifact.path.write_bytes(data)
    assert Outcome.FAIL in outcomes()


def bits_of_all_kinds() -> np.ndarray:
    """Every exponent and sign with the bits around each tie and each end of both lower types."""
    tops = np.arange(1 << 9, dtype=np.uint32)[:, None] << 23
    kept = np.array([0, 1, 2, 3, 0x1FF, 0x200, 0x3FE, 0x3FF], np.uint32)[:, None] << 13
    low = np.array([0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFE, 0x1FFF, 0x7FFF, 0x8000, 0x8001], np.uint32)
    fractions = (kept + low).reshape(-1) & 0x7FFFFF
    return (tops | fractions).reshape(-1)


@pytest.mark.parametrize("dtype", CASTS)
def test_the_bits_are_torchs_for_every_exponent(dtype: str) -> None:
    array = bits_of_all_kinds().view(np.float32)
    found, _ = cast_bytes(array, dtype)
    want = torch.from_numpy(array).to(getattr(torch, dtype))
    back = torch.frombuffer(bytearray(found), dtype=want.dtype)
    assert torch.equal(back.isnan(), torch.from_numpy(np.isnan(array)))
    number = ~back.isnan()
    assert torch.equal(back.view(torch.int16)[number], want.view(torch.int16)[number])
