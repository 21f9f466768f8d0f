"""Recurrent layers over a time of any length, with and without states that are fed."""

import torch
from tests.architectures import Architecture
from torch import Tensor, nn


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 16, 2, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> dict[str, Tensor]:
        y, (h, c) = self.rnn(x, (h, c))
        # The reshape asks for the time dimension behind the layer, where it must still be dynamic.
        return {"logits": self.head(y.reshape(y.shape[0] * y.shape[1], 16)), "h": h, "c": c}


class Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.rnn(x)
        return y, h


RECURRENT = {
    "lstm": Architecture(
        lambda: seeded(Recurrent),
        ("x=float32[n=1..8,t=1..32,8]", "h=float32[2,n,16]", "c=float32[2,n,16]"),
    ),
    "gru": Architecture(lambda: seeded(Gru), ("x=float32[n=1..8,t=1..32,4]",)),
}


def seeded(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(11)
    return kind().eval()
