"""Networks as people write them by hand: recurrent, generative, over graphs and over sets."""

import torch
from tests import architectures
from torch import Tensor, nn
from torch.nn import functional


class UNet(architectures.UNet):
    """Down and up again, with shortcuts."""


class GruTagger(nn.Module):
    """Words, a bidirectional GRU of two layers, one label for each word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 16)
        self.gru = nn.GRU(16, 12, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 7)

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.head(self.gru(self.words(ids))[0])
        return found


class LstmLanguageModel(nn.Module):
    """Three layers of LSTM that take their state and return the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 16)
        self.lstm = nn.LSTM(16, 24, 3, batch_first=True)
        self.head = nn.Linear(24, 60)

    def forward(self, ids: Tensor, hidden: Tensor, cell: Tensor) -> dict[str, Tensor]:
        x, (hidden, cell) = self.lstm(self.words(ids), (hidden, cell))
        return {"logits": self.head(x), "next_hidden": hidden, "next_cell": cell}


class Seq2Seq(nn.Module):
    """A GRU reads, a second one writes, and looks back by additive attention."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(60, 16), nn.Embedding(60, 16)
        self.encoder = nn.GRU(16, 24, batch_first=True)
        self.decoder = nn.GRU(16, 24, batch_first=True)
        self.query, self.key = nn.Linear(24, 16), nn.Linear(24, 16)
        self.score, self.head = nn.Linear(16, 1), nn.Linear(48, 60)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory, state = self.encoder(self.source(source))
        x, _ = self.decoder(self.target(target), state)
        mixed = torch.tanh(self.query(x)[:, :, None] + self.key(memory)[:, None])
        weights = torch.softmax(self.score(mixed).squeeze(-1), -1)
        found: Tensor = self.head(torch.cat([x, weights @ memory], -1))
        return found


class ConvLstm(nn.Module):
    """An LSTM whose gates are convolutions, unrolled over the frames of a short film."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.channels = channels
        self.gates = nn.Conv2d(3 + channels, 4 * channels, 3, padding=1)
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, film: Tensor) -> Tensor:
        hidden = film.new_zeros(film.shape[0], self.channels, *film.shape[3:])
        cell = hidden
        for frame in film.unbind(1):
            gates = self.gates(torch.cat([frame, hidden], 1))
            enter, forget, leave, new = gates.chunk(4, 1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
            hidden = torch.sigmoid(leave) * torch.tanh(cell)
        found: Tensor = self.head(hidden)
        return found


class Crnn(nn.Module):
    """Text in a picture: convolutions, columns as time, a bidirectional LSTM, log-probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d((2, 1)),
        )  # fmt: skip
        self.lstm = nn.LSTM(64, 16, bidirectional=True)
        self.head = nn.Linear(32, 12)

    def forward(self, image: Tensor) -> Tensor:
        x = self.convolutions(image).flatten(1, 2).permute(2, 0, 1)
        return torch.log_softmax(self.head(self.lstm(x)[0]), -1)


class GanGenerator(nn.Module):
    """Noise to a picture, by transposed convolutions."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(12, 2 * channels, 4, 1, 0, bias=False),
            nn.BatchNorm2d(2 * channels), nn.ReLU(),
            nn.ConvTranspose2d(2 * channels, channels, 4, 2, 1, bias=False),
            nn.BatchNorm2d(channels), nn.ReLU(),
            nn.ConvTranspose2d(channels, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, noise: Tensor) -> Tensor:
        found: Tensor = self.layers(noise[..., None, None])
        return found


class GanDiscriminator(nn.Module):
    """A picture to one number; the weights of one layer are held at norm 1."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False),
            nn.InstanceNorm2d(2 * channels, affine=True), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 1, 4),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.layers(image).flatten(1)
        return found


class StyleGenerator(nn.Module):
    """Each sample has its own convolution kernels, made from its style and normalised."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(1, channels, 4, 4))
        self.style = nn.Linear(12, channels)
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3))
        self.head = nn.Conv2d(channels, 3, 1)

    def forward(self, noise: Tensor) -> Tensor:
        batch, channels = noise.shape[0], self.weight.shape[0]
        kernels = self.weight * self.style(noise)[:, None, :, None, None]
        kernels = kernels * torch.rsqrt(kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        x = self.start.expand(batch, -1, -1, -1)
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        # The kernels of all samples as one product of their patches.
        patches = functional.unfold(x, 3, padding=1)
        x = torch.bmm(kernels.reshape(batch, channels, -1), patches)
        return torch.tanh(self.head(functional.leaky_relu(x.view(batch, channels, 8, 8), 0.2)))


class VariationalEncoder(nn.Module):
    """The mean of the code, and the picture that it stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ELU(), nn.Flatten())
        self.mean, self.spread = nn.Linear(512, 6), nn.Linear(512, 6)
        self.decoder = nn.Sequential(nn.Linear(6, 64), nn.Softplus(), nn.Linear(64, 256))

    def forward(self, image: Tensor, noise: Tensor) -> dict[str, Tensor]:
        code = self.encoder(image)
        mean, spread = self.mean(code), self.spread(code)
        drawn = mean + noise * torch.exp(0.5 * spread)
        return {"mean": mean, "image": torch.sigmoid(self.decoder(drawn)).view_as(image)}


class GraphConvolution(nn.Module):
    """Messages along edges, summed at their ends by ``index_add`` and divided by the degrees."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        source, target = edges[0], edges[1]
        degree = nodes.new_zeros(nodes.shape[0]).index_add(
            0, target, torch.ones_like(target, dtype=nodes.dtype)
        )
        for layer in (self.first, self.second):
            x = layer(nodes)
            summed = torch.zeros_like(x).index_add(0, target, x[source])
            nodes = torch.relu(x + summed / degree.clamp(min=1)[:, None])
        found: Tensor = self.head(nodes)
        return found


class GraphAttention(nn.Module):
    """A softmax over the edges that end at a node, by ``scatter_reduce`` and ``scatter_add``."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.head = nn.Linear(6, 16), nn.Linear(16, 4)
        self.left, self.right = nn.Linear(16, 1), nn.Linear(16, 1)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        source, target = edges[0], edges[1]
        x = self.lift(nodes)
        scores = functional.leaky_relu(self.left(x)[source] + self.right(x)[target], 0.2).squeeze(1)
        base = scores.new_full((nodes.shape[0],), -1e4)
        largest = base.scatter_reduce(0, target, scores, "amax", include_self=True)
        weights = torch.exp(scores - largest[target])
        total = torch.zeros_like(base).scatter_add(0, target, weights)
        weights = weights / total[target].clamp(min=1e-9)
        places = target[:, None].expand(-1, x.shape[1])
        mixed = torch.zeros_like(x).scatter_add(0, places, weights[:, None] * x[source])
        found: Tensor = self.head(functional.elu(mixed))
        return found


class PointCloud(nn.Module):
    """Shared layers over the points of a cloud, the largest of each channel, a class."""

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Sequential(
            nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU(),
            nn.Conv1d(16, 32, 1), nn.BatchNorm1d(32), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(32, 5)

    def forward(self, cloud: Tensor) -> Tensor:
        found: Tensor = self.head(self.points(cloud.transpose(1, 2)).amax(2))
        return found


class WaveNet(nn.Module):
    """Causal dilated convolutions with gates."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.start = nn.Conv1d(1, channels, 1)
        self.gated = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, 2, dilation=2**i) for i in range(4)
        )
        # What the last one adds would be read by nothing.
        self.mixed = nn.ModuleList(
            [*(nn.Conv1d(channels, channels, 1) for _ in range(3)), nn.Identity()]
        )
        self.head = nn.Conv1d(channels, 8, 1)

    def forward(self, wave: Tensor) -> Tensor:
        x = self.start(wave)
        total = torch.zeros_like(x)
        for index, (gated, mixed) in enumerate(zip(self.gated, self.mixed, strict=True)):
            y = functional.glu(gated(functional.pad(x, (2**index, 0))), 1)
            x, total = x + mixed(y), total + y
        found: Tensor = self.head(torch.relu(total))
        return found


class Recommender(nn.Module):
    """Bags of categories, their products in pairs, a deep and a wide part."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(30, 8) for _ in range(3))
        self.dense = nn.Sequential(nn.Linear(5, 8), nn.PReLU())
        self.top = nn.Sequential(nn.Linear(14, 16), nn.Hardswish(), nn.Linear(16, 1))

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        dense = self.dense(numbers)
        parts = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        stacked = torch.stack([dense, *parts], 1)
        pairs = stacked @ stacked.transpose(1, 2)
        row, column = torch.tril_indices(4, 4, -1).unbind(0)
        return torch.sigmoid(self.top(torch.cat([dense, pairs[:, row, column]], 1)))


class SuperResolution(nn.Module):
    """Finer pictures by sub-pixel shuffling, on top of a bicubic one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 5, padding=2), nn.Conv2d(16, 12, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        finer = functional.pixel_shuffle(self.second(torch.tanh(self.first(image))), 2)
        return finer + functional.interpolate(image, scale_factor=2, mode="bicubic")


class TorchTransformer(nn.Module):
    """The layers of ``torch.nn`` themselves, with a padding mask."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 60)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = self.head(self.layers(self.words(ids), src_key_padding_mask=mask == 0))
        return found
