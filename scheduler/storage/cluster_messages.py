"""Inbox rows as messages of the machine, with what they point at read in few queries for a whole batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.allocations import Phase
from scheduler.domain.ids import AllocationId, FirmId, GatewayId, JobId, NodeId
from scheduler.domain.nodes import Isolation, Node, Place
from scheduler.domain.reasons import EndReason
from scheduler.domain.stored_specs import UNREADABLE, StoredSpec, StoredSpecs, problem_of
from scheduler.machine.messages import (
    CancelRequested,
    ConfigurationChanged,
    CordonRequested,
    GatewayStarted,
    HoldRequested,
    JobAttached,
    JobRevised,
    JobSubmitted,
    JobUnreadable,
    Message,
    NodeConnected,
    NodeDisconnected,
    NodeEnrolled,
    NodeReported,
    ObservedTask,
    RequeueRequested,
)
from scheduler.storage.cluster import load_configuration, load_nodes, read_references
from scheduler.storage.cluster_rows import healths, progress_of
from scheduler.storage.inbox import InboxMessage

# Jobs that have a state were submitted before: the same submission twice has one effect.
_NEW_JOBS = text(
    "SELECT j.firm_id, j.job_id, j.spec::text AS spec, j.submitted_ms, j.array_id, j.array_index FROM jobs j"
    " LEFT JOIN job_states s USING (firm_id, job_id)"
    " WHERE j.job_id = ANY(:job_ids) AND s.job_id IS NULL"
)


_REVISIONS = text(
    "SELECT v.firm_id, v.job_id, v.revision, v.spec::text AS spec FROM job_revisions v"
    " JOIN unnest(CAST(:job_ids AS text[]), CAST(:revisions AS int[]))"
    " AS u(job_id, revision) USING (job_id, revision)"
)


@dataclass(frozen=True, slots=True)
class _Read:
    """What the messages of a batch point at."""

    specs: StoredSpecs
    jobs: Mapping[str, Any]
    revisions: Mapping[tuple[str, int], Any]
    nodes: Mapping[NodeId, Node]
    configuration: ConfigurationChanged | None


@dataclass(frozen=True, slots=True)
class BadMessage:
    """An inbox row that nobody can apply."""

    inbox_id: int
    kind: str
    problem: str


async def read_messages(
    session: AsyncSession, taken: Sequence[InboxMessage], specs: StoredSpecs, now_ms: int
) -> tuple[list[Message], list[BadMessage]]:
    """The batch in order, and what in it is no message; it is to be applied at `now_ms`.

    At most ten queries however long the batch.
    """
    jobs = await _jobs(session, [str(m.body.get("job_id")) for m in taken if m.kind == "JobSubmitted"])
    node_ids = [str(m.body.get("node_id")) for m in taken if m.kind == "NodeEnrolled"]
    nodes = {node.node_id: node for node in await load_nodes(session, node_ids)} if node_ids else {}
    configuration = None
    if any(message.kind == "ConfigurationChanged" for message in taken):
        configuration = await load_configuration(session, now_ms)
    read_of = _Read(specs, jobs, await _revisions(session, taken), nodes, configuration)
    good: list[Message] = []
    bad: list[BadMessage] = []
    for message in taken:
        try:
            read = _read(message, read_of)
        except UNREADABLE as error:
            problem = problem_of(error)
            bad.append(BadMessage(message.inbox_id, message.kind, problem))
            read = _unreadable(message, read_of, problem)
        if read is not None:
            good.append(read)
    return await _with_progress(session, good), bad


async def _with_progress(session: AsyncSession, messages: list[Message]) -> list[Message]:
    """The same, where submitted jobs know how far those are that they wait for."""
    waiting = {
        at: message
        for at, message in enumerate(messages)
        if isinstance(message, JobSubmitted) and message.spec.dependencies.all
    }
    references = {ref for message in waiting.values() for ref in message.spec.dependencies.all}
    rows = await read_references(session, references)
    progress = {row.reference: progress_of(row) for row in rows}
    for at, message in waiting.items():
        known = {ref: progress[ref] for ref in message.spec.dependencies.all if ref in progress}
        messages[at] = replace(message, progress=known)
    return messages


async def _jobs(session: AsyncSession, job_ids: Sequence[str]) -> Mapping[str, Any]:
    if not job_ids:
        return {}
    rows = await session.execute(_NEW_JOBS, {"job_ids": list(job_ids)})
    return {row.job_id: row for row in rows}


async def _revisions(session: AsyncSession, taken: Sequence[InboxMessage]) -> Mapping[tuple[str, int], Any]:
    said = [
        (str(m.body.get("job_id")), m.body.get("revision"))
        for m in taken
        if m.kind == "JobRevised" and isinstance(m.body.get("revision"), int)
    ]
    if not said:
        return {}
    job_ids, revisions = zip(*said, strict=True)
    rows = await session.execute(_REVISIONS, {"job_ids": list(job_ids), "revisions": list(revisions)})
    return {(row.job_id, row.revision): row for row in rows}


def _read(message: InboxMessage, read: _Read) -> Message | None:
    """One message; None when what it says has been done already."""
    body = message.body
    match message.kind:
        case "JobSubmitted":
            row = read.jobs.get(body["job_id"])
            return None if row is None else _submitted(row, read.specs.read(row.spec))
        case "JobRevised":
            row = read.revisions[body["job_id"], body["revision"]]
            spec = read.specs.read(row.spec).spec
            return JobRevised(FirmId(row.firm_id), JobId(row.job_id), row.revision, spec, str(body["by"]))
        case "NodeEnrolled":
            return NodeEnrolled(read.nodes[NodeId(body["node_id"])])
        case "ConfigurationChanged":
            return read.configuration
        case kind if kind in _READERS:
            return _READERS[kind](body)
        case unknown:
            raise ValueError(f"no message of the controller is called {unknown}")


def _submitted(row: Any, stored: StoredSpec) -> JobSubmitted:
    return JobSubmitted(
        firm_id=FirmId(row.firm_id),
        job_id=JobId(row.job_id),
        spec=stored.spec,
        submitted_ms=row.submitted_ms,
        name=stored.name,
        labels=stored.labels,
        array_id=None if row.array_id is None else JobId(row.array_id),
        array_index=row.array_index,
    )


def _unreadable(message: InboxMessage, read: _Read, problem: str) -> Message | None:
    """Of a job whose spec cannot be read: it would wait for ever, as its message is gone."""
    row = read.jobs.get(str(message.body.get("job_id"))) if message.kind == "JobSubmitted" else None
    if row is None:
        return None
    return JobUnreadable(
        firm_id=FirmId(row.firm_id),
        job_id=JobId(row.job_id),
        submitted_ms=row.submitted_ms,
        problem=problem,
        array_id=None if row.array_id is None else JobId(row.array_id),
        array_index=row.array_index,
    )


def _hold(body: Mapping[str, Any]) -> Message:
    return HoldRequested(FirmId(body["firm_id"]), JobId(body["job_id"]), bool(body["held"]), str(body["by"]))


def _requeue(body: Mapping[str, Any]) -> Message:
    return RequeueRequested(FirmId(body["firm_id"]), JobId(body["job_id"]), str(body["by"]))


def _cancel(body: Mapping[str, Any]) -> Message:
    return CancelRequested(FirmId(body["firm_id"]), JobId(body["job_id"]), str(body["by"]))


def _attached(body: Mapping[str, Any]) -> Message:
    return JobAttached(FirmId(body["firm_id"]), JobId(body["job_id"]), str(body["by"]))


def _connected(body: Mapping[str, Any]) -> Message:
    isolation = body.get("isolation")
    return NodeConnected(
        node_id=NodeId(body["node_id"]),
        gateway_id=GatewayId(body["gateway_id"]),
        boot_id=str(body["boot_id"]),
        agent_version=str(body["agent_version"]),
        isolation=Isolation(isolation) if isolation else None,
        rendezvous_address=str(body.get("rendezvous_address") or ""),
        unhealthy=healths(body.get("unhealthy") or {}),
        at_ms=int(body["at_ms"]),
        place=Place(**(body.get("place") or {})),
        one_firm=bool(body.get("one_firm")),
        firm_id=FirmId(body["one_firm_id"]) if body.get("one_firm_id") else None,
        container_engine=body.get("container_engine") or None,
        understands=tuple(str(word) for word in body.get("understands") or ()),
    )


def _disconnected(body: Mapping[str, Any]) -> Message:
    return NodeDisconnected(NodeId(body["node_id"]), GatewayId(body["gateway_id"]), int(body["at_ms"]))


def _reported(body: Mapping[str, Any]) -> Message:
    return NodeReported(
        node_id=NodeId(body["node_id"]),
        leader_term=int(body["leader_term"]),
        generation=int(body["generation"]),
        report_seq=int(body["report_seq"]),
        tasks=tuple(_task(task) for task in body["tasks"]),
        unhealthy=healths(body.get("unhealthy") or {}),
        at_ms=int(body["at_ms"]),
    )


def _small(value: Any) -> int | None:
    """A number for a column of 32 bits: one that PostgreSQL refuses would hold up all that comes after it."""
    if value is None:
        return None
    if not -(1 << 31) <= int(value) < 1 << 31:
        raise ValueError(f"a number beyond 32 bits: {value}")
    return int(value)


def _task(body: Mapping[str, Any]) -> ObservedTask:
    return ObservedTask(
        allocation_id=AllocationId(body["allocation_id"]),
        phase=Phase(body["phase"]),
        rendezvous_port=_small(body.get("rendezvous_port")) or 0,
        started_ms=int(body.get("started_ms") or 0),
        exit_code=_small(body.get("exit_code")),
        end_reason=EndReason(body["end_reason"]) if body.get("end_reason") else None,
        detail=str(body.get("detail") or ""),
        log_pattern=_small(body.get("log_pattern")),
        image_digest=body.get("image_digest") or None,
        step_report=body.get("step_report"),
    )


def _cordon(body: Mapping[str, Any]) -> Message:
    return CordonRequested(NodeId(body["node_id"]), bool(body["cordoned"]))


def _gateway_started(body: Mapping[str, Any]) -> Message:
    return GatewayStarted(GatewayId(body["gateway_id"]))


_READERS = {
    "CancelRequested": _cancel,
    "JobAttached": _attached,
    "HoldRequested": _hold,
    "RequeueRequested": _requeue,
    "NodeConnected": _connected,
    "NodeDisconnected": _disconnected,
    "NodeReported": _reported,
    "CordonRequested": _cordon,
    "GatewayStarted": _gateway_started,
}
