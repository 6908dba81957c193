"""Checks of the parts of the fine-tuning job that need PyTorch, one per name on the command line.

A script and not tests, because PyTorch lives in an environment of its own, without pytest:
test_finetune_learning.py runs it there. Run it with examples/finetune as working directory.
"""

from __future__ import annotations

import sys

sys.path.insert(0, ".")

import torch
from adam import Adam
from lora import add_adapters
from model import BASE_MODEL, as_tensor, load_base, next_byte_losses


def base_model_is_small_and_knows_its_language() -> None:
    text = as_tensor("道可道，非常道。名可名，非常名。无名天地之始，有名万物之母。".encode())
    with torch.no_grad():
        loss = next_byte_losses(load_base(), text[None, :]).mean().item()

    assert BASE_MODEL.stat().st_size < 1 << 20
    assert loss < 3.0, loss  # knowing nothing would be ln 256 = 5.5


def adapted_model_begins_as_the_base_model() -> None:
    base, adapted = load_base(), load_base()
    trained = add_adapters(adapted, lora_rank=4, alpha=8.0)
    text = torch.arange(100)[None, :]

    assert torch.equal(base(text), adapted(text))
    assert len(trained) == 2 * 4 * base.shape.layers


def only_adapters_are_trained() -> None:
    model = load_base()
    trained = add_adapters(model, lora_rank=4, alpha=8.0)

    assert all(name.endswith((".down", ".up")) for name in trained)
    assert {n for n, weight in model.named_parameters() if weight.requires_grad} == set(trained)


def adam_moves_weights_as_that_of_pytorch_does() -> None:
    torch.manual_seed(3)
    ours = [torch.nn.Parameter(torch.randn(5, 3)), torch.nn.Parameter(torch.randn(4))]
    theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in ours]
    mine, reference = Adam(ours), torch.optim.Adam(theirs, lr=0.01)
    for _ in range(20):
        for weights in (ours, theirs):
            sum((weight**3).sum() for weight in weights).backward()
        mine.step(mine.gradients(), 0.01)
        reference.step()
        reference.zero_grad()

    for weight, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight, expected)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
