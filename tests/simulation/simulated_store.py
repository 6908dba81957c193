"""The database of the simulated installation: rows in dicts, written by commits, read by a new leader."""

from types import SimpleNamespace
from typing import Any

from scheduler.catalogue import load_catalogue
from scheduler.domain.jobs import FINAL_STATES, JobSpec, JobState
from scheduler.domain.nodes import Node
from scheduler.domain.stored_specs import StoredSpec
from scheduler.machine import Changes, ClusterState
from scheduler.machine.messages import ConfigurationChanged, JobSubmitted
from scheduler.storage.cluster_assembly import ClusterRows, assemble
from scheduler.storage.cluster_rows import (
    allocation_row,
    attempt_row,
    event_row,
    job_row,
    node_record,
    node_row,
)
from suanli.evidence.records import AllocationEvent


class Store:
    """What has been committed."""

    def __init__(self, configuration: ConfigurationChanged) -> None:
        self.configuration = configuration
        self.submitted: dict[str, JobSubmitted] = {}
        self.revisions: dict[tuple[str, int], JobSpec] = {}
        self.nodes: dict[str, Node] = {}
        self.job_states: dict[str, dict[str, Any]] = {}
        self.attempts: dict[tuple[str, int], dict[str, Any]] = {}
        self.allocations: dict[str, dict[str, Any]] = {}
        self.devices: dict[str, tuple[str, ...]] = {}
        self.node_states: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.evidence: dict[str, list[AllocationEvent]] = {}

    def commit(self, changes: Changes) -> None:
        """All of it, as one transaction would."""
        for job in changes.jobs.values():
            self.job_states[job.job_id] = job_row(job)
        for key, attempt in changes.attempts.items():
            self.attempts[key] = attempt_row(attempt)
        for allocation in changes.allocations.values():
            self.allocations[allocation.allocation_id] = allocation_row(allocation)
            self.devices[allocation.allocation_id] = allocation.device_ids
        for node in changes.nodes.values():
            self.node_states[node.node.node_id] = node_row(node)
        for event in changes.events:
            assert event.seq == len(self.events) + 1, "event_seq has a gap"
            self.events.append(event_row(event))
        for fact in changes.evidence:
            facts = self.evidence.setdefault(fact.allocation_id, [])
            assert fact.event not in {earlier.event for earlier in facts}, "a fact came twice"
            facts.append(fact)

    def state_of(self, job_id: str) -> JobState | None:
        """Where a job is, as people see it."""
        row = self.job_states.get(job_id)
        return None if row is None else JobState(row["state"])

    def load(self, now_ms: int, term: int) -> ClusterState:
        """What a new leader loads."""
        if self.events:
            now_ms = max(now_ms, self.events[-1]["at_ms"])
        state = ClusterState(load_catalogue(), now_ms)
        state.leader_term = term
        state.event_seq = len(self.events)
        state.pools = dict(self.configuration.pools)
        state.queues = {queue.key: queue for queue in self.configuration.queues}
        for node_id in sorted(self.node_states):
            state.add_node(node_record(self.nodes[node_id], _row(self.node_states[node_id])))
        live = {
            job_id for job_id, row in self.job_states.items() if JobState(row["state"]) not in FINAL_STATES
        }
        wanted = live | {row["job_id"] for row in self.allocations.values() if row["live"]}
        assemble(
            state,
            ClusterRows(
                jobs=[self._job(job_id) for job_id in live],
                attempts=[self._attempt(key) for key in sorted(self.attempts) if key[0] in wanted],
                allocations=sorted(
                    (
                        _row(row, device_ids=self.devices[key], share_ppm=1_000_000)
                        for key, row in self.allocations.items()
                        if row["job_id"] in wanted
                    ),
                    key=lambda row: (row.job_id, row.attempt, row.rank),
                ),
                usage=[self._usage(row) for row in self.allocations.values()],
                references=[
                    SimpleNamespace(reference=reference, **self.ended_of(reference))
                    for reference in sorted(
                        {
                            reference
                            for job_id in live
                            if self.job_states[job_id]["state"] == JobState.QUEUED
                            for reference in self._spec(job_id).dependencies.all
                        }
                    )
                ],
            ),
        )
        return state

    def ended_of(self, reference: str) -> dict[str, int]:
        """How many jobs a reference means, and how many of them have ended, well or not."""
        jobs = [job_id for job_id, job in self.submitted.items() if reference in (job_id, job.array_id)]
        states = [state for job_id in jobs if (state := self.state_of(job_id)) in FINAL_STATES]
        failed = sum(state is not JobState.SUCCEEDED for state in states)
        return {"total": len(jobs), "ended": len(states), "failed": failed}

    def _spec(self, job_id: str) -> JobSpec:
        """As of the revision that the controller has taken over."""
        revision = self.job_states[job_id]["revision"]
        return self.revisions.get((job_id, revision), self.submitted[job_id].spec)

    def _job(self, job_id: str) -> tuple[Any, StoredSpec]:
        submitted = self.submitted[job_id]
        row = _row(
            self.job_states[job_id],
            submitted_ms=submitted.submitted_ms,
            array_id=submitted.array_id,
            array_index=submitted.array_index,
        )
        return row, StoredSpec(self._spec(job_id), submitted.name, submitted.labels)

    def _attempt(self, key: tuple[str, int]) -> Any:
        spec = self._spec(key[0])
        limit = spec.time_limit_seconds
        return _row(self.attempts[key], project=spec.project, queue=spec.queue, time_limit_seconds=limit)

    def _usage(self, row: dict[str, Any]) -> Any:
        attempt = self.attempts[row["job_id"], row["attempt"]]
        lost = row["stop_reason"] == "node_lost"
        spec = self.submitted[row["job_id"]].spec
        return SimpleNamespace(
            firm_id=row["firm_id"],
            project=spec.project,
            queue=spec.queue,
            goal=row["goal"],
            device_model=attempt["device_model"],
            granted_ms=row["granted_ms"],
            ended_ms=attempt["ended_ms"] if lost else row["ended_ms"],
            devices=len(self.devices[row["allocation_id"]]),
            ppm=len(self.devices[row["allocation_id"]]) * 1_000_000,
        )


def _row(row: dict[str, Any], **more: Any) -> Any:
    return SimpleNamespace(**row, **more)
