"""Adam (Kingma and Ba 2015, arXiv:1412.6980) on one flat vector of weights.

The gradients are summed over the gang as one flat vector anyhow, and torch.optim would import PyTorch's
compiler, which this job never uses: more than a second of start-up in each process.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

BETA_MEAN, BETA_SQUARE, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """The trained weights and their running moments. The same on every process of the gang at every step."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self._weights = weights
        size = sum(weight.numel() for weight in weights)
        self.mean = torch.zeros(size)
        self.square = torch.zeros(size)
        self.steps = 0

    def gradients(self) -> Tensor:
        """The gradients of the last backward pass as one vector; they are cleared for the next one."""
        flat = torch.cat([weight.grad.flatten() for weight in self._weights if weight.grad is not None])
        for weight in self._weights:
            weight.grad = None
        return flat

    @torch.no_grad()
    def step(self, gradients: Tensor, learning_rate: float) -> None:
        """Move the weights once."""
        self.steps += 1
        self.mean.lerp_(gradients, 1 - BETA_MEAN)
        self.square.lerp_(gradients.square(), 1 - BETA_SQUARE)
        mean = self.mean / (1 - BETA_MEAN**self.steps)
        square = self.square / (1 - BETA_SQUARE**self.steps)
        moved = parameters_to_vector(self._weights) - learning_rate * mean / (square.sqrt() + EPSILON)
        vector_to_parameters(moved, self._weights)

    def state(self) -> dict[str, Tensor | int]:
        """What a model checkpoint must hold, weights apart."""
        return {"mean": self.mean, "square": self.square, "steps": self.steps}

    def load(self, state: dict[str, Tensor | int]) -> None:
        """Take up a saved state."""
        self.mean, self.square, self.steps = state["mean"], state["square"], state["steps"]  # type: ignore[assignment]
