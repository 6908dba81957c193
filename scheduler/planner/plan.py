"""What the planner proposes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import DeviceId, JobId, NodeId

if TYPE_CHECKING:  # who carries plans out needs no arrays
    from scheduler.planner.account import Account


class StopCause(StrEnum):
    """Why a running job is to stop."""

    PRIORITY = "priority"  # for a job of a higher priority class in the same queue
    RECLAIM = "reclaim"  # for a queue that gets back what it lent
    SHORTER = "shorter"  # for a job that is done much sooner, where the profile allows it
    MOVE = "move"  # it goes on elsewhere
    GROW = "grow"  # it goes on with more devices
    MAINTENANCE = "maintenance"


class TaskPlacement(NamedTuple):
    """One task of a gang on one node."""

    rank: int
    node_id: NodeId
    device_ids: tuple[DeviceId, ...]  # by index on the node
    share_ppm: int = WHOLE_PPM  # of each device


class JobPlacement(NamedTuple):
    """A gang, placed whole."""

    job_id: JobId
    device_model: str
    pool: str
    tasks: tuple[TaskPlacement, ...]  # by rank
    account: "Account | None" = None

    @property
    def why_here(self) -> Mapping[str, Any]:
        """Why the planner chose this place, as stored with the attempt; nothing where it was not asked."""
        return {} if self.account is None else self.account.to_json()


@dataclass(frozen=True, slots=True)
class Stop:
    """A running job that makes room, and goes on later from its model checkpoint or from the beginning."""

    job_id: JobId
    cause: StopCause
    for_job: JobId | None  # who gets its devices; None: the job itself, elsewhere
    sentence: str = field(default="", compare=False)
    lost_ms: int = 0  # run time since its newest model checkpoint


@dataclass(frozen=True, slots=True)
class Plan:
    """Placements in the order in which they were decided, and who is to stop for later ones.

    Placements use only what is free now. What stops free is given away by the next plan, when it is free.
    """

    placements: tuple[JobPlacement, ...] = ()
    stops: tuple[Stop, ...] = ()
