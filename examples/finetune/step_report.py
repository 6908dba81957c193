"""Tells the scheduler how far the job is, through the step-report file. Needs no PyTorch."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class StepReport:
    """How far the job is. ``tokens`` counts from the start of the job, over all attempts."""

    step: int
    of: int
    loss: float | None = None
    tokens: int | None = None
    model_checkpoint: str | None = None


def write_step_report(path: Path | None, report: StepReport) -> None:
    """Replace the step report at ``path``; do nothing where nobody asked for one.

    The file is written beside its place and renamed over it, so that a reader never meets half a report.
    A loss that is not finite is written as null: JSON has no word for it.
    """
    if path is None:
        return
    fields = asdict(report) | {"at_ms": time.time_ns() // 1_000_000}
    if report.loss is not None and not math.isfinite(report.loss):
        fields["loss"] = None
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(fields), encoding="utf-8")
    unfinished.replace(path)
