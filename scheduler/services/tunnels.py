"""Where a tunnel into a running job leads: the task, its node, and the gateway that holds the node's stream."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.domain.authorise import Action, Principal, authorise, require_firm, require_project
from scheduler.domain.errors import Conflict, FieldProblem, Invalid, Unavailable
from scheduler.domain.jobs import JobState
from scheduler.services.jobs import JobRecord, gang_of, read_job
from scheduler.storage import inbox
from scheduler.storage.tables import AllocationRow, GatewayRow, NodeRow, NodeStateRow


@dataclass(frozen=True, slots=True)
class TunnelTarget:
    """One process of a running job. `gateway_address` is where the API dials."""

    firm_id: str
    job_id: str
    allocation_id: str
    node_id: str
    local_rank: int
    gateway_address: str


async def find_port(
    session: AsyncSession, principal: Principal, job_id: str, *, rank: int | None, port: int
) -> TunnelTarget:
    """Where a port of a job is reached, on the task that the job says or on another.

    Raises Forbidden, NotFound, Invalid, Conflict, Unavailable.
    """
    authorise(principal, Action.FORWARD_PORT)
    job = await read_job(session, principal, job_id)
    require_project(principal, job.project)
    declared = {int(item["port"]): int(item["rank"]) for item in job.spec.get("ports") or ()}
    if port not in declared:
        listed = ", ".join(map(str, sorted(declared))) or "none: add ports: [...] to the job"
        raise Invalid([FieldProblem("query port", str(port), f"a port that the job declares ({listed})")])
    task_rank = declared[port] if rank is None else rank
    _require_rank(task_rank, _tasks(job))
    return await _find(session, job, task_rank, 0)


async def find_process(
    session: AsyncSession, principal: Principal, job_id: str, *, rank: int
) -> TunnelTarget:
    """Where a terminal in a job is started, by process rank.

    Raises Forbidden, NotFound, Invalid, Conflict, Unavailable.
    """
    authorise(principal, Action.ATTACH)
    job = await read_job(session, principal, job_id)
    require_project(principal, job.project)
    gang = gang_of(job)
    _require_rank(rank, gang.first_process(_tasks(job)))
    return await _find(session, job, *gang.place_of(rank))


async def gateways_of(session: AsyncSession, node_ids: Collection[str]) -> dict[str, tuple[str, str | None]]:
    """Of the nodes that there are: name, and where the API dials their gateway, None where they are not connected."""
    rows = await session.execute(
        select(NodeRow.node_id, NodeRow.name, GatewayRow.tunnel_address)
        .outerjoin(NodeStateRow, NodeStateRow.node_id == NodeRow.node_id)
        .outerjoin(GatewayRow, GatewayRow.gateway_id == NodeStateRow.gateway_id)
        .where(NodeRow.node_id.in_(node_ids))
    )
    return {row.node_id: (row.name, row.tunnel_address) for row in rows}


def _tasks(job: JobRecord) -> int:
    """The most that it may run with."""
    return gang_of(job).sizes[-1]


def _require_rank(rank: int, ranks: int) -> None:
    if rank >= ranks:
        raise Invalid([FieldProblem("query rank", str(rank), f"a rank of the job, 0 to {ranks - 1}")])


async def note_attached(session: AsyncSession, principal: Principal, job_id: str) -> None:
    """Let the job's history say who opened a terminal in it."""
    body = {"firm_id": require_firm(principal), "job_id": job_id, "by": principal.name}
    await inbox.put(session, "JobAttached", body)


async def _find(session: AsyncSession, job: JobRecord, task_rank: int, local_rank: int) -> TunnelTarget:
    if job.state != JobState.RUNNING.value:
        raise Conflict(
            f"job {job.job_id} is in state {job.state}; it can be reached while it runs", {"state": job.state}
        )
    row = (
        await session.execute(
            select(AllocationRow.allocation_id, AllocationRow.node_id, GatewayRow.tunnel_address)
            .outerjoin(NodeStateRow, NodeStateRow.node_id == AllocationRow.node_id)
            .outerjoin(GatewayRow, GatewayRow.gateway_id == NodeStateRow.gateway_id)
            .where(
                AllocationRow.firm_id == job.firm_id,
                AllocationRow.job_id == job.job_id,
                AllocationRow.attempt == job.attempt,
                AllocationRow.rank == task_rank,
                AllocationRow.live,
            )
        )
    ).one_or_none()
    if row is None:
        raise Conflict(f"task {task_rank} of job {job.job_id} has ended", {"task_rank": task_rank})
    allocation_id, node_id, address = row
    if address is None:
        raise Unavailable(
            f"the node of task {task_rank} is not connected just now, or its gateway takes no tunnels; the job goes on"
        )
    return TunnelTarget(job.firm_id, job.job_id, allocation_id, node_id, local_rank, address)
