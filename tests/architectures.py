"""Small models of the families that people migrate, each with its declared inputs.

Weights are seeded and of trained size: with those of a fresh model outputs are nearly flat, and a
fault moves them too little to tell anything.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from ascend_migrate.pipeline.checkpoint import Checkpoint, open_checkpoint
from ascend_migrate.pipeline.inputs import InputSpec, parse_inputs
from ascend_migrate.pipeline.model import load_state


@dataclass(frozen=True)
class Architecture:
    """A model class and what it is fed."""

    build: Callable[[], nn.Module]
    inputs: tuple[str, ...]


Source = tuple[Callable[[], nn.Module], Checkpoint, tuple[InputSpec, ...]]
"""What builds a model with the weights of its checkpoint; the checkpoint; the inputs."""


def saved(
    make: Callable[[], nn.Module],
    inputs: Iterable[str],
    file: Path,
    state: Mapping[str, Tensor] | None = None,
) -> Source:
    """Writes the weights of a model, or ``state`` in their place, and returns it as a source."""
    specs, faults = parse_inputs(inputs)
    assert not faults
    tensors = make().state_dict() if state is None else state
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    checkpoint = open_checkpoint(file)

    def build() -> nn.Module:
        model = make().eval()
        load_state(model, checkpoint)
        return model

    return build, checkpoint, specs


def trained(model: nn.Module, gain: float = 2.0) -> nn.Module:
    """Gives every layer weights and statistics like those of a trained model."""
    torch.manual_seed(11)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.weight.data.normal_(0, gain / math.sqrt(module.weight[0].numel()))
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d | nn.GroupNorm | Rms):
            module.weight.data.uniform_(0.5, 1.5)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.5, 2)
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            bias.data.normal_(0, 0.3)
    return model.eval()


class ResNet(nn.Module):
    """Convolutions, batch normalisation, a shortcut, pooling."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(torch.relu(self.stem(x)), 2)
        y = torch.relu(self.first_norm(self.first(x)))
        x = torch.relu(x + self.second_norm(self.second(y)))
        found: Tensor = self.head(x.mean((2, 3)))
        return found


class BertLayer(nn.Module):
    """Attention over a padded batch, then a feed-forward block, each with its normalisation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        def split(y: Tensor) -> Tensor:
            return y.view(*y.shape[:2], self.heads, -1).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + bias
        mixed = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(x.shape)
        x = self.attention_norm(x + self.output(mixed))
        found: Tensor = self.norm(x + self.down(functional.gelu(self.up(x))))
        return found


class Bert(nn.Module):
    """An encoder with a mask that pads."""

    def __init__(self, width: int = 32, layers: int = 2, vocabulary: int = 60) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(32, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(BertLayer(width, 4) for _ in range(layers))
        self.head = nn.Linear(width, vocabulary)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        places = self.places(torch.arange(input_ids.shape[1]))
        x = self.norm(self.words(input_ids) + places[None])
        bias = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, bias)
        found: Tensor = self.head(x)
        return found


class Rms(nn.Module):
    """Root-mean-square normalisation, computed in float32 whatever the model's type."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = x.to(torch.float32)
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * y.to(x.dtype)


class LlamaLayer(nn.Module):
    """Causal attention with rotary positions and shared keys, then a gated block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.k, self.v = (nn.Linear(width, width // 2, bias=False) for _ in range(2))
        self.o = nn.Linear(width, width, bias=False)
        self.gate, self.up = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(2 * width, width, bias=False)
        self.attention_norm, self.norm = Rms(width), Rms(width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        y = self.attention_norm(x)

        def split(z: Tensor, heads: int) -> Tensor:
            return z.view(*z.shape[:2], heads, -1).transpose(1, 2)

        def turned(z: Tensor) -> Tensor:
            left, right = z.chunk(2, -1)
            return z * cos + torch.cat([-right, left], -1) * sin

        query = turned(split(self.q(y), self.heads))
        key = turned(split(self.k(y), self.heads // 2)).repeat_interleave(2, 1)
        value = split(self.v(y), self.heads // 2).repeat_interleave(2, 1)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(x.shape))
        y = self.norm(x)
        found: Tensor = x + self.down(functional.silu(self.gate(y)) * self.up(y))
        return found


class Llama(nn.Module):
    """A decoder without a cache."""

    def __init__(self, width: int = 32, layers: int = 2, vocabulary: int = 60) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(LlamaLayer(width, 4) for _ in range(layers))
        self.norm = Rms(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        pace = 1.0 / 10000 ** (torch.arange(0, width // 4, 2).float() / (width // 4))
        self.register_buffer("pace", pace, persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.words(input_ids)
        turns = torch.outer(torch.arange(input_ids.shape[1]).float(), self.pace)  # type: ignore[arg-type]
        turns = torch.cat([turns, turns], -1)
        for layer in self.layers:
            x = layer(x, turns.cos(), turns.sin())
        found: Tensor = self.head(self.norm(x))
        return found


class UNet(nn.Module):
    """Down and up again, by transposed convolution and by bilinear resize."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.fine = self.block(1, channels)
        self.middle = self.block(channels, 2 * channels)
        self.coarse = self.block(2 * channels, 4 * channels)
        self.up = nn.ConvTranspose2d(4 * channels, 2 * channels, 2, 2)
        self.join = self.block(4 * channels, 2 * channels)
        self.last = self.block(3 * channels, channels)
        self.head = nn.Conv2d(channels, 1, 1)

    @staticmethod
    def block(inner: int, outer: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inner, outer, 3, padding=1),
            nn.BatchNorm2d(outer),
            nn.SiLU(),
            nn.Conv2d(outer, outer, 3, padding=1),
            nn.GroupNorm(4, outer),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        middle = self.middle(functional.max_pool2d(fine, 2))
        coarse = self.coarse(functional.max_pool2d(middle, 2))
        y = self.join(torch.cat([self.up(coarse), middle], 1))
        y = functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        return torch.sigmoid(self.head(self.last(torch.cat([y, fine], 1))))


class Recurrent(nn.Module):
    """A bidirectional LSTM of two layers, then a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 12, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(24, 10, batch_first=True)
        self.head = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.gru(self.lstm(x)[0])[0])
        return found


ARCHITECTURES = {
    "resnet": Architecture(lambda: trained(ResNet()), ("x=float32[batch=1..4,3,16,16]",)),
    "bert": Architecture(
        lambda: trained(Bert()),
        ("input_ids=int64[batch=1..4,time=2..16]:0..59", "attention_mask=int64[batch,time]:0..1"),
    ),
    "llama": Architecture(
        lambda: trained(Llama()), ("input_ids=int64[batch=1..4,time=2..16]:0..59",)
    ),
    "unet": Architecture(lambda: trained(UNet()), ("x=float32[batch=1..3,1,16,16]",)),
    "recurrent": Architecture(lambda: trained(Recurrent()), ("x=float32[batch=1..4,7,6]",)),
}
