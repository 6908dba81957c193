"""Fine-tunes the base model on Tang poems with LoRA, over all processes of the gang.

    python train.py --steps 120                                   # alone
    torchrun --nproc-per-node 2 train.py --steps 120              # by hand
    suanli submit job.yaml                                        # as a job

Every process holds the whole model and its own part of the text; after each step the gradients of the
adapters are summed over the gang. The stop signal travels in the same sum, so that all processes stop after
the same step although the signal reached them at different moments.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported: processes share the host's cores

import torch
from adam import Adam
from corpus import Deal, read_passages, share_of, split_held_out, window_starts
from launch import Launch, read_launch
from lora import add_adapters
from model import as_tensor, gather_windows, load_base, next_byte_losses
from model_checkpoints import save_model_checkpoint, whole_model_checkpoints
from processes import PeerLostError, Processes
from step_report import StepReport, write_step_report
from torch import Tensor

POEMS = Path(__file__).with_name("text") / "tang_poems.txt"
LORA = {"lora_rank": 8, "alpha": 16.0}
WARM_UP_STEPS = 10
STOPPED = 128 + signal.SIGTERM  # what a shell says of a process that SIGTERM ended: no success, and no fault


class Training:
    """The state of the job: model, adapters, optimizer, data, and how far it is."""

    def __init__(self, options: argparse.Namespace, launch: Launch, processes: Processes) -> None:
        self.options, self.launch, self.processes = options, launch, processes
        torch.manual_seed(options.seed)
        self.model = load_base()
        self.adapters = add_adapters(self.model, **LORA)
        self.adam = Adam(list(self.adapters.values()))
        self.window_bytes = self.model.shape.window_bytes
        train, held_out = split_held_out(read_passages(POEMS))
        self.train, self.held_out = as_tensor(train), as_tensor(held_out)
        self.starts = window_starts(len(train), self.window_bytes + 1, stride_bytes=11)
        self.deal = Deal(len(self.starts), processes.count, options.batch, options.seed)
        self.step = 0
        self.tokens = 0
        self.loss = math.nan
        self.saved: Path | None = None
        self.saved_step = -1
        self.stop_asked = False

    def ask_stop(self, _number: int, _frame: FrameType | None) -> None:
        """Signal handler: finish the step that runs, save, and leave.

        Prints nothing: the signal may have come in the middle of a print, which cannot be entered twice.
        """
        self.stop_asked = True

    def resume(self) -> None:
        """Take up the newest model checkpoint that any process of the gang can see, in all of them.

        Nodes may or may not share a filesystem. So each process says what it found; the one with the highest
        step (of equals the lowest process rank) reads the file and tells the rest. Where none has any,
        process 0 tells its fresh adapters, so that all begin alike.
        """
        folder = self.launch.model_checkpoint_dir
        found = next(whole_model_checkpoints(folder), None) if folder else None
        steps = self.processes.gather(found[0].step if found else 0)
        teller = steps.index(max(steps))
        payload = b""
        if self.processes.rank == teller:
            payload = found[1] if found else self.payload()
        state = torch.load(io.BytesIO(self.processes.tell(teller, payload)), weights_only=True)
        if state["lora"] != LORA:
            raise SystemExit(f"the model checkpoint has adapters {state['lora']}, this job {LORA}")
        with torch.no_grad():
            for name, weight in self.adapters.items():
                weight.copy_(state["adapters"][name])
        self.adam.load(state["adam"])
        self.step, self.tokens = state["step"], state["tokens"]
        if found and found[0].step == self.step:
            self.saved, self.saved_step = found[0].path, self.step
        if max(steps) > 0 and self.launch.is_first:
            self.launch.log(f"resumed at step {self.step} from a model checkpoint that process {teller} read")

    def payload(self) -> bytes:
        """The model checkpoint: all that a later attempt needs beside base model and text."""
        buffer = io.BytesIO()
        state = {
            "step": self.step,
            "tokens": self.tokens,
            "lora": LORA,
            "adapters": {name: weight.detach() for name, weight in self.adapters.items()},
            "adam": self.adam.state(),
        }
        torch.save(state, buffer)
        return buffer.getvalue()

    def train_step(self) -> bool:
        """Train one step; return whether any process of the gang was asked to stop.

        Raises:
            PeerLostError: the step was not taken; the state is that after the step before.
        """
        numbers = self.deal.hand(self.step, self.processes.rank)
        windows = gather_windows(self.train, [self.starts[n] for n in numbers], self.window_bytes)
        loss = next_byte_losses(self.model, windows).mean()
        loss.backward()
        extras = torch.tensor([loss.item(), float(self.stop_asked)])
        total = self.processes.add_up(torch.cat([self.adam.gradients(), extras]))
        gradients, loss_sum, stops = total[:-2] / self.processes.count, total[-2].item(), total[-1].item()
        gradients *= min(1.0, 1.0 / (gradients.norm().item() + 1e-6))
        self.adam.step(gradients, self.learning_rate())
        self.step += 1
        self.tokens += self.processes.count * self.options.batch * self.window_bytes
        self.loss = loss_sum / self.processes.count
        return stops > 0

    def learning_rate(self) -> float:
        """A short warm-up, then half a cosine down to a tenth."""
        warm_up = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        fall = 0.55 + 0.45 * math.cos(math.pi * min(1.0, self.step / self.options.steps))
        return float(self.options.learning_rate * warm_up * fall)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean loss in nats per byte on the poems held out; the processes share the work."""
        starts = window_starts(len(self.held_out), self.window_bytes + 1, self.window_bytes // 4)
        mine = share_of(starts, self.processes.rank, self.processes.count)
        totals = torch.zeros(2, dtype=torch.float64)
        if mine:
            losses = next_byte_losses(self.model, gather_windows(self.held_out, mine, self.window_bytes))
            totals = torch.tensor([losses.sum().item(), losses.numel()], dtype=torch.float64)
        summed: Tensor = self.processes.add_up(totals)
        return (summed[0] / summed[1]).item()

    def save(self) -> None:
        """Save the model checkpoint of the last step taken (process 0 only; once per step)."""
        folder = self.launch.model_checkpoint_dir
        if not self.launch.is_first or folder is None or self.saved_step == self.step:
            return
        attempt = self.launch.attempt
        self.saved = save_model_checkpoint(folder, step=self.step, attempt=attempt, payload=self.payload())
        self.saved_step = self.step
        self.launch.log(f"saved {self.saved.name}")

    def report(self) -> None:
        """Write the step report (process 0 only)."""
        if self.launch.is_first:
            saved = str(self.saved) if self.saved else None
            report = StepReport(self.step, self.options.steps, self.loss, self.tokens, saved)
            write_step_report(self.launch.step_report, report)


def run(training: Training) -> int:
    """Train to the last step or to a stop; return the exit status."""
    launch, options = training.launch, training.options
    training.resume()
    training.report()
    before = training.held_out_loss()
    if launch.is_first:
        launch.log(f"held-out loss {before:.4f} at step {training.step} of {options.steps}")
    began, began_tokens = time.monotonic(), training.tokens
    while training.step < options.steps:
        stopping = training.train_step()
        last = training.step == options.steps
        if stopping or last or training.step % options.save_every == 0:
            training.save()
        training.report()
        if launch.is_first and (stopping or last or training.step % options.log_every == 0):
            pace = (training.tokens - began_tokens) / (time.monotonic() - began)
            launch.log(f"step {training.step}/{options.steps} loss {training.loss:.4f} {pace:.0f} tokens/s")
        if stopping and not last:
            launch.log(f"asked to stop: stopped after step {training.step}")
            return STOPPED
    after = training.held_out_loss()
    if launch.is_first:
        launch.log(f"done: held-out loss {after:.4f} (was {before:.4f} when this attempt began)")
    return 0


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=8, help="windows per process and step")
    parser.add_argument("--learning-rate", type=float, default=6e-3)
    parser.add_argument("--save-every", type=int, default=20, help="steps between model checkpoints")
    parser.add_argument("--log-every", type=int, default=10, help="steps between log lines")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def main() -> int:
    """Join the gang, train, and leave in good order."""
    options, launch = read_options(), read_launch(os.environ)
    launch.log(launch.describe())
    torch.set_num_threads(1)
    processes = Processes(launch)
    training = Training(options, launch, processes)
    # Not before: until all have met there is nothing to save, and the default action ends a process at once
    # that waits for the others.
    signal.signal(signal.SIGTERM, training.ask_stop)
    signal.signal(signal.SIGINT, training.ask_stop)
    try:
        status = run(training)
    except PeerLostError as error:
        launch.log(f"lost another process of the gang after step {training.step}: {error}")
        training.save()
        training.report()
        sys.stdout.flush()
        # No orderly exit: the threads of a broken gloo group abort the process when Python tears it down.
        os._exit(STOPPED if training.stop_asked else 1)
    processes.leave()
    return status


if __name__ == "__main__":
    sys.exit(main())
