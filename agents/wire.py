"""Between the agent's own nouns and protobuf: the only place besides the streams that knows the wire."""

import zstandard

from agents.core import separation
from agents.core.fence import Fence
from agents.core.messages import DesiredArrived
from agents.core.readings import WHOLE_PPM, Health
from agents.core.tasks import DesiredTask, EndReason, Goal, Phase, StepReport, Task
from agents.devices.driver import Device
from agents.runtime.spec import (
    DEFAULT_STOP_SIGNAL,
    StoreFolder,
    StoreKeys,
    TaskInput,
    TaskSecret,
    TaskSpec,
    TaskVolume,
)
from protos.suanli.fleet.v1 import control_pb2, node_pb2, usage_pb2
from suanli.evidence.identities import DeviceIdentity
from suanli.evidence.windows import SignedWindow, join_segments

GOALS = {
    control_pb2.TASK_GOAL_PREPARE: Goal.PREPARE,
    control_pb2.TASK_GOAL_RUN: Goal.RUN,
    control_pb2.TASK_GOAL_STOP: Goal.STOP,
}
PHASES = {
    Phase.PREPARING: control_pb2.TASK_PHASE_PREPARING,
    Phase.READY: control_pb2.TASK_PHASE_READY,
    Phase.RUNNING: control_pb2.TASK_PHASE_RUNNING,
    Phase.STOPPING: control_pb2.TASK_PHASE_STOPPING,
    Phase.ENDED: control_pb2.TASK_PHASE_ENDED,
}
ISOLATIONS = {
    separation.NONE: node_pb2.ISOLATION_NONE,
    separation.UID: node_pb2.ISOLATION_UID,
    separation.NAMESPACE: node_pb2.ISOLATION_NAMESPACE,
}
HEALTHS = {
    Health.OK: node_pb2.DEVICE_HEALTH_OK,
    Health.DEGRADED: node_pb2.DEVICE_HEALTH_DEGRADED,
    Health.FAULTY: node_pb2.DEVICE_HEALTH_FAULTY,
}


def claims(
    device: Device, driver: str, simulated: bool, health: Health, device_id: str = ""
) -> node_pb2.DeviceClaims:
    """A device on the wire."""
    return node_pb2.DeviceClaims(
        vendor=device.vendor,
        model=device.model,
        index=device.index,
        serial=device.serial,
        uuid=device.uuid,
        bus_address=device.bus_address,
        driver=driver,
        driver_version=device.driver_version,
        simulated=simulated,
        memory_bytes=device.memory_bytes,
        fast_link_group=device.fast_link_group,
        health=HEALTHS[health],
        device_id=device_id,
        die_id=device.die_id,
        firmware=device.firmware,
    )


def claims_of(identity: DeviceIdentity) -> node_pb2.DeviceClaims:
    """An enrolled device on the wire, as far as evidence names it."""
    return node_pb2.DeviceClaims(
        vendor=identity.vendor,
        model=identity.model,
        index=identity.index,
        serial=identity.serial,
        uuid=identity.uuid,
        bus_address=identity.bus_address,
        driver=identity.driver,
        driver_version=identity.driver_version,
        simulated=identity.simulated,
        health=node_pb2.DEVICE_HEALTH_OK,
        device_id=identity.device_id,
        die_id=identity.die_id,
        firmware=identity.firmware,
    )


def identity(message: node_pb2.DeviceClaims) -> DeviceIdentity:
    """A device as evidence names it."""
    return DeviceIdentity(
        device_id=message.device_id,
        vendor=message.vendor,
        model=message.model,
        index=message.index,
        serial=message.serial or None,
        uuid=message.uuid or None,
        bus_address=message.bus_address or None,
        driver=message.driver,
        driver_version=message.driver_version or None,
        simulated=message.simulated,
        die_id=message.die_id or None,
        firmware=message.firmware or None,
    )


def desired(message: control_pb2.Desired) -> DesiredArrived:
    """The desired state. Raises ValueError for a goal that this agent does not know."""
    tasks = []
    for task in message.tasks:
        if task.goal not in GOALS:
            raise ValueError(f"allocation {task.allocation_id} is to become {task.goal}, which is no goal")
        tasks.append(
            DesiredTask(
                task.allocation_id, GOALS[task.goal], task.reason, task.master_address, task.master_port
            )
        )
    return DesiredArrived(Fence(message.leader_term, message.generation), tuple(tasks))


def observed_task(task: Task) -> control_pb2.ObservedTask:
    """One task as it is."""
    message = control_pb2.ObservedTask(
        allocation_id=task.allocation_id,
        phase=PHASES[task.phase],
        rendezvous_port=task.rendezvous_port,
        started_ms=task.started_ms,
        ended_ms=task.ended_ms,
        detail=task.detail,
        end_reason=task.end_reason or "",
        image_digest=task.image_digest,
        process_ids=task.process_ids,
    )
    if task.exit_code is not None:
        message.exit_code = task.exit_code
    elif task.phase is Phase.ENDED and task.end_reason is EndReason.EXITED:
        message.exit_code = 0
    if task.log_pattern is not None:
        message.log_pattern = task.log_pattern
    if task.step_report is not None:
        message.step_report.CopyFrom(_step_report(task.step_report))
    return message


def _step_report(report: StepReport) -> control_pb2.StepReport:
    return control_pb2.StepReport(
        step=report.step,
        of=report.of,
        loss_micros=report.loss_micros,
        tokens=report.tokens,
        model_checkpoint=report.model_checkpoint,
        at_ms=report.at_ms,
    )


def spec(message: control_pb2.FetchTaskResponse) -> TaskSpec:
    """What to run."""
    return TaskSpec(
        allocation_id=message.allocation_id,
        firm_id=message.firm_id,
        firm_uid=message.firm_uid,
        job_id=message.job_id,
        job_name=message.job_name,
        attempt=message.attempt,
        rank=message.rank,
        gang_size=message.gang_size,
        processes=message.processes,
        devices=tuple(message.device_indices),
        device_model=message.device_model,
        command=tuple(message.command),
        environment=dict(message.environment),
        working_directory=message.working_directory,
        grace_ms=message.grace_ms,
        stop_signal=message.stop_signal or DEFAULT_STOP_SIGNAL,
        model_checkpoint=message.model_checkpoint,
        model_checkpoint_directory=message.model_checkpoint_directory,
        inputs=tuple(TaskInput(item.manifest_sha256, item.path) for item in message.inputs),
        outputs=tuple(message.outputs),
        log_patterns=tuple(message.log_patterns),
        secrets=tuple(
            TaskSecret(item.name, item.environment, item.file, item.value) for item in message.secrets
        ),
        share_ppm=message.share_ppm or WHOLE_PPM,
        share_memory_bytes=message.share_memory_bytes,
        first_process=message.first_process if message.all_processes else -1,
        all_processes=message.all_processes,
        group=message.group,
        rank_in_group=message.rank_in_group,
        groups=dict(sorted(message.groups.items())),
        image=message.image,
        image_digest=message.image_digest,
        image_secret=message.image_credentials.name,
        image_credentials=message.image_credentials.value,
        volumes=tuple(
            TaskVolume(item.name, item.host_path, item.mount_path, item.read_only, item.own)
            for item in message.volumes
        ),
        store_inputs=tuple(map(_store_folder, message.store_inputs)),
        store_outputs=tuple(map(_store_folder, message.store_outputs)),
    )


def _store_folder(item: control_pb2.StoreFolder) -> StoreFolder:
    keys = StoreKeys(item.access_key, item.secret_key, item.session_token) if item.access_key else None
    return StoreFolder(
        item.field,
        item.path,
        item.endpoint,
        item.region,
        item.virtual_hosted,
        item.bucket,
        item.key,
        item.after_success_only,
        keys,
    )


def upload(window: SignedWindow, *, packed: bool) -> usage_pb2.UploadRequest:
    """A signed window, its bytes untouched; `packed` where the gateway takes its segments so: a fifth of the bytes."""
    if not packed:
        segments = [usage_pb2.SaltedSegment(salt=s.salt, body=s.body) for s in window.segments]
        return usage_pb2.UploadRequest(header=window.header, signature=window.signature, segments=segments)
    return usage_pb2.UploadRequest(
        header=window.header,
        signature=window.signature,
        packed=zstandard.compress(join_segments(window.segments), level=1),
    )
