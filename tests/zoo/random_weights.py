"""Random weights of trained size.

With those of a fresh model (deviation 0.02, statistics 0 and 1) outputs are nearly flat, and a
fault moves them too little to tell anything.
"""

import math

import torch
from torch import nn


def fill(model: nn.Module, seed: int = 11) -> nn.Module:
    """Gives every parameter and every running statistic a seeded value; keeps ties."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            _fill(parameter.data, module, name, generator)
        for name, buffer in module.named_buffers(recurse=False):
            if name == "running_mean":
                buffer.normal_(0, 0.5, generator=generator)
            elif name == "running_var":
                buffer.uniform_(0.5, 2, generator=generator)
    return model.eval()


def _fill(data: torch.Tensor, module: nn.Module, name: str, generator: torch.Generator) -> None:
    if data.ndim == 1 and "weight" in name:
        # Of a normalisation, by whatever name its class goes.
        data.uniform_(0.5, 1.5, generator=generator)
    elif isinstance(module, nn.Embedding) or data.ndim < 2 or "weight" not in name:
        data.normal_(0, 0.3, generator=generator)
    else:
        data.normal_(0, 1.5 / math.sqrt(data[0].numel()), generator=generator)
