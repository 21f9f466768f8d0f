"""AttaCut (NLP): two Thai word segmenters of embeddings, dilated convolutions and a small MLP.

This and the other adapters are copied beside a specification, as a user's own model code lies
there. The packages exist in the zoo's environment only, so they are imported by name.
"""

from importlib import import_module

import torch
from torch import nn

_models = import_module("attacut.models")


class Unpacked(nn.Module):
    """Calls the network with the pair (tensor, lengths) that its training code passes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = super().forward((x, None))
        return logits


def syllables_and_characters() -> nn.Module:
    """Takes int64 (batch, 2, time): row 0 holds characters, row 1 syllables."""
    network = _models.get_model("seq_sy_ch_conv_concat")
    sizes = {"num_char_tokens": 139, "num_tokens": 6227}
    return _unpacked(network)(sizes, "embc:32|embs:16|conv:64|l1:32|do:0.0")


def characters() -> nn.Module:
    """Takes int64 (batch, time)."""
    network = _models.get_model("seq_ch_conv")
    return _unpacked(network)({"num_tokens": 139}, "emb:48|conv:196|l1:32")


def _unpacked(network: type[nn.Module]) -> type[nn.Module]:
    return type(network.__name__, (Unpacked, network), {})
