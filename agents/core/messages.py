"""What the machine is told, and what it asks for."""

from dataclasses import dataclass

from agents.core.fence import Fence
from agents.core.readings import WHOLE_PPM
from agents.core.tasks import DesiredTask, EndReason, Phase, StepReport

# --- told ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DesiredArrived:
    """The full desired state of this node."""

    fence: Fence
    tasks: tuple[DesiredTask, ...]


@dataclass(frozen=True)
class Adopted:
    """A task that an earlier life of the agent had launched, as it was found. Only before any Desired."""

    allocation_id: str
    phase: Phase  # RUNNING, STOPPING or ENDED
    devices: tuple[int, ...]
    rendezvous_port: int
    started_ms: int
    process_ids: tuple[int, ...]
    ended_ms: int = 0
    exit_code: int | None = None
    end_reason: EndReason | None = None
    detail: str = ""
    log_pattern: int | None = None
    share_ppm: int = WHOLE_PPM  # of each device
    image_digest: str = ""


@dataclass(frozen=True)
class Preparing:
    """How far its image, inputs or outputs are, for people to read; empty: nothing is on its way."""

    allocation_id: str
    detail: str


@dataclass(frozen=True)
class Prepared:
    """Files, user and devices are in order; the port is not 0 for task rank 0 only."""

    allocation_id: str
    devices: tuple[int, ...]
    rendezvous_port: int
    share_ppm: int = WHOLE_PPM  # of each device
    image_digest: str = ""  # of the image that it will run in


@dataclass(frozen=True)
class PrepareFailed:
    """It cannot run here (or its preparation was cancelled)."""

    allocation_id: str
    at_ms: int
    detail: str
    reason: EndReason = EndReason.PREPARE_FAILED


@dataclass(frozen=True)
class Launched:
    """The shim runs."""

    allocation_id: str
    started_ms: int
    process_ids: tuple[int, ...]


@dataclass(frozen=True)
class LaunchFailed:
    """No shim could be started; nothing of the task runs."""

    allocation_id: str
    at_ms: int
    detail: str


@dataclass(frozen=True)
class Ended:
    """Nothing of the task is left on the node."""

    allocation_id: str
    ended_ms: int
    exit_code: int | None
    end_reason: EndReason
    detail: str
    log_pattern: int | None = None  # which of the job's patterns stands in its output


@dataclass(frozen=True)
class Stopping:
    """The shim is ending the task of its own accord (a process failed)."""

    allocation_id: str


@dataclass(frozen=True)
class StepReported:
    """The job wrote a new step report."""

    allocation_id: str
    report: StepReport


Message = (
    DesiredArrived
    | Adopted
    | Preparing
    | Prepared
    | PrepareFailed
    | Launched
    | LaunchFailed
    | Ended
    | Stopping
    | StepReported
)

# --- asked for ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prepare:
    """Fetch the task and check that it can run; answer with Prepared or PrepareFailed."""

    allocation_id: str


@dataclass(frozen=True)
class CancelPrepare:
    """Give up preparing; Prepared or PrepareFailed still has to be answered."""

    allocation_id: str


@dataclass(frozen=True)
class Launch:
    """Start the shim, once and never again; answer with Launched or LaunchFailed."""

    allocation_id: str
    master_address: str
    master_port: int


@dataclass(frozen=True)
class Stop:
    """End the processes; answer with Ended when nothing is left. Safe to ask twice."""

    allocation_id: str
    reason: str


@dataclass(frozen=True)
class Release:
    """Give back what preparation holds (the port); nothing was started."""

    allocation_id: str


@dataclass(frozen=True)
class Forget:
    """Drop the task's folder as soon as its output is delivered."""

    allocation_id: str


@dataclass(frozen=True)
class Report:
    """The observed state changed: send it."""


Instruction = Prepare | CancelPrepare | Launch | Stop | Release | Forget | Report
