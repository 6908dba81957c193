"""The context of one transition: the state, the time, the source of ids, and the changes so far."""

from dataclasses import dataclass

from scheduler.domain.ids import Ids, NodeId
from scheduler.machine.changes import Changes, Event
from scheduler.machine.notices import notice_of
from scheduler.machine.state import AllocationRecord, AttemptRecord, ClusterState, JobRecord, NodeRecord
from suanli.evidence.records import AllocationEvent, DeviceShare


@dataclass(frozen=True, slots=True)
class Transition:
    """Passed to every rule."""

    state: ClusterState
    changes: Changes
    now_ms: int
    ids: Ids

    def touch_job(self, job: JobRecord) -> None:
        """The job's row is to be written."""
        if job.job_id not in self.changes.jobs:
            job.version += 1
            self.changes.jobs[job.job_id] = job
        job.changed_ms = self.now_ms

    def touch_attempt(self, attempt: AttemptRecord) -> None:
        """The attempt's row is to be written."""
        self.changes.attempts[attempt.job_id, attempt.number] = attempt

    def touch_allocation(self, allocation: AllocationRecord) -> None:
        """The allocation's rows are to be written."""
        self.changes.allocations[allocation.allocation_id] = allocation

    def touch_node(self, node: NodeRecord) -> None:
        """The node's row is to be written."""
        node.changed_ms = self.now_ms
        self.changes.nodes[node.node.node_id] = node

    def change_desired(self, node_id: NodeId) -> None:
        """The desired set of a node changed: a new generation, under the term of this leader."""
        node = self.state.nodes[node_id]
        if node_id not in self.changes.desired:
            node.generation += 1
            self.changes.desired.add(node_id)
        node.leader_term = self.state.leader_term
        self.touch_node(node)

    def emit_job(self, kind: str, job: JobRecord, **data: object) -> None:
        """Appends an event of a job, and what its webhook is to hear of it."""
        event = Event(self._next_seq(), self.now_ms, kind, job.firm_id, job.job_id, None, data)
        self._emit(event)
        notice = notice_of(event, job)
        if notice is not None:
            self.changes.notices.append(notice)

    def emit_task(self, kind: str, allocation: AllocationRecord, **data: object) -> None:
        """Appends an event of a task."""
        owner = allocation.owner
        data = {"attempt": owner.number, "rank": allocation.rank, **data}
        self._emit(
            Event(self._next_seq(), self.now_ms, kind, owner.firm_id, owner.job_id, allocation.node_id, data)
        )

    def emit_node(self, kind: str, node: NodeRecord, **data: object) -> None:
        """Appends an event of a node."""
        data = {"node": node.node.name, **data}
        self._emit(Event(self._next_seq(), self.now_ms, kind, None, None, node.node.node_id, data))

    def prove(self, event: str, allocation: AllocationRecord, reason: str) -> None:
        """Adds a fact for the evidence log (granted, started, ended), numbered by the newest event."""
        owner = allocation.owner
        self.changes.evidence.append(
            AllocationEvent(
                event=event,
                allocation_id=allocation.allocation_id,
                job_id=owner.job_id,
                attempt=owner.number,
                rank=allocation.rank,
                firm_id=owner.firm_id,
                project=owner.project,
                devices=tuple(DeviceShare(device, allocation.share_ppm) for device in allocation.device_ids),
                node_id=allocation.node_id,
                at_ms=self.now_ms,
                event_seq=self.state.event_seq,
                reason=reason,
                time_limit_ms=owner.time_limit_ms,
            )
        )

    def _next_seq(self) -> int:
        self.state.event_seq += 1
        return self.state.event_seq

    def _emit(self, event: Event) -> None:
        self.changes.events.append(event)
