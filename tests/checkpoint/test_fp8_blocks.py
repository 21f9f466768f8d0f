"""Blocks of 8-bit floats become what the publisher's own script makes of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ascend_migrate.pipeline.checkpoint import open_checkpoint
from ascend_migrate.pipeline.checkpoint.fp8_blocks import dequantised, scales_shape
from ascend_migrate.pipeline.errors import SourceError

SHAPES = [(1, 1), (128, 128), (129, 257), (300, 100), (64, 512)]


def plain(weight: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The definition, spelled with torch."""
    rows, columns = weight.shape
    wide = scales.repeat_interleave(128, 0)[:rows].repeat_interleave(128, 1)[:, :columns]
    return (weight.to(torch.float32) * wide).to(torch.bfloat16)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=10, deadline=None)
@given(cut=st.sampled_from([50, 999, 1 << 14, 1 << 19]), seed=st.integers(0, 2**16))
def test_bit_equal_whatever_the_pieces(shape: tuple[int, int], cut: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, 256, size=shape, dtype=np.uint8)
    codes[(codes & 0x7F) == 0x7F] = 0  # NaN, of which there are several
    scales = generator.uniform(1e-5, 2, size=scales_shape(shape)).astype(np.float32)
    data = codes.tobytes()
    pieces = (memoryview(data[at : at + cut]) for at in range(0, len(data), cut))
    found = b"".join(dequantised(pieces, scales, shape[1]))
    weight = torch.from_numpy(codes).view(torch.float8_e4m3fn)
    want = plain(weight, torch.from_numpy(scales))
    assert found == want.view(torch.uint8).numpy().tobytes()


def saved(folder: Path, **changed: torch.Tensor) -> Path:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(300, 200, generator=generator).to(torch.float8_e4m3fn)
    state = {
        "a.weight": weight,
        "a.weight_scale_inv": torch.rand(3, 2, generator=generator),
        "b.weight": torch.ones(3),
    }
    save_file(state | changed, folder / "model.safetensors")
    return folder / "model.safetensors"


def test_asked_for_the_scales_are_gone_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    path = saved(tmp_path)
    state = load_file(path)
    checkpoint = open_checkpoint(path, unpack=["fp8_blocks"])
    assert sorted(checkpoint.tensors) == ["a.weight", "b.weight"]
    assert checkpoint.tensors["a.weight"].dtype == "bfloat16"
    want = plain(state["a.weight"], state["a.weight_scale_inv"]).view(torch.uint8).numpy()
    assert checkpoint.read("a.weight").tobytes() == want.tobytes()
    assert b"".join(checkpoint.pieces("a.weight")) == want.tobytes()
    assert checkpoint.read("b.weight").tolist() == [1, 1, 1]


def test_not_asked_for_nothing_changes(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(saved(tmp_path))
    assert checkpoint.tensors["a.weight"].dtype == "float8_e4m3fn"
    assert "a.weight_scale_inv" in checkpoint.tensors


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"a.weight_scale_inv": torch.rand(2, 2)}, r"has \[2, 2\] scales .* not \[3, 2\]"),
        ({"a.weight": torch.zeros(300, 200)}, r"is float32\[300, 200\] with float32 scales"),
        ({"a.weight_scale_inv": torch.rand(3, 2).half()}, r"with float16 scales"),
    ],
)
def test_scales_that_do_not_fit(
    changed: dict[str, torch.Tensor], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=said):
        open_checkpoint(saved(tmp_path, **changed), unpack=["fp8_blocks"])
