"""Rows of the controller's tables from the machine's records, and back."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from scheduler.domain.allocations import AttemptState, Goal, Phase
from scheduler.domain.devices import Device, Health
from scheduler.domain.ids import AllocationId, DeviceId, FirmId, GatewayId, JobId, NodeId
from scheduler.domain.jobs import JobState
from scheduler.domain.nodes import Isolation, Node, NodeState, Place
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.domain.reasons import Ending, EndReason, Outcome, StopReason
from scheduler.domain.stored_specs import StoredSpec
from scheduler.domain.writing import to_json
from scheduler.machine.changes import Event, Notice
from scheduler.machine.messages import PriceFrom
from scheduler.machine.references import Progress
from scheduler.machine.state import AllocationRecord, AttemptRecord, JobRecord, NodeRecord
from scheduler.planner.snapshot import Hole

Json = dict[str, Any]
AnyRow = Row[Any]


def job_row(job: JobRecord) -> Json:
    """A row of job_states."""
    attempt = job.attempt
    return {
        "firm_id": job.firm_id,
        "job_id": job.job_id,
        "state": job.state.value,
        "version": job.version,
        "attempt": 0 if attempt is None else attempt.number,
        "device_model": None if attempt is None else attempt.device_model,
        "reason": job.reason,
        "detail": job.detail,
        "exit_code": job.exit_code,
        "step_report": job.step_report,
        "changed_ms": job.changed_ms,
        "started_ms": job.started_ms,
        "ended_ms": job.ended_ms,
        "cancel_requested": job.cancel_requested,
        "held": job.held,
        "ineligible_since_ms": job.ineligible_since_ms,
        "ineligible_before_ms": job.ineligible_before_ms,
        "revision": job.revision,
        "announced": None if job.announced is None else list(job.announced),
    }


def job_record(row: AnyRow, stored: StoredSpec) -> JobRecord:
    """From a row of jobs joined with job_states, and the spec in force."""
    return JobRecord(
        firm_id=FirmId(row.firm_id),
        job_id=JobId(row.job_id),
        spec=stored.spec,
        submitted_ms=row.submitted_ms,
        name=stored.name,
        labels=stored.labels,
        state=JobState(row.state),
        version=row.version,
        reason=row.reason,
        detail=row.detail,
        exit_code=row.exit_code,
        step_report=row.step_report,
        changed_ms=row.changed_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        cancel_requested=row.cancel_requested,
        held=row.held,
        ineligible_since_ms=row.ineligible_since_ms,
        ineligible_before_ms=row.ineligible_before_ms,
        revision=row.revision,
        announced=None if row.announced is None else tuple(row.announced),
        array_id=None if row.array_id is None else JobId(row.array_id),
        array_index=row.array_index,
        unreadable=stored.problem,
    )


def progress_of(row: AnyRow) -> Progress:
    """From a row that counts the jobs of a reference, those that have ended and those that did not do so well."""
    return Progress(row.total, row.ended, row.ended, row.failed)


def attempt_row(attempt: AttemptRecord) -> Json:
    """A row of attempts."""
    return {
        "firm_id": attempt.firm_id,
        "job_id": attempt.job_id,
        "attempt": attempt.number,
        "variant": attempt.variant,
        "device_model": attempt.device_model,
        "state": attempt.state.value,
        "outcome": _value(attempt.outcome),
        "reason": _value(attempt.reason),
        "why_here": attempt.why_here,
        "master_address": attempt.master_address,
        "master_port": attempt.master_port,
        "image_digest": attempt.image_digest,
        "allocated_ms": attempt.allocated_ms,
        "started_ms": attempt.started_ms,
        "ended_ms": attempt.ended_ms,
    }


def attempt_record(row: AnyRow) -> AttemptRecord:
    """From a row of attempts joined with its job's project, queue and time limit."""
    return AttemptRecord(
        firm_id=FirmId(row.firm_id),
        job_id=JobId(row.job_id),
        project=row.project,
        queue=QueueKey(FirmId(row.firm_id), row.queue),
        number=row.attempt,
        variant=row.variant,
        device_model=row.device_model,
        why_here=row.why_here,
        allocated_ms=row.allocated_ms,
        time_limit_ms=None if row.time_limit_seconds is None else row.time_limit_seconds * 1000,
        state=AttemptState(row.state),
        outcome=None if row.outcome is None else Outcome(row.outcome),
        reason=None if row.reason is None else Ending(row.reason),
        master_address=row.master_address,
        master_port=row.master_port,
        image_digest=row.image_digest,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
    )


def allocation_row(allocation: AllocationRecord) -> Json:
    """A row of allocations."""
    owner = allocation.owner
    return {
        "firm_id": owner.firm_id,
        "allocation_id": allocation.allocation_id,
        "job_id": owner.job_id,
        "attempt": owner.number,
        "rank": allocation.rank,
        "node_id": allocation.node_id,
        "goal": allocation.goal.value,
        "stop_reason": _value(allocation.stop_reason),
        "phase": _value(allocation.phase),
        "live": allocation.live,
        "rendezvous_port": allocation.rendezvous_port,
        "exit_code": allocation.exit_code,
        "end_reason": _value(allocation.end_reason),
        "detail": allocation.detail,
        "log_pattern": allocation.log_pattern,
        "granted_ms": allocation.granted_ms,
        "started_ms": allocation.started_ms,
        "ended_ms": allocation.ended_ms,
    }


def allocation_record(row: AnyRow, owner: AttemptRecord) -> AllocationRecord:
    """From a row of allocations with its device ids by index."""
    return AllocationRecord(
        allocation_id=AllocationId(row.allocation_id),
        owner=owner,
        rank=row.rank,
        node_id=NodeId(row.node_id),
        device_ids=tuple(DeviceId(device_id) for device_id in row.device_ids),
        granted_ms=row.granted_ms,
        share_ppm=row.share_ppm,
        goal=Goal(row.goal),
        stop_reason=None if row.stop_reason is None else StopReason(row.stop_reason),
        phase=None if row.phase is None else Phase(row.phase),
        live=row.live,
        rendezvous_port=row.rendezvous_port,
        exit_code=row.exit_code,
        end_reason=None if row.end_reason is None else EndReason(row.end_reason),
        detail=row.detail,
        log_pattern=row.log_pattern,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
    )


def device_rows(allocation: AllocationRecord) -> list[Json]:
    """Rows of allocation_devices."""
    return [
        {
            "firm_id": allocation.owner.firm_id,
            "allocation_id": allocation.allocation_id,
            "device_id": device_id,
            "share_ppm": allocation.share_ppm,
            "live": allocation.live,
        }
        for device_id in allocation.device_ids
    ]


def node_row(node: NodeRecord) -> Json:
    """A row of node_states."""
    return {
        "node_id": node.node.node_id,
        "state": node.state.value,
        "cordoned": node.cordoned,
        "generation": node.generation,
        "leader_term": node.leader_term,
        "boot_id": node.boot_id,
        "agent_version": node.agent_version,
        "isolation": _value(node.isolation),
        "rendezvous_address": node.rendezvous_address,
        "place": {key: value for key, value in to_json(node.place).items() if value is not None},
        "one_firm": node.one_firm,
        "one_firm_id": node.firm_id,
        "container_engine": node.container_engine,
        "understands": list(node.understands),
        "report_seq": node.report_seq,
        "gateway_id": node.gateway_id,
        "unhealthy": {device_id: health.value for device_id, health in node.unhealthy.items()},
        "silent_since_ms": node.silent_since_ms,
        "changed_ms": node.changed_ms,
    }


def node_record(node: Node, row: AnyRow) -> NodeRecord:
    """From a node and its row of node_states."""
    return NodeRecord(
        node=node,
        state=NodeState(row.state),
        cordoned=row.cordoned,
        generation=row.generation,
        leader_term=row.leader_term,
        boot_id=row.boot_id,
        agent_version=row.agent_version,
        isolation=None if row.isolation is None else Isolation(row.isolation),
        rendezvous_address=row.rendezvous_address,
        place=Place(**row.place),
        one_firm=row.one_firm,
        firm_id=None if row.one_firm_id is None else FirmId(row.one_firm_id),
        container_engine=row.container_engine,
        understands=tuple(row.understands),
        report_seq=row.report_seq,
        gateway_id=None if row.gateway_id is None else GatewayId(row.gateway_id),
        unhealthy=healths(row.unhealthy),
        silent_since_ms=row.silent_since_ms,
        changed_ms=row.changed_ms,
    )


def device_noun(row: AnyRow) -> Device:
    """From a row of devices, its index named `number` (a row of results has a method of that name)."""
    return Device(
        device_id=DeviceId(row.device_id),
        index=row.number,
        vendor=row.vendor,
        model=row.model,
        memory_bytes=row.memory_bytes,
        fast_link_group=row.fast_link_group,
        driver=row.driver,
        simulated=row.simulated,
    )


def queue_noun(row: AnyRow) -> Queue:
    """From a row of queues."""
    return Queue(
        QueueKey(FirmId(row.firm_id), row.name),
        tuple(row.pools),
        _amounts(row.nominal),
        row.weight,
        row.cohort,
        _amounts(row.borrowing),
        _amounts(row.lending),
    )


def cohort_noun(row: AnyRow) -> Cohort:
    """From a row of cohorts."""
    return Cohort(
        row.name,
        row.parent,
        _amounts(row.nominal),
        _amounts(row.borrowing),
        _amounts(row.lending),
        row.weight,
    )


def hole_noun(row: AnyRow) -> Hole:
    """From a row of the calendar."""
    queue = None if row.firm_id is None else QueueKey(FirmId(row.firm_id), row.queue)
    nodes = frozenset(NodeId(node_id) for node_id in row.node_ids)
    return Hole(row.from_ms, row.until_ms, nodes, queue, row.why)


def price_from(row: AnyRow) -> PriceFrom:
    """From a row of price_versions."""
    return PriceFrom(row.device_model, row.effective_from_ms, row.price_nano_cny)


def _amounts(value: Mapping[str, Any]) -> dict[str, int]:
    return {key: int(amount) for key, amount in value.items()}


def event_row(event: Event) -> Json:
    """A row of events."""
    return {
        "event_seq": event.seq,
        "at_ms": event.at_ms,
        "kind": event.kind,
        "firm_id": event.firm_id,
        "job_id": event.job_id,
        "node_id": event.node_id,
        "data": dict(event.data),
    }


def notice_row(notice: Notice) -> Json:
    """A row of notifications: due at once."""
    event = notice.event
    return {
        "event_seq": event.seq,
        "firm_id": event.firm_id,
        "job_id": event.job_id,
        "moment": notice.moment.value,
        "url": notice.url,
        "body": dict(notice.body),
        "created_ms": event.at_ms,
        "next_ms": event.at_ms,
    }


def healths(value: Mapping[str, str]) -> dict[DeviceId, Health]:
    """Device health as it is written in messages and rows; OK ones are not written."""
    return {DeviceId(device_id): Health(health) for device_id, health in value.items()}


def _value(member: Any) -> str | None:
    return None if member is None else str(member.value)
