"""Pushing desired states: always the full set of a node, read in one snapshot with its generation."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from protos.suanli.fleet.v1 import control_pb2
from scheduler.domain.allocations import desired_state
from scheduler.rpc.control_messages import desired_task
from scheduler.storage.tables import AllocationRow, AttemptRow, NodeStateRow


class Generation(NamedTuple):
    """Which decision a desired state is; a later one is greater."""

    leader_term: int
    generation: int


class _Row(NamedTuple):
    """An allocation as `desired_state` wants it."""

    allocation_id: str
    goal: str
    stop_reason: str | None
    live: bool
    master_address: str | None
    master_port: int | None


async def generations(session: AsyncSession, node_ids: Collection[str]) -> dict[str, Generation]:
    """The newest generation of each node; nodes that the controller has not seen yet are left out."""
    found = await session.execute(
        select(NodeStateRow.node_id, NodeStateRow.leader_term, NodeStateRow.generation).where(
            NodeStateRow.node_id.in_(node_ids)
        )
    )
    return {node_id: Generation(term, generation) for node_id, term, generation in found}


async def desired_states(session: AsyncSession, node_ids: Collection[str]) -> dict[str, control_pb2.Desired]:
    """The full desired state of each node that the controller has seen.

    One statement, therefore one snapshot: a generation never comes with the tasks of another.
    """
    found = await session.execute(
        select(
            NodeStateRow.node_id,
            NodeStateRow.leader_term,
            NodeStateRow.generation,
            AllocationRow.allocation_id,
            AllocationRow.goal,
            AllocationRow.stop_reason,
            AllocationRow.live,
            AttemptRow.master_address,
            AttemptRow.master_port,
        )
        .outerjoin(AllocationRow, (AllocationRow.node_id == NodeStateRow.node_id) & AllocationRow.live)
        .outerjoin(
            AttemptRow,
            (AttemptRow.firm_id == AllocationRow.firm_id)
            & (AttemptRow.job_id == AllocationRow.job_id)
            & (AttemptRow.attempt == AllocationRow.attempt),
        )
        .where(NodeStateRow.node_id.in_(node_ids))
    )
    heads: dict[str, Generation] = {}
    rows: dict[str, list[_Row]] = {}
    for row in found:
        node_id = row[0]
        heads[node_id] = Generation(row[1], row[2])
        tasks = rows.setdefault(node_id, [])
        # A node without live allocations comes as one row of nothing.
        if row[3] is not None:
            tasks.append(_Row(*row[3:]))
    return {node_id: _desired(head, rows[node_id]) for node_id, head in heads.items()}


def _desired(head: Generation, rows: Iterable[_Row]) -> control_pb2.Desired:
    return control_pb2.Desired(
        leader_term=head.leader_term,
        generation=head.generation,
        tasks=[desired_task(*task) for task in desired_state(rows)],
    )
