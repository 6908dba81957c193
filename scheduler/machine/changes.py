"""What a transition changed: records to store, events to append, evidence to sign, nodes to poke."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.domain.ids import AllocationId, FirmId, JobId, NodeId
from scheduler.domain.jobs import NotifyOn
from scheduler.machine.state import AllocationRecord, AttemptRecord, JobRecord, NodeRecord
from scheduler.planner.experience import Learned
from suanli.evidence.records import AllocationEvent


@dataclass(frozen=True, slots=True)
class Event:
    """A domain fact in past tense. `seq` has no gaps."""

    seq: int
    at_ms: int
    kind: str
    firm_id: FirmId | None
    job_id: JobId | None
    node_id: NodeId | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """What a webhook is to hear: stored in the commit of the event that it tells of, delivered later."""

    event: Event
    url: str
    moment: NotifyOn
    body: Mapping[str, Any]


@dataclass(slots=True)
class Changes:
    """Records are the machine's own, to be written as they are at commit: the last state wins."""

    jobs: dict[JobId, JobRecord] = field(default_factory=dict)
    attempts: dict[tuple[JobId, int], AttemptRecord] = field(default_factory=dict)
    allocations: dict[AllocationId, AllocationRecord] = field(default_factory=dict)
    nodes: dict[NodeId, NodeRecord] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    evidence: list[AllocationEvent] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    desired: set[NodeId] = field(default_factory=set)  # nodes whose desired state changed
    no_longer_waiting: set[JobId] = field(default_factory=set)  # their reports are void
    learned: set[Learned] = field(default_factory=set)  # by the planner's experience
    kept_word: list[bool] = field(default_factory=list)  # first starts: inside the announced interval or not
    replan: bool = False  # something that matters to the planner changed

    def __bool__(self) -> bool:
        return bool(
            self.jobs or self.attempts or self.allocations or self.nodes or self.events or self.learned
        )
