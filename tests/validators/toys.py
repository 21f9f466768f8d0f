"""Small models, each with one property that a validator must get right."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ascend_migrate.converters import checkpoint_to_safetensors, torch_to_onnx
from ascend_migrate.pipeline.checkpoint import Checkpoint, open_checkpoint
from ascend_migrate.pipeline.inputs import InputSpec, parse_inputs
from ascend_migrate.pipeline.model import load_state
from ascend_migrate.pipeline.records import Artifact
from ascend_migrate.validators.cases import make_cases
from ascend_migrate.validators.golden import Golden, capture, read_golden
from ascend_migrate.validators.torch_original import TorchOriginal


def specs(*texts: str) -> tuple[InputSpec, ...]:
    inputs, faults = parse_inputs(texts)
    assert not faults
    return inputs


X = specs("x=float32[batch=1..4,8]")


class Plain(nn.Module):
    """Two layers, a buffer that is read and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.norm = nn.LayerNorm(16)
        self.second = nn.Linear(16, 5)
        self.register_buffer("scale", torch.tensor([2.0]))
        self.register_buffer("count", torch.tensor([7]))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(torch.tanh(self.norm(self.first(x)))) * self.scale
        return y


class Stateful(Plain):
    """Adds what it returned last time, as recurrent models of ten years ago do."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x).mean(0)
        self.last = y + self.last
        return self.last


class Narrow(Plain):
    """Casts to float32 in its code, and holds a table that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.linspace(0, 1, 5) / 3
        self.parts = [torch.full((5,), 0.1)]

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x).to(torch.float32)
        return y + self.table + self.parts[0] + torch.ones(5, dtype=torch.float32) / 3


class Named(nn.Module):
    """Returns a dictionary with a tensor, nothing, a number and a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = Plain()

    def forward(self, x: Tensor) -> dict[str, object]:
        y = self.plain(x)
        return {"logits": y, "loss": None, "size": 3, "states": (y * 2, y * 3), "x": y + 1}


class Failing(Plain):
    """Raises on more than two rows."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > 2:
            raise IndexError("too many\nrows")
        return super().forward(x)


def checkpoint_of(model: nn.Module, folder: Path) -> Checkpoint:
    """Saves the model's state with seeded values and opens it."""
    generator = torch.Generator().manual_seed(5)
    state = {
        name: torch.rand(t.shape, generator=generator) - 0.5 if t.is_floating_point() else t
        for name, t in model.state_dict().items()
    }
    save_file(state, folder / "weights.safetensors")
    return open_checkpoint(folder / "weights.safetensors")


GOLDEN = "golden.safetensors"


def exported(kind: type[nn.Module], folder: Path) -> tuple[Artifact, Golden]:
    """Returns the ONNX form of a model that takes `X`, and what it answers, kept as `GOLDEN`."""
    checkpoint = checkpoint_of(kind(), folder)
    (folder / "made").mkdir()
    weights = checkpoint_to_safetensors.convert(checkpoint, folder / "made")
    model = kind().eval()
    load_state(model, checkpoint)
    artifact = torch_to_onnx.convert(
        model, X, folder / "made", weights=weights.path, parent=checkpoint.digest
    )
    cases = make_cases(X, seed=0, count=4)
    capture(original(kind, folder), cases, folder / GOLDEN, source=checkpoint.digest)
    return artifact, read_golden(folder / GOLDEN)


def original(kind: type[nn.Module], folder: Path) -> TorchOriginal:
    """An original of that kind, on the checkpoint that `checkpoint_of` writes."""
    checkpoint = checkpoint_of(kind(), folder)

    def build() -> nn.Module:
        model = kind().eval()
        load_state(model, checkpoint)
        return model

    return TorchOriginal(build, checkpoint)
