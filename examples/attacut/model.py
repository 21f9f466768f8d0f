"""AttaCut, a Thai word segmenter, called the way an exported graph is called.

The network is the installed package's own class; only the arguments of ``forward`` are adapted, so
the 2019 checkpoint loads under its own names.
"""

import torch
from attacut.models import get_model

SIZES = {"num_char_tokens": 139, "num_tokens": 6227}
LAYERS = "embc:32|embs:16|conv:64|l1:32|do:0.0"


class AttaCut(get_model("seq_sy_ch_conv_concat")):  # type: ignore[misc]  # a class made at run time
    """Takes one tensor instead of the pair (tensor, lengths) that training code passes."""

    def __init__(self) -> None:
        """Builds the layers with the sizes of the published checkpoint."""
        super().__init__(SIZES, LAYERS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the logits of "a word begins here".

        Args:
            x: int64, shape (batch, 2, time): row 0 holds characters, row 1 syllables.

        Returns:
            float32, shape (batch * time,).
        """
        logits: torch.Tensor = super().forward((x, None))
        return logits
