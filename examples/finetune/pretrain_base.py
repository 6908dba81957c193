"""Makes base_model.pt from the two base texts: run once, by hand, by whoever changes the model or the texts.

    python pretrain_base.py            # about a minute on one core

The seed fixes everything but the order in which the processor adds numbers up, so another machine's file may
differ in its last digits.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from corpus import Deal, read_passages, split_held_out, window_starts
from model import BASE_MODEL, Decoder, Shape, as_tensor, gather_windows, next_byte_losses, save_base

TEXTS = Path(__file__).with_name("text")


def main() -> None:
    """Train from random weights and save the weights that did best on the passages held out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=20240901)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    model = Decoder(Shape())
    window_bytes = model.shape.window_bytes
    parts = [split_held_out(read_passages(TEXTS / name)) for name in ("base_chinese.txt", "base_english.txt")]
    train = as_tensor(b"".join(part[0] for part in parts))
    held_out = as_tensor(b"".join(part[1] for part in parts))
    starts = window_starts(len(train), window_bytes + 1, stride_bytes=7)
    deal = Deal(window_count=len(starts), process_count=1, batch=options.batch, seed=options.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.1)
    best, began = math.inf, time.monotonic()
    for step in range(options.steps):
        for group in optimizer.param_groups:
            warm_up = min(1.0, (step + 1) / 50)
            group["lr"] = (
                options.learning_rate * warm_up * (0.55 + 0.45 * math.cos(math.pi * step / options.steps))
            )
        windows = gather_windows(train, [starts[n] for n in deal.hand(step, 0)], window_bytes)
        loss = next_byte_losses(model, windows).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0:
            judged = held_out_loss(model, held_out)
            seconds = time.monotonic() - began
            print(
                f"step {step + 1} loss {loss.item():.3f} held-out {judged:.3f} after {seconds:.0f} s",
                flush=True,
            )
            if judged < best:
                best = judged
                save_base(model, BASE_MODEL)
    print(f"saved {BASE_MODEL.name}: held-out loss {best:.3f}, {BASE_MODEL.stat().st_size} bytes")


@torch.no_grad()
def held_out_loss(model: Decoder, held_out: torch.Tensor) -> float:
    """Mean loss in nats per byte on text that was never trained on."""
    window_bytes = model.shape.window_bytes
    starts = window_starts(len(held_out), window_bytes + 1, window_bytes)
    return float(next_byte_losses(model, gather_windows(held_out, starts, window_bytes)).mean())


if __name__ == "__main__":
    main()
