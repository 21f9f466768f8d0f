"""A refusal to trace names the line of the model that is at fault."""

import pytest
import torch
from tests.converters.exporting import specs
from torch import Tensor, nn

from ascend_migrate.converters.torch_capture import capture
from ascend_migrate.converters.torch_place import place_of
from ascend_migrate.pipeline.errors import ConversionError


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return torch.relu(x)


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Branching()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x) + 1
        return found


def test_the_innermost_line_of_the_model_is_named() -> None:
    with pytest.raises(ConversionError) as raised:
        capture(Outer(), specs(["x=float32[n=1..4,3]"]), keywords=True)
    line = Branching.forward.__code__.co_firstlineno + 1
    assert f"at test_torch_place.py:{line} (if x.sum() > 0:): Could not guard" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_error_without_a_line_of_the_model_has_no_place() -> None:
    assert place_of(RuntimeError("never raised")) == ""
