"""Tells Suanli how far a job is: call report(...) after a step, in process rank 0."""

import json
import os
import time
from pathlib import Path


def report(step: int, of: int, loss: float, tokens: int, model_checkpoint: str | None = None) -> None:
    """Replaces the file as a whole, so that it is never read half written."""
    file = Path(os.environ["SUANLI_STEP_REPORT"])
    said = {"step": step, "of": of, "loss": loss, "tokens": tokens, "model_checkpoint": model_checkpoint}
    new = file.with_name(file.name + ".new")
    new.write_text(json.dumps({**said, "at_ms": time.time_ns() // 1_000_000}), encoding="utf-8")
    new.replace(file)
