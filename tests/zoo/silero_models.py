"""Silero VAD (audio): is somebody speaking? Published as TorchScript, without Python code.

A TorchScript archive gives its weights; the network is written here as the archive describes it.
"""

import torch
from torch import nn


class Spectrum(nn.Module):
    """Magnitudes of a short-time Fourier transform, as one convolution."""

    forward_basis_buffer: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.padding = nn.ReflectionPad1d((0, 64))
        self.register_buffer("forward_basis_buffer", torch.zeros(258, 1, 256))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        padded = self.padding(audio).unsqueeze(1)
        both = nn.functional.conv1d(padded, self.forward_basis_buffer, stride=128)
        return (both[:, :129].square() + both[:, 129:].square()).sqrt()


class Block(nn.Module):
    """A convolution whose branches were merged after training."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.reparam_conv = nn.Conv1d(channels, filters, 3, stride, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.reparam_conv(x))


class Decoder(nn.Module):
    """One step of an LSTM, and a probability from what it remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTMCell(128, 128)
        self.decoder = nn.Sequential(
            nn.Dropout(), nn.ReLU(), nn.Conv1d(128, 1, kernel_size=1), nn.Sigmoid()
        )

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, cell = self.rnn(x.squeeze(-1), (state[0], state[1]))
        return self.decoder(hidden.unsqueeze(-1)).squeeze(1), torch.stack([hidden, cell])


class Branch(nn.Module):
    """The network for one sampling rate."""

    def __init__(self) -> None:
        super().__init__()
        self.stft = Spectrum()
        blocks = (Block(129, 128, 1), Block(128, 64, 2), Block(64, 64, 2), Block(64, 128, 1))
        self.encoder = nn.Sequential(*blocks)
        self.decoder = Decoder()

    def forward(self, audio: torch.Tensor, state: torch.Tensor) -> dict[str, torch.Tensor]:
        speech, following = self.decoder(self.encoder(self.stft(audio)), state)
        return {"speech": speech, "next_state": following}


class At16kHz(nn.Module):
    """Takes 64 samples of the last chunk, then 512 new ones, and the state."""

    def __init__(self) -> None:
        super().__init__()
        self._model = Branch()

    def forward(self, audio: torch.Tensor, state: torch.Tensor) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = self._model(audio, state)
        return found
