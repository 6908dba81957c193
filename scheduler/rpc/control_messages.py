"""Control messages between the wire's words and the database's. PURE: no I/O, no clock.

What an agent says goes into JSON columns, so everything is bounded here and freed of what PostgreSQL cannot
hold (NUL, numbers beyond 64 signed bits). `Invalid` names the field.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from protos.suanli.fleet.v1 import control_pb2, node_pb2
from scheduler.domain.allocations import Goal, Phase
from scheduler.domain.devices import Health
from scheduler.domain.errors import FieldProblem, Invalid
from scheduler.domain.job_limits import MOST_RULES, NAME_PATTERN, NAME_WANTED
from scheduler.domain.nodes import Isolation
from scheduler.domain.object_stores import Addressing, StoreCredentials
from scheduler.domain.reasons import EndReason
from scheduler.services.store_folders import StoreFolder
from scheduler.services.tasks import TaskToRun

PROTOCOL_MIN = 1
PROTOCOL_MAX = 1
MOST_TASKS = 4096
MOST_DEVICES = 4096
MOST_WORDS = 64
MOST_DETAIL_CHARACTERS = 2000
DIGEST_PATTERN = r"sha256:[0-9a-f]{64}"
_MOST_NUMBER = 2**63 - 1

_ISOLATIONS = {
    node_pb2.ISOLATION_NONE: Isolation.NONE,
    node_pb2.ISOLATION_UID: Isolation.UID,
    node_pb2.ISOLATION_NAMESPACE: Isolation.NAMESPACE,
}
_HEALTHS = {
    node_pb2.DEVICE_HEALTH_OK: Health.OK,
    node_pb2.DEVICE_HEALTH_DEGRADED: Health.DEGRADED,
    node_pb2.DEVICE_HEALTH_FAULTY: Health.FAULTY,
}
_PHASES = {
    control_pb2.TASK_PHASE_PREPARING: Phase.PREPARING,
    control_pb2.TASK_PHASE_READY: Phase.READY,
    control_pb2.TASK_PHASE_RUNNING: Phase.RUNNING,
    control_pb2.TASK_PHASE_STOPPING: Phase.STOPPING,
    control_pb2.TASK_PHASE_ENDED: Phase.ENDED,
}
_GOALS = {
    Goal.PREPARE: control_pb2.TASK_GOAL_PREPARE,
    Goal.RUN: control_pb2.TASK_GOAL_RUN,
    Goal.STOP: control_pb2.TASK_GOAL_STOP,
}


def _refuse(field: str, got: object, want: str) -> Invalid:
    return Invalid([FieldProblem(field, str(got)[:200], want)])


def clean(value: str, limit: int) -> str:
    """Free text of an agent, cut and without what a JSON column cannot hold."""
    return value.replace("\0", "�")[:limit]


def _name(value: str, field: str, limit: int = 255) -> str:
    """A short word that is more than free text: refused where it is not printable."""
    if not value or len(value) > limit or not value.isprintable():
        raise _refuse(field, f"{len(value)} characters", f"1 to {limit} printable characters")
    return value


def _number(value: int, field: str) -> int:
    if not 0 <= value <= _MOST_NUMBER:
        raise _refuse(field, value, "a number from 0 to 2**63 - 1")
    return value


def choose_protocol(hello: control_pb2.Hello) -> int | None:
    """Highest version that both sides speak; None where there is none."""
    highest = min(hello.protocol_max, PROTOCOL_MAX)
    lowest = max(hello.protocol_min, PROTOCOL_MIN)
    return highest if highest >= lowest else None


def connected_body(
    hello: control_pb2.Hello, device_ids: Collection[str], gateway_id: str, at_ms: int
) -> dict[str, Any]:
    """Body of NodeConnected. Raises Invalid."""
    isolation = _ISOLATIONS.get(hello.isolation)
    if isolation is None:
        raise _refuse("isolation", hello.isolation, "none, uid or namespace")
    return {
        "node_id": hello.node_id,
        "gateway_id": gateway_id,
        "boot_id": _name(hello.boot_id, "boot_id", 64),
        "agent_version": _name(hello.agent_version, "agent_version", 64),
        "isolation": isolation.value,
        "rendezvous_address": _name(hello.rendezvous_address, "rendezvous_address"),
        "unhealthy": unhealthy(hello.devices, device_ids),
        "at_ms": at_ms,
        "place": _place(hello.place),
        "one_firm": hello.one_firm,
        "one_firm_id": _name(hello.one_firm_id, "one_firm_id", 64) if hello.one_firm_id else None,
        "container_engine": _name(hello.container_engine, "container_engine")
        if hello.container_engine
        else None,
        "understands": _words(hello.understands),
    }


def _words(understands: Collection[str]) -> list[str]:
    """Each once and in order, so that agents that can do the same say the same."""
    if len(understands) > MOST_WORDS:
        raise _refuse("understands", f"{len(understands)} words", f"at most {MOST_WORDS}")
    return sorted({_name(word, "understands", 64) for word in understands})


def _place(place: control_pb2.Place) -> dict[str, Any]:
    """What the agent was told of the network around its node."""
    said: dict[str, Any] = {}
    for level in ("zone", "supernode", "leaf"):
        name = getattr(place, level)
        if name and not re.fullmatch(NAME_PATTERN, name):
            raise _refuse(f"place.{level}", clean(name, 64), NAME_WANTED)
        if name:
            said[level] = name
    if place.position:
        said["position"] = place.position
    return said


def unhealthy(claims: Collection[node_pb2.DeviceClaims], device_ids: Collection[str]) -> dict[str, str]:
    """device_id -> degraded | faulty. Raises Invalid for a device that is not the node's."""
    if len(claims) > MOST_DEVICES:
        raise _refuse("devices", f"{len(claims)} devices", f"at most {MOST_DEVICES}")
    result: dict[str, str] = {}
    for claim in claims:
        health = _HEALTHS.get(claim.health)
        if health is None:
            raise _refuse("devices.health", claim.health, "ok, degraded or faulty")
        if claim.device_id not in device_ids:
            raise _refuse("devices.device_id", clean(claim.device_id, 64), "a device of this node")
        if health is not Health.OK:
            result[claim.device_id] = health.value
    return dict(sorted(result.items()))


def reported_content(observed: control_pb2.Observed, device_ids: Collection[str]) -> dict[str, Any]:
    """What an Observed says apart from its number and time: equal content is not news. Raises Invalid."""
    if len(observed.tasks) > MOST_TASKS:
        raise _refuse("tasks", f"{len(observed.tasks)} tasks", f"at most {MOST_TASKS}")
    tasks = [_task(task) for task in observed.tasks]
    ids = [task["allocation_id"] for task in tasks]
    if len(set(ids)) != len(ids):
        raise _refuse("tasks.allocation_id", "the same twice", "each allocation once")
    return {
        "leader_term": _number(observed.leader_term, "leader_term"),
        "generation": _number(observed.generation, "generation"),
        "tasks": sorted(tasks, key=lambda task: str(task["allocation_id"])),
        "unhealthy": unhealthy(observed.unhealthy_devices, device_ids),
    }


def _task(task: control_pb2.ObservedTask) -> dict[str, Any]:
    phase = _PHASES.get(task.phase)
    if phase is None:
        raise _refuse("tasks.phase", task.phase, "a phase")
    if task.rendezvous_port > 65_535:
        raise _refuse("tasks.rendezvous_port", task.rendezvous_port, "a port")
    ended = phase is Phase.ENDED
    if ended and task.end_reason not in set(EndReason):
        raise _refuse("tasks.end_reason", clean(task.end_reason, 64), ", ".join(EndReason))
    if task.log_pattern >= MOST_RULES:
        raise _refuse("tasks.log_pattern", task.log_pattern, f"the place of a pattern, below {MOST_RULES}")
    return {
        "allocation_id": _name(task.allocation_id, "tasks.allocation_id", 64),
        "phase": phase.value,
        "rendezvous_port": task.rendezvous_port or None,
        "started_ms": _number(task.started_ms, "tasks.started_ms") or None,
        "ended_ms": _number(task.ended_ms, "tasks.ended_ms") or None,
        "exit_code": task.exit_code if task.HasField("exit_code") else None,
        "end_reason": task.end_reason if ended else None,
        "detail": clean(task.detail, MOST_DETAIL_CHARACTERS) or None,
        "log_pattern": task.log_pattern if ended and task.HasField("log_pattern") else None,
        "image_digest": _digest(task.image_digest) if task.image_digest else None,
        "step_report": _step_report(task.step_report) if task.HasField("step_report") else None,
    }


def _digest(value: str) -> str:
    if not re.fullmatch(DIGEST_PATTERN, value):
        raise _refuse("tasks.image_digest", clean(value, 80), "sha256: and 64 hexadecimal digits")
    return value


def _step_report(report: control_pb2.StepReport) -> dict[str, Any]:
    return {
        "step": report.step,
        "of": report.of or None,
        "loss_micros": report.loss_micros if report.HasField("loss_micros") else None,
        "tokens": report.tokens if report.HasField("tokens") else None,
        "model_checkpoint": (
            clean(report.model_checkpoint, 1024) if report.HasField("model_checkpoint") else None
        ),
        "at_ms": report.at_ms,
    }


def reported_body(
    content: Mapping[str, Any], observed: control_pb2.Observed, node_id: str, at_ms: int
) -> dict[str, Any]:
    """Body of NodeReported. Raises Invalid."""
    report_seq = _number(observed.report_seq, "report_seq")
    return {"node_id": node_id, "report_seq": report_seq, "at_ms": at_ms, **content}


def desired_task(
    allocation_id: str, goal: Goal, reason: str, master_address: str, master_port: int
) -> control_pb2.DesiredTask:
    """One task of a desired state."""
    return control_pb2.DesiredTask(
        allocation_id=allocation_id,
        goal=_GOALS[goal],
        reason=reason,
        master_address=master_address,
        master_port=master_port,
    )


def fetched(task: TaskToRun) -> control_pb2.FetchTaskResponse:
    """Answer to FetchTask."""
    return control_pb2.FetchTaskResponse(
        allocation_id=task.allocation_id,
        firm_id=task.firm_id,
        firm_uid=task.firm_uid,
        job_id=task.job_id,
        job_name=task.job_name,
        attempt=task.attempt,
        rank=task.rank,
        gang_size=task.gang_size,
        processes=task.processes,
        device_indices=task.device_indices,
        device_model=task.device_model,
        command=task.command,
        environment=dict(task.environment),
        working_directory=task.working_directory or "",
        grace_ms=task.grace_ms,
        stop_signal=task.stop_signal,
        model_checkpoint=task.model_checkpoint,
        model_checkpoint_directory=task.model_checkpoint_directory or "",
        inputs=[
            control_pb2.TaskInput(manifest_sha256=item.manifest_sha256, path=item.path)
            for item in task.inputs
        ],
        outputs=task.outputs,
        log_patterns=task.log_patterns,
        secrets=[
            control_pb2.TaskSecret(
                name=secret.name,
                environment=secret.environment or "",
                file=secret.file or "",
                value=secret.value,
            )
            for secret in task.secrets
        ],
        share_ppm=task.share_ppm,
        share_memory_bytes=task.share_memory_bytes,
        first_process=task.first_process,
        all_processes=task.all_processes,
        group=task.group,
        rank_in_group=task.rank_in_group,
        groups=dict(task.groups),
        image=task.image or "",
        image_digest=task.image_digest or "",
        image_credentials=None
        if task.image_credentials is None
        else control_pb2.TaskSecret(name=task.image_credentials.name, value=task.image_credentials.value),
        volumes=[
            control_pb2.TaskVolume(
                name=volume.name,
                host_path=volume.host_path,
                mount_path=volume.mount_path,
                read_only=volume.read_only,
                own=volume.own,
            )
            for volume in task.volumes
        ],
        store_inputs=[_store_folder(folder) for folder in task.stores.inputs],
        store_outputs=[_store_folder(folder) for folder in task.stores.outputs],
    )


def _store_folder(folder: StoreFolder) -> control_pb2.StoreFolder:
    signed = folder.credentials or StoreCredentials("", "")
    return control_pb2.StoreFolder(
        field=folder.field,
        path=folder.path,
        endpoint=folder.store.endpoint,
        region=folder.store.region,
        virtual_hosted=folder.store.addressing is Addressing.VIRTUAL,
        bucket=folder.bucket,
        key=folder.key,
        access_key=signed.access_key,
        secret_key=signed.secret_key,
        session_token=signed.session_token,
        after_success_only=folder.after_success_only,
    )
