"""What to run for an allocation: asked by the agent in the prepare step, never pushed.

Commands and environments may hold what a researcher would not show to others, so they go only to the node
that the allocation is on, and only while it is live.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.allocations import Goal
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.errors import NotFound
from scheduler.domain.features import Feature, needs_of, node_features
from scheduler.domain.job_reading import spec_from_json
from scheduler.domain.jobs import JobSpec, StopSignal, Variant
from scheduler.domain.object_stores import stores_by_name
from scheduler.domain.pools import volumes_of_firm
from scheduler.domain.time import DAY_MS
from scheduler.services.sealing import SecretKeys
from scheduler.services.secrets import TaskSecret, image_credentials, secrets_of_task
from scheduler.services.store_folders import NO_STORES, TaskStores, stores_of_task
from scheduler.storage.tables import (
    AllocationDeviceRow,
    AllocationRow,
    AttemptRow,
    DeviceRow,
    FirmRow,
    JobRow,
    NodeRow,
    PoolRow,
)

# What an interactive job runs that names no command: nothing, until it is told to end.
HOLD = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done")


@dataclass(frozen=True, slots=True)
class TaskInput:
    """A folder to unpack: the hash of its manifest in hex, and where, relative to the task's folder."""

    manifest_sha256: str
    path: str


@dataclass(frozen=True, slots=True)
class TaskVolume:
    """A volume: its folder on the host, and where the task sees it. `own`: only the firm's folder in it."""

    name: str
    host_path: str
    mount_path: str
    read_only: bool
    own: bool


@dataclass(frozen=True, slots=True)
class TaskToRun:
    """Everything that an agent needs to prepare and start one task. Times in milliseconds."""

    allocation_id: str
    firm_id: str
    firm_uid: int
    job_id: str
    job_name: str
    attempt: int
    rank: int
    gang_size: int
    processes: int
    device_indices: tuple[int, ...]
    device_model: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: str | None
    grace_ms: int
    stop_signal: str
    model_checkpoint: bool
    model_checkpoint_directory: str | None
    inputs: tuple[TaskInput, ...] = ()
    outputs: tuple[str, ...] = ()  # paths in the task's folder
    log_patterns: tuple[str, ...] = ()
    secrets: tuple[TaskSecret, ...] = ()
    share_ppm: int = WHOLE_PPM  # of each device
    share_memory_bytes: int = 0  # of each device, where the task has a part
    first_process: int = 0  # rank in the whole gang of its first process
    all_processes: int = 0  # of the whole gang
    group: str = ""  # in a gang of several
    rank_in_group: int = 0
    groups: Mapping[str, int] = field(default_factory=dict)  # tasks of each group
    volumes: tuple[TaskVolume, ...] = ()
    image: str | None = None
    image_digest: str | None = None  # as the attempt's first task has found it
    image_credentials: TaskSecret | None = None
    stores: TaskStores = NO_STORES
    needs: frozenset[Feature] = frozenset()  # of what not every agent can do

    def __repr__(self) -> str:
        return f"TaskToRun({self.allocation_id})"

    def require_understood(self, understands: Collection[str]) -> None:
        """Raise NotFound where the agent is older than something that it would pass over.

        Such a node is not chosen (planner/reach.py); its agent may have been replaced by an older one since.
        """
        lacking = self.needs - node_features(tuple(understands), runs_images=True)
        if lacking:
            raise NotFound(
                f"the node's agent is older than {' and '.join(sorted(lacking))}: the operator upgrades it"
            )


async def task_to_run(
    session: AsyncSession, node_id: str, allocation_id: str, keys: SecretKeys | None = None
) -> TaskToRun:
    """The task of a live allocation of `node_id`.

    `keys` open the secrets that its job names. Raises NotFound alike where there is no such allocation, where it
    is another node's and where it is over: the caller learns nothing of other nodes; also for a secret or volume
    that is there no more. Raises Unavailable where a secret cannot be opened.
    """
    allocation, attempt, job, firm = await _live(session, node_id, allocation_id)
    devices = await _devices(session, allocation)
    spec = spec_from_json(job.spec)
    variant = spec.variants[attempt.variant]
    gang_size = await _tasks(session, allocation, spec)
    grouped = spec.gang.group_of(allocation.rank)
    checkpoint = spec.model_checkpoint
    pool = await _pool_of(session, node_id)
    of_array = _of_array(job, spec)
    return TaskToRun(
        allocation_id=allocation_id,
        firm_id=allocation.firm_id,
        firm_uid=firm.uid,
        job_id=allocation.job_id,
        job_name=job.name,
        attempt=allocation.attempt,
        rank=allocation.rank,
        gang_size=gang_size,
        processes=spec.gang.processes_of(allocation.rank),
        first_process=spec.gang.first_process(allocation.rank),
        all_processes=spec.gang.first_process(gang_size),
        group="" if grouped is None else grouped[0].name,
        rank_in_group=0 if grouped is None else grouped[1],
        groups={group.name: group.tasks for group in spec.gang.groups},
        device_indices=tuple(index for index, _ in devices),
        share_ppm=min((share_ppm for _, share_ppm in devices), default=WHOLE_PPM),
        share_memory_bytes=(spec.share.memory_bytes or 0) if spec.share is not None else 0,
        device_model=attempt.device_model,
        command=_command(variant, () if grouped is None else grouped[0].command),
        environment={**variant.environment, **of_array},
        working_directory=spec.working_directory,
        grace_ms=spec.grace_ms,
        stop_signal=StopSignal.TERM if checkpoint is None else checkpoint.signal,
        model_checkpoint=checkpoint is not None,
        model_checkpoint_directory=None if checkpoint is None else checkpoint.directory,
        inputs=_inputs(spec),
        outputs=tuple(item.path for item in spec.outputs if item.object is None),
        log_patterns=tuple(rule.pattern for rule in spec.retry.on_log_patterns),
        secrets=await secrets_of_task(session, keys, allocation.firm_id, spec),
        needs=needs_of(spec, variant),
        image=variant.image,
        image_digest=attempt.image_digest,
        image_credentials=await image_credentials(session, keys, allocation.firm_id, spec, variant),
        volumes=_volumes(pool, firm.name, spec),
        stores=await stores_of_task(
            session,
            keys,
            allocation.firm_id,
            spec,
            stores_by_name(pool.object_stores),
            {
                "job_id": allocation.job_id,
                "attempt": allocation.attempt,
                "rank": allocation.rank,
                "array_index": of_array.get("SUANLI_ARRAY_INDEX", ""),
            },
        ),
    )


async def uploads_of_task(
    session: AsyncSession, node_id: str, allocation_id: str
) -> tuple[str, tuple[TaskInput, ...]]:
    """The firm of a live allocation of `node_id`, and the uploads that its task is given. Raises NotFound alike."""
    allocation, _, job, _ = await _live(session, node_id, allocation_id)
    return allocation.firm_id, _inputs(spec_from_json(job.spec))


async def _live(
    session: AsyncSession, node_id: str, allocation_id: str
) -> tuple[AllocationRow, AttemptRow, JobRow, FirmRow]:
    of_attempt = (
        (AttemptRow.firm_id == AllocationRow.firm_id)
        & (AttemptRow.job_id == AllocationRow.job_id)
        & (AttemptRow.attempt == AllocationRow.attempt)
    )
    found = await session.execute(
        select(AllocationRow, AttemptRow, JobRow, FirmRow)
        .join(AttemptRow, of_attempt)
        .join(JobRow, (JobRow.firm_id == AllocationRow.firm_id) & (JobRow.job_id == AllocationRow.job_id))
        .join(FirmRow, FirmRow.firm_id == AllocationRow.firm_id)
        .where(
            AllocationRow.allocation_id == allocation_id,
            AllocationRow.node_id == node_id,
            AllocationRow.live,
            AllocationRow.goal != Goal.RESERVE.value,
        )
    )
    row = found.one_or_none()
    if row is None:
        raise NotFound(f"this node has no live allocation {allocation_id}", {"allocation_id": allocation_id})
    allocation, attempt, job, firm = row
    return allocation, attempt, job, firm


def _inputs(spec: JobSpec) -> tuple[TaskInput, ...]:
    return tuple(
        TaskInput(item.digest.removeprefix("sha256:"), item.path)
        for item in spec.inputs
        if item.digest is not None
    )


async def _tasks(session: AsyncSession, allocation: AllocationRow, spec: JobSpec) -> int:
    """Tasks of the attempt, of which an elastic gang has now more and now fewer."""
    if spec.gang.elastic is None:
        return spec.gang.tasks
    found = await session.scalar(
        select(func.count())
        .select_from(AllocationRow)
        .where(
            AllocationRow.firm_id == allocation.firm_id,
            AllocationRow.job_id == allocation.job_id,
            AllocationRow.attempt == allocation.attempt,
            AllocationRow.goal != Goal.RESERVE.value,
        )
    )
    return found or 1


async def _devices(session: AsyncSession, allocation: AllocationRow) -> list[tuple[int, int]]:
    """(index on the node, share of it in ppm) of each device, by index."""
    given = await session.execute(
        select(DeviceRow.index, AllocationDeviceRow.share_ppm)
        .join(AllocationDeviceRow, AllocationDeviceRow.device_id == DeviceRow.device_id)
        .where(
            AllocationDeviceRow.firm_id == allocation.firm_id,
            AllocationDeviceRow.allocation_id == allocation.allocation_id,
        )
        .order_by(DeviceRow.index)
    )
    return [(index, share_ppm) for index, share_ppm in given]


async def _pool_of(session: AsyncSession, node_id: str) -> PoolRow:
    found = await session.scalars(
        select(PoolRow).join(NodeRow, NodeRow.pool == PoolRow.name).where(NodeRow.node_id == node_id)
    )
    return found.one()


def _volumes(pool: PoolRow, firm: str, spec: JobSpec) -> tuple[TaskVolume, ...]:
    """What the node's pool has for the firm now, whatever it had when the job was submitted. Raises NotFound."""
    there = volumes_of_firm(pool.volumes, firm)
    found = []
    for asked in spec.volumes:
        volume = there.get(asked.name)
        if volume is None or (volume.read_only and not asked.read_only):
            how = "" if asked.read_only else " to be written to"
            raise NotFound(f"the firm has no volume {asked.name}{how} in this node's pool any more")
        found.append(
            TaskVolume(
                volume.name, volume.host_path, asked.mount_path, asked.read_only, own=not volume.shared
            )
        )
    return tuple(found)


def _command(variant: Variant, of_group: tuple[str, ...]) -> tuple[str, ...]:
    process = variant.process_environment
    command = of_group or variant.command or HOLD
    return command if process is None else process.around(command)


def _of_array(job: JobRow, spec: JobSpec) -> dict[str, str]:
    """By what the jobs of an array tell themselves apart."""
    if spec.array is None or job.array_index is None:
        return {}
    return {
        "SUANLI_ARRAY_ID": str(job.array_id),
        "SUANLI_ARRAY_INDEX": str(job.array_index),
        "SUANLI_ARRAY_COUNT": str(spec.array.count),
    }


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """Where the output of a task belongs: the parts of its path, all from the database."""

    firm_id: str
    job_id: str
    attempt: int
    rank: int
    processes: int
    keep_ms: int | None = None  # how long its results are kept; None: the installation's own time
    ended_ms: int | None = None  # None: live


async def task_output(session: AsyncSession, node_id: str, allocation_id: str) -> TaskOutput:
    """Where the output of an allocation of `node_id` belongs, whether it is live or over.

    Raises NotFound where there is no such allocation or where it is another node's.
    """
    row = AllocationRow
    found = await session.execute(
        select(row.firm_id, row.job_id, row.attempt, row.rank, row.ended_ms, JobRow.spec)
        .join(JobRow, (JobRow.firm_id == row.firm_id) & (JobRow.job_id == row.job_id))
        .where(row.allocation_id == allocation_id, row.node_id == node_id)
    )
    output = found.one_or_none()
    if output is None:
        raise NotFound(f"this node has no allocation {allocation_id}", {"allocation_id": allocation_id})
    firm_id, job_id, attempt, rank, ended_ms, spec = output
    read = spec_from_json(spec)
    days = [kept.keep_days for kept in read.outputs]
    return TaskOutput(
        firm_id,
        job_id,
        attempt,
        rank,
        processes=read.gang.processes_of(rank),
        keep_ms=max(days) * DAY_MS if days else None,
        ended_ms=ended_ms,
    )
