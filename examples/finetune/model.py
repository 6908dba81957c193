"""A small decoder-only transformer that reads and writes bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

BASE_MODEL = Path(__file__).with_name("base_model.pt")
BYTE_VALUES = 256


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; stored beside its weights."""

    layers: int = 3
    heads: int = 4
    width: int = 96
    window_bytes: int = 128


class Attention(nn.Module):
    """Causal self-attention; its four projections are what LoRA adapts."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query = nn.Linear(shape.width, shape.width, bias=False)
        self.key = nn.Linear(shape.width, shape.width, bias=False)
        self.value = nn.Linear(shape.width, shape.width, bias=False)
        self.output = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        query, key, value = (
            projection(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class Layer(nn.Module):
    """Attention, then a feed-forward net, each added to what came in (pre-norm)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(shape.width)
        self.attention = Attention(shape)
        self.before_feed_forward = nn.LayerNorm(shape.width)
        self.widen = nn.Linear(shape.width, 4 * shape.width)
        self.narrow = nn.Linear(4 * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x))
        out: Tensor = x + self.narrow(functional.gelu(self.widen(self.before_feed_forward(x))))
        return out


class Decoder(nn.Module):
    """Bytes in, a score for each possible next byte out. Input and output share the embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(BYTE_VALUES, shape.width)
        self.position = nn.Embedding(shape.window_bytes, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.last_norm = nn.LayerNorm(shape.width)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, text: Tensor) -> Tensor:
        x = self.embedding(text) + self.position.weight[: text.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return functional.linear(self.last_norm(x), self.embedding.weight)


def next_byte_losses(model: Decoder, windows: Tensor) -> Tensor:
    """Loss in nats of each next byte, for windows of ``window_bytes + 1`` bytes; (windows, window_bytes)."""
    scores = model(windows[:, :-1])
    losses = functional.cross_entropy(scores.flatten(0, 1), windows[:, 1:].flatten(), reduction="none")
    return losses.view(windows.shape[0], -1)


def gather_windows(stream: Tensor, starts: list[int], window_bytes: int) -> Tensor:
    """The windows of a byte stream that begin at ``starts``, each one byte longer than the model reads."""
    return torch.stack([stream[start : start + window_bytes + 1] for start in starts])


def as_tensor(stream: bytes) -> Tensor:
    """A byte stream as the numbers 0 to 255."""
    return torch.frombuffer(bytearray(stream), dtype=torch.uint8).long()


def save_base(model: Decoder, path: Path) -> None:
    """Save in half precision: half the bytes, and no loss that shows in three digits of perplexity."""
    weights = {name: weight.half() for name, weight in model.state_dict().items()}
    torch.save({"shape": asdict(model.shape), "weights": weights}, path)


def load_base(path: Path = BASE_MODEL) -> Decoder:
    """Load the pre-trained base model in full precision."""
    saved = torch.load(path, weights_only=True)
    model = Decoder(Shape(**saved["shape"]))
    model.load_state_dict(saved["weights"])
    return model
