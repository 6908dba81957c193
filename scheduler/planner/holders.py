"""Who runs in which cell for which queue."""

from collections.abc import Iterable
from dataclasses import dataclass

from scheduler.domain.jobs import Priority
from scheduler.domain.queues import QueueKey
from scheduler.planner.snapshot import RunningJob


@dataclass(slots=True)
class Holders:
    """Running jobs of one queue in a cell."""

    running: list[RunningJob]
    priority: Priority  # of the first
    lowest: int  # of their priority classes
    resumable: bool = False  # whether any of them resumes


def holders(jobs: Iterable[RunningJob]) -> dict[tuple[str, str], dict[QueueKey, Holders]]:
    """By (pool, model) and queue. Cost: O(running jobs)."""
    found: dict[tuple[str, str], dict[QueueKey, Holders]] = {}
    for running in jobs:
        shape = running.shape
        queues = found.setdefault((running.pool, running.model), {})
        held_by = queues.get(shape.queue)
        if held_by is None:
            held_by = queues[shape.queue] = Holders([], shape.priority, shape.priority.rank)
        held_by.running.append(running)
        if shape.resumable:
            held_by.resumable = True
        if shape.priority is not held_by.priority:
            held_by.lowest = min(held_by.lowest, shape.priority.rank)
    return found
