"""A task of this host as the agent holds it while it lives."""

import asyncio
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from agents.core.readings import Holding
from agents.runtime.prepare import Preparation
from agents.runtime.spec import StoreFolder, TaskSpec
from agents.runtime.task_files import ShimState
from agents.runtime.use import UseReader


class FetchRefused(Exception):
    """The gateway does not give this task out; asking again is of no use."""


@dataclass
class Live:
    """One task that has been prepared or adopted."""

    spec: TaskSpec
    folder: Path
    uid: int | None
    isolation: str
    preparation: Preparation | None = None
    state: ShimState | None = None
    shim: subprocess.Popen[bytes] | None = None
    pidfd: int | None = None
    watches: list[int | None] = field(default_factory=list)
    use: UseReader | None = None
    image_digest: str = ""
    step_timer: asyncio.TimerHandle | None = None
    # Outputs that no object store has taken, each with why; an empty reason: it is still to be tried.
    unwritten: list[tuple[StoreFolder, str]] = field(default_factory=list)
    stop_moving: threading.Event = field(default_factory=threading.Event)  # ends a transfer that goes on
    over: asyncio.Event = field(default_factory=asyncio.Event)  # nothing of it runs any more

    def begin_moving(self) -> threading.Event:
        """What ends all transfers that begin from now on."""
        self.stop_moving = threading.Event()
        return self.stop_moving

    @property
    def holding(self) -> Holding:
        """Its devices, as metering sees them."""
        spec = self.spec
        return Holding(spec.allocation_id, spec.devices, spec.processes, spec.share_ppm)


def process_ids(state: ShimState) -> tuple[int, ...]:
    """Processes of the task that have not ended."""
    return tuple(root["pid"] for root in state["processes"] if root["ended_ms"] is None)
