"""Where this process stands in its job, read from the launch environment.

Works in three settings: started by a Suanli agent (all variables), by ``torchrun`` (RANK, WORLD_SIZE, ...
only) and by hand (no variable at all: one process alone). Needs no PyTorch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class LaunchError(Exception):
    """The launch environment contradicts itself; the message names the variable."""


@dataclass(frozen=True)
class Launch:
    """What the environment says. ``process_rank`` counts processes of the whole gang, from 0."""

    process_rank: int
    process_count: int
    job_name: str
    attempt: int
    device_model: str
    devices: str
    simulated: bool
    step_report: Path | None
    model_checkpoint_dir: Path | None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reports, logs progress and saves."""
        return self.process_rank == 0

    def log(self, message: str) -> None:
        """Print one line at once: a stopped job must not lose lines in a buffer."""
        now = time.strftime("%H:%M:%S")
        print(f"{now} process {self.process_rank}/{self.process_count}: {message}", flush=True)

    def describe(self) -> str:
        """Say in words where this process runs."""
        if not self.device_model:
            return "on the processor, outside Suanli"
        kind = "simulated " if self.simulated else ""
        return (
            f"attempt {self.attempt} of {self.job_name} on {kind}{self.device_model} devices {self.devices}"
        )


def read_launch(environment: Mapping[str, str]) -> Launch:
    """Read the launch environment.

    Raises:
        LaunchError: a number is not one, or RANK lies outside WORLD_SIZE.
    """
    process_rank = _count(environment, "RANK", 0)
    process_count = _count(environment, "WORLD_SIZE", 1)
    if process_rank >= process_count:
        raise LaunchError(f"RANK is {process_rank}, but WORLD_SIZE is {process_count}")
    return Launch(
        process_rank=process_rank,
        process_count=process_count,
        job_name=environment.get("SUANLI_JOB_NAME", ""),
        attempt=_count(environment, "SUANLI_ATTEMPT", 1),
        device_model=environment.get("SUANLI_DEVICE_MODEL", ""),
        devices=environment.get("SUANLI_DEVICES", ""),
        simulated=environment.get("SUANLI_SIMULATED") == "1",
        step_report=_path(environment, "SUANLI_STEP_REPORT"),
        model_checkpoint_dir=_path(environment, "SUANLI_MODEL_CHECKPOINT_DIR"),
    )


def _count(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise LaunchError(f"{name} is {text!r}, not a whole number")
    return int(text)


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name, "")
    return Path(text) if text else None
