"""LoRA adapters on the attention projections (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

import torch
from model import Attention, Decoder
from torch import Tensor, nn
from torch.nn import functional

PROJECTIONS = ("query", "key", "value", "output")


class LoraLinear(nn.Module):
    """A frozen projection plus a trained product of two thin matrices: W x + (alpha / rank) B A x.

    B begins at zero, so that the adapted model begins as exactly the base model.
    """

    def __init__(self, frozen: nn.Linear, lora_rank: int, alpha: float) -> None:
        super().__init__()
        self.frozen = frozen
        self.scale = alpha / lora_rank
        self.down = nn.Parameter(torch.empty(lora_rank, frozen.in_features))
        self.up = nn.Parameter(torch.zeros(frozen.out_features, lora_rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        adapted = functional.linear(functional.linear(x, self.down), self.up)
        out: Tensor = self.frozen(x) + self.scale * adapted
        return out


def add_adapters(model: Decoder, *, lora_rank: int, alpha: float) -> dict[str, nn.Parameter]:
    """Freeze the model, put an adapter on each attention projection, and return what is to be trained."""
    for weight in model.parameters():
        weight.requires_grad_(False)
    for attention in [module for module in model.modules() if isinstance(module, Attention)]:
        for name in PROJECTIONS:
            setattr(attention, name, LoraLinear(getattr(attention, name), lora_rank, alpha))
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
