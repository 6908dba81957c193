"""A committed placement: this task owns these devices."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple, Protocol


class Goal(StrEnum):
    """What a task is to become."""

    PREPARE = "prepare"
    RUN = "run"
    STOP = "stop"
    RESERVE = "reserve"  # no task: devices kept for the gang, should it lose a node


class Phase(StrEnum):
    """Where a task is, as its agent observes it."""

    PREPARING = "preparing"
    READY = "ready"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class AttemptState(StrEnum):
    """Where an attempt is."""

    PREPARING = "preparing"  # until every task is ready
    READY = "ready"  # told to run
    RUNNING = "running"  # at least one task runs
    STOPPING = "stopping"
    ENDED = "ended"


class DesiredRow(Protocol):
    """What the desired state of a node is made of: an allocation and its attempt's meeting point."""

    @property
    def allocation_id(self) -> str: ...
    @property
    def goal(self) -> str: ...
    @property
    def stop_reason(self) -> str | None: ...
    @property
    def live(self) -> bool: ...
    @property
    def master_address(self) -> str | None: ...
    @property
    def master_port(self) -> int | None: ...


class DesiredTask(NamedTuple):
    """One task of a node's desired state."""

    allocation_id: str
    goal: Goal
    reason: str  # of a stop, else empty
    master_address: str  # for a run, else empty
    master_port: int  # for a run, else 0


def desired_state(rows: Iterable[DesiredRow]) -> list[DesiredTask]:
    """The full set of tasks that shall be on a node, by allocation id.

    An allocation is desired while it is live: it stops being live when its agent has said that the task
    ended and the controller has recorded it. Then it is absent from here, and the agent forgets it.
    """
    tasks = []
    for row in rows:
        goal = Goal(row.goal)
        if not row.live or goal is Goal.RESERVE:
            continue
        running = goal is Goal.RUN
        tasks.append(
            DesiredTask(
                allocation_id=row.allocation_id,
                goal=goal,
                reason=(row.stop_reason or "") if goal is Goal.STOP else "",
                master_address=(row.master_address or "") if running else "",
                master_port=(row.master_port or 0) if running else 0,
            )
        )
    tasks.sort()
    return tasks
