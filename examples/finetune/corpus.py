"""Text as bytes, cut into windows and dealt to the processes of a gang. Needs no PyTorch.

A text file holds passages (a poem, a chapter) with an empty line between them. Which windows a process sees
at a step is a function of seed, step and process rank alone, so that a job that resumes at step n goes on
with exactly the data it would have seen, and no two processes of a gang see the same window in a pass over
the text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

# Of every ten passages the fifth is never trained on.
HELD_OUT_EVERY, HELD_OUT = 10, 4


def read_passages(path: Path) -> list[bytes]:
    """Read the passages of a text, each ending with the empty line that parts it from the next."""
    text = path.read_text(encoding="utf-8")
    return [f"{passage.strip()}\n\n".encode() for passage in text.split("\n\n") if passage.strip()]


def split_held_out(passages: list[bytes]) -> tuple[bytes, bytes]:
    """Part the passages into a stream to train on and a stream to be judged by."""
    train = b"".join(p for n, p in enumerate(passages) if n % HELD_OUT_EVERY != HELD_OUT)
    held_out = b"".join(p for n, p in enumerate(passages) if n % HELD_OUT_EVERY == HELD_OUT)
    return train, held_out


def window_starts(stream_bytes: int, window_bytes: int, stride_bytes: int) -> list[int]:
    """Offsets at which windows begin; the last window ends exactly where the stream does.

    Raises:
        ValueError: the stream is shorter than one window.
    """
    last = stream_bytes - window_bytes
    if last < 0:
        raise ValueError(f"a stream of {stream_bytes} bytes holds no window of {window_bytes} bytes")
    starts = list(range(0, last + 1, stride_bytes))
    if starts[-1] != last:
        starts.append(last)
    return starts


@dataclass(frozen=True)
class Deal:
    """Deals windows to processes: ``batch`` windows to each of ``process_count`` processes at every step."""

    window_count: int
    process_count: int
    batch: int
    seed: int

    def hand(self, step: int, process_rank: int) -> list[int]:
        """Window numbers that a process trains on at a step (steps count from 0)."""
        first = (step * self.process_count + process_rank) * self.batch
        hand = []
        for turn in range(first, first + self.batch):
            order = self._order(turn // self.window_count)
            hand.append(order[turn % self.window_count])
        return hand

    def _order(self, epoch: int) -> list[int]:
        order = list(range(self.window_count))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        return order


def share_of(items: list[int], process_rank: int, process_count: int) -> list[int]:
    """A process's part of work that is done once: every item falls to exactly one process."""
    return items[process_rank::process_count]
