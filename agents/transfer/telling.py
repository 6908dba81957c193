"""What the process tells the agent: how far it is, and what went wrong."""

import json
import sys
import threading
import time
from dataclasses import dataclass, field

SAY_EVERY_S = 1.0
TAKE_BACK_S = 10.0  # for an upload that is to stop, to remove its parts from the bucket


class Problem(Exception):
    """It did not go well; the sentence is for the researcher and holds nothing that is secret."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass
class Progress:
    """Says on standard output how far it is, once a second at most."""

    all_bytes: int
    files: int
    done_bytes: int = 0
    said_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, size: int) -> None:
        """So many bytes more are there."""
        with self.lock:
            self.done_bytes += size
            now_s = time.monotonic()
            if now_s - self.said_s >= SAY_EVERY_S:
                self.said_s = now_s
                say({"done_bytes": self.done_bytes, "all_bytes": self.all_bytes, "files": self.files})


def say(value: dict[str, object]) -> None:
    """One line to the agent."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
