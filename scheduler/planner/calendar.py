"""Maintenance windows and advance reservations: nodes that are, or soon will be, not for everybody."""

from collections.abc import Iterable

from scheduler.planner.config import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.snapshot import Hole, Shape, WaitingJob


def close_booked_nodes(calendar: Iterable[Hole], fleet: Fleet, now_ms: int, config: PlannerConfig) -> None:
    """Keeps the nodes of every hole that is open or near: only work that ends before it may use them.

    Cost: the nodes of the holes.
    """
    for hole in sorted(calendar, key=lambda hole: (hole.from_ms, hole.until_ms, sorted(hole.nodes))):
        if hole.until_ms <= now_ms or hole.from_ms - now_ms > config.calendar_ahead_ms:
            continue
        for cell in fleet.cells():
            for node_id in sorted(hole.nodes):
                row = cell.row_of.get(node_id)
                if row is not None:
                    devices = cell.parts[row].on_node.devices
                    cell.hold(row, (1 << len(devices)) - 1, hole.from_ms, hole.queue)


def ends_in_time(
    shape: Shape, job: WaitingJob, model: str, estimates: Estimates, now_ms: int, config: PlannerConfig
) -> int | None:
    """When a job that starts now has ended: by its time limit, else as good as surely; None: nobody knows."""
    if shape.time_limit_ms is not None:
        return now_ms + shape.time_limit_ms + config.stop_margin_ms
    late_ms = estimates.late_ms(shape, job, model)
    return None if late_ms is None else now_ms + int(late_ms) + config.stop_margin_ms
