"""What a call depends on: `dead` never counts, `live` always does, whatever way its values take."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.validators import toys
from torch import Tensor, nn

Use = Callable[["Two", Tensor], Tensor]


class Two(nn.Module):
    """A layer whose result is thrown away, and one whose result ``use`` puts to use."""

    use: Use
    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.live, self.dead = nn.Linear(8, 8), nn.Linear(8, 8)
        self.register_buffer("kept", torch.zeros(2, 8))

    def forward(self, x: Tensor) -> Tensor:
        # Its memory is free again at once, and what comes next may well lie there.
        torch.relu(self.dead(x)).sum()
        return type(self).use(self, x)


def _plain(model: Two, x: Tensor) -> Tensor:
    return torch.relu(model.live(x)).clone()


def _through_a_view(model: Two, x: Tensor) -> Tensor:
    y = torch.zeros(4, 8)
    y[1:3].copy_(model.live(x))
    return y.T


def _in_place(model: Two, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    torch.add(model.live(x), 1, out=y)
    return y


def _by_lists(model: Two, x: Tensor) -> Tensor:
    parts = [x.clone(), x.clone()]
    torch._foreach_add_(parts, [model.live(x)] * 2)
    return torch.cat(parts)


def _by_a_branch(model: Two, x: Tensor) -> Tensor:
    return x + 1 if model.live(x).sum() > 0 else x - 1


def _by_a_size(model: Two, x: Tensor) -> Tensor:
    return torch.ones(len((model.live(x) > 0).nonzero()))


def _by_its_state(model: Two, x: Tensor) -> Tensor:
    model.kept.copy_(model.live(x))
    return x + 1


USES: list[Use] = [
    _plain, _through_a_view, _in_place, _by_lists, _by_a_branch, _by_a_size, _by_its_state,
]  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_what_reaches_the_results(use: Use, tmp_path: Path) -> None:
    kind = type("Model", (Two,), {"use": staticmethod(use)})
    feeds = {"x": np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)}
    found = toys.original(kind, tmp_path).weights(feeds)
    used = {name for name, weight in found.items() if weight.used}
    assert used - {"kept"} == {"live.weight", "live.bias"}
