"""Judges a model by its perplexity on texts: how many next characters it hesitates between, on average.

    python evaluate.py                          # the base model, alone
    torchrun --nproc-per-node 2 evaluate.py     # in two processes
    python evaluate.py --adapters FOLDER        # with the newest model checkpoint that train.py left there

Each process judges its own windows; sums are added over the gang at every batch, which is also when progress
is reported. Nothing is saved: a stopped evaluation starts again.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported: processes share the host's cores

import torch
from corpus import read_passages, share_of, split_held_out, window_starts
from launch import Launch, read_launch
from lora import add_adapters
from model import Decoder, as_tensor, gather_windows, load_base, next_byte_losses
from model_checkpoints import whole_model_checkpoints
from processes import Processes
from step_report import StepReport, write_step_report

TEXTS = Path(__file__).with_name("text")


class Judgement:
    """Judges one text after the other and reports progress over all of them."""

    def __init__(self, options: argparse.Namespace, launch: Launch, processes: Processes) -> None:
        self.options, self.launch, self.processes = options, launch, processes
        self.model = load_model(options.adapters, launch)
        self.batches_done = 0
        self.tokens = 0

    def batches(self, stream: bytes) -> list[list[int]]:
        """Window starts, in batches that each hold a part for every process."""
        starts = window_starts(len(stream), self.model.shape.window_bytes + 1, self.options.stride)
        size = self.options.batch * self.processes.count
        return [starts[first : first + size] for first in range(0, len(starts), size)]

    @torch.no_grad()
    def judge(self, stream: bytes, batches_in_all: int) -> float:
        """Mean loss in nats per byte.

        Only the last ``stride`` bytes of a window count, so that each byte is judged once and with a long
        context before it (the bytes of the first window apart, which all count).
        """
        tensor = as_tensor(stream)
        window_bytes = self.model.shape.window_bytes
        totals = torch.zeros(2, dtype=torch.float64)
        for batch in self.batches(stream):
            part = torch.zeros(2, dtype=torch.float64)
            mine = share_of(batch, self.processes.rank, self.processes.count)
            if mine:
                losses = next_byte_losses(self.model, gather_windows(tensor, mine, window_bytes))
                counted = self._counted(mine, len(stream))
                part = torch.stack([(losses * counted).sum().double(), counted.sum().double()])
            self.processes.add_up(part)
            totals += part
            self.batches_done += 1
            self.tokens += int(part[1])
            if self.launch.is_first:
                loss = (totals[0] / totals[1]).item()
                report = StepReport(self.batches_done, batches_in_all, loss, self.tokens)
                write_step_report(self.launch.step_report, report)
        return (totals[0] / totals[1]).item()

    def _counted(self, starts: list[int], stream_bytes: int) -> torch.Tensor:
        window_bytes, stride = self.model.shape.window_bytes, self.options.stride
        counted = torch.zeros(len(starts), window_bytes)
        last = stream_bytes - window_bytes - 1
        for row, start in enumerate(starts):
            # The last window may begin less than a stride after the one before it.
            fresh = stride if start != last else (start - 1) % stride + 1
            counted[row, 0 if start == 0 else window_bytes - fresh :] = 1.0
        return counted


def load_model(adapters: Path | None, launch: Launch) -> Decoder:
    """The base model, with the newest adapters of a folder where one is named."""
    model = load_base()
    if adapters is not None:
        found = next(whole_model_checkpoints(adapters), None)
        if found is None:
            raise SystemExit(f"{adapters} holds no model checkpoint")
        state = torch.load(io.BytesIO(found[1]), weights_only=True)
        with torch.no_grad():
            for name, weight in add_adapters(model, **state["lora"]).items():
                weight.copy_(state["adapters"][name])
        launch.log(f"base model with the adapters of {found[0].path.name}")
    return model.eval()


def read_streams(names: list[str], held_out_only: bool) -> dict[str, bytes]:
    """The texts to judge, by name."""
    passages = {name: read_passages(TEXTS / f"{name}.txt") for name in names}
    if held_out_only:
        return {name: split_held_out(each)[1] for name, each in passages.items()}
    return {name: b"".join(each) for name, each in passages.items()}


def main() -> int:
    """Join the gang, judge each text, print the verdict as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", nargs="+", default=["base_chinese", "base_english", "tang_poems"])
    parser.add_argument(
        "--held-out-only", action="store_true", help="only passages that were never trained on"
    )
    parser.add_argument("--adapters", type=Path, help="folder with model checkpoints of train.py")
    parser.add_argument(
        "--stride", type=int, default=16, help="bytes between windows; less is stricter, slower"
    )
    parser.add_argument("--batch", type=int, default=16, help="windows per process and batch")
    options = parser.parse_args()
    launch = read_launch(os.environ)
    launch.log(launch.describe())
    torch.set_num_threads(1)
    processes = Processes(launch)
    judgement = Judgement(options, launch, processes)
    streams = read_streams(options.texts, options.held_out_only)
    batches_in_all = sum(len(judgement.batches(stream)) for stream in streams.values())
    verdict = {}
    for name, stream in streams.items():
        began = time.monotonic()
        loss = judgement.judge(stream, batches_in_all)
        bytes_per_character = len(stream) / len(stream.decode())
        verdict[name] = {
            "bytes": len(stream),
            "bits_per_byte": round(loss / math.log(2), 4),
            "perplexity_per_byte": round(math.exp(loss), 3),
            "perplexity_per_character": round(math.exp(loss * bytes_per_character), 1),
        }
        if launch.is_first:
            seconds = time.monotonic() - began
            launch.log(f"{name}: perplexity {verdict[name]['perplexity_per_byte']} per byte, {seconds:.1f} s")
    if launch.is_first:
        print(json.dumps(verdict), flush=True)
    processes.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
