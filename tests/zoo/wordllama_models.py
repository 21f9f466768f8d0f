"""WordLlama (NLP): one float16 table of word vectors, and the mean over the words."""

import torch
from torch import nn


class MeanPool(nn.Module):
    """Embeds a sentence as the mean of its tokens' vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32000, 256)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.embedding(ids)
        return vectors.mean(1)
