"""Nouns of the agent's machine: a task of the node, what it shall become and where it is."""

from dataclasses import dataclass, field
from enum import StrEnum

from agents.core.readings import WHOLE_PPM


class Goal(StrEnum):
    """What the controller wants a task to become."""

    PREPARE = "prepare"
    RUN = "run"
    STOP = "stop"


class Phase(StrEnum):
    """Where a task is; only ever further down this list."""

    PREPARING = "preparing"
    READY = "ready"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class EndReason(StrEnum):
    """Why a task ended: the closed list of the wire."""

    EXITED = "exited"
    STOPPED = "stopped"
    PREPARE_FAILED = "prepare_failed"
    IMAGE_FAILED = "image_failed"
    STORE_REFUSED = "store_refused"
    OUTPUT_FAILED = "output_failed"
    LOST = "lost"
    OUT_OF_MEMORY = "out_of_memory"


@dataclass(frozen=True)
class DesiredTask:
    """One task of the desired state; the address is filled in where the goal is RUN."""

    allocation_id: str
    goal: Goal
    reason: str = ""
    master_address: str = ""
    master_port: int = 0


@dataclass(frozen=True)
class StepReport:
    """How far a job says it is; `loss_micros` in millionths, `of` 0 where not known."""

    step: int
    of: int = 0
    loss_micros: int | None = None
    tokens: int | None = None
    model_checkpoint: str | None = None
    at_ms: int = 0


@dataclass
class Task:
    """One task of this node. Changed by the machine alone; everybody else reads."""

    allocation_id: str
    phase: Phase = Phase.PREPARING
    devices: tuple[int, ...] = ()
    share_ppm: int = WHOLE_PPM  # of each device
    rendezvous_port: int = 0
    launching: bool = False  # told to start, has not said yet that it has
    stopping: bool = False  # must end, whatever comes back from what is under way
    wanted: bool = True  # False: no desired state names it; forgotten as soon as it has ended
    started_ms: int = 0
    ended_ms: int = 0
    exit_code: int | None = None
    end_reason: EndReason | None = None
    detail: str = ""  # before the end: what is going on
    log_pattern: int | None = None  # which of the job's patterns stands in its output
    step_report: StepReport | None = None
    process_ids: tuple[int, ...] = field(default=())
    image_digest: str = ""  # of the image that it runs in

    @property
    def holds_devices(self) -> bool:
        """True from readiness to the end: its devices are in use."""
        return self.phase in {Phase.READY, Phase.RUNNING, Phase.STOPPING} and bool(self.devices)
