"""What inputs and outputs are called."""

from collections import OrderedDict, namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from ascend_migrate.pipeline.model_call import called_by_name, named_outputs

ONE, TWO, THREE = torch.ones(1), torch.ones(2), torch.ones(3)
Pair = namedtuple("Pair", ["logits", "state"])


def module(forward: Callable[..., Any]) -> nn.Module:
    made = nn.Module()
    made.forward = forward
    return made


@pytest.mark.parametrize(
    ("forward", "names", "by_name"),
    [
        (lambda x, y: x, ["x", "y"], True),
        (lambda x, y=None: x, ["x"], True),
        (lambda *, x: x, ["x"], True),
        (lambda x: x, ["y"], False),
        (lambda x, /: x, ["x"], False),
        (lambda *x: x, ["x"], False),
        (lambda **x: x, ["x"], False),
    ],
)
def test_inputs_go_by_name_where_forward_has_them(
    forward: Callable[..., Any], names: Sequence[str], by_name: bool
) -> None:
    assert called_by_name(module(forward), names) is by_name


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        (ONE, {"output_0": 1}),
        ((ONE, TWO), {"output_0": 1, "output_1": 2}),
        ([ONE, 7, None, TWO], {"output_0": 1, "output_1": 2}),
        (((ONE,), [TWO, (THREE,)]), {"output_0": 1, "output_1": 2, "output_2": 3}),
        ({"logits": ONE, "loss": None, "hidden": TWO}, {"logits": 1, "hidden": 2}),
        (OrderedDict(b=ONE, a=TWO), {"b": 1, "a": 2}),
        (Pair(ONE, (TWO, THREE)), {"logits": 1, "state_0": 2, "state_1": 3}),
        ({"a": [ONE, TWO], "b": {"c": THREE}}, {"a_0": 1, "a_1": 2, "b": 3}),
        ({"x": ONE}, {"x_out": 1}),
        ({"a b": ONE, "a-b": TWO, 5: THREE}, {"a_b": 1, "a_b_": 2, "5": 3}),
        (7, {}),
        (None, {}),
    ],
)
def test_outputs_are_called_by_their_keys(result: Any, wanted: dict[str, int]) -> None:
    found = named_outputs(result, inputs=["x"])
    assert {name: value.numel() for name, value in found.items()} == wanted
    assert list(found) == list(wanted)
