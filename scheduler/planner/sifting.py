"""Plans although something of the snapshot trips the planner: what does is found by halving, and left out."""

from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import replace
from typing import TypeVar

from scheduler.domain.ids import JobId
from scheduler.planner.config import PlannerConfig
from scheduler.planner.cycle import plan
from scheduler.planner.plan import Plan
from scheduler.planner.report import FAILS, Report
from scheduler.planner.snapshot import Shape, Snapshot

MOST_TRIES = 40  # more than it takes to find one part among all

# What a plan may be made without: waiting jobs of one shape, which are judged together; a job that rests or runs.
Part = Shape | JobId
PlanT = TypeVar("PlanT")


class StillLooking(Exception):
    """More trips the planner than so many tries find; what they found is in `found`."""

    def __init__(self, found: Set[Part]) -> None:
        super().__init__(f"{len(found)} found so far")
        self.found = found


def sifted_plan(snapshot: Snapshot, now_ms: int, config: PlannerConfig) -> tuple[Plan, Report]:
    """As `plan`; what it fails over is told so and waits. Raises what it raises without any, StillLooking."""

    def make(part: Snapshot) -> tuple[Plan, Report]:
        proposal, report = plan(part, now_ms, config)
        _ = report.expected  # played forward when it is first asked for: with the rest of the plan
        return proposal, report

    try:
        return make(snapshot)
    except Exception:  # noqa: BLE001 - whatever it is
        (proposal, report), found = sifted(make, snapshot)
    return proposal, report.without(waiting_of(snapshot, found), snapshot, FAILS)


def sifted(
    make: Callable[[Snapshot], PlanT], snapshot: Snapshot, known: frozenset[Part] = frozenset()
) -> tuple[PlanT, Set[Part]]:
    """What `make` makes of a snapshot for which it raises, without what it raises over, and what that is.

    `known`: what is left out in any case. Raises what `make` raises where it does so without any part, StillLooking.
    Cost: for each of n parts that it raises over some log2(n) plans.
    """
    parts = [part for part in parts_of(snapshot) if part not in known]
    good: list[Part] = []
    found: set[Part] = set()
    made = make(without(snapshot, known.union(parts)))
    groups = _halves(parts)
    for _ in range(MOST_TRIES):
        if not groups:
            return made, found
        group = groups.pop()
        try:
            made = make(without(snapshot, known.union(parts).difference(good, group)))
        except Exception:  # noqa: BLE001 - whatever it is
            if len(group) == 1:
                found.update(group)
            else:
                groups += _halves(group)
        else:
            good += group
    raise StillLooking(found)


def _halves(parts: Sequence[Part]) -> list[Sequence[Part]]:
    """The first half comes last, and so is looked at next."""
    middle = len(parts) // 2
    return [half for half in (parts[middle:], parts[:middle]) if half]


def parts_of(snapshot: Snapshot) -> list[Part]:
    """All parts; those that hold devices first, so that none is planned for as if it had none."""
    return [
        *(job.job_id for job in snapshot.running),
        *(resting.job.job_id for resting in snapshot.resting),
        *(item.shape for item in snapshot.classes),
    ]


def without(snapshot: Snapshot, parts: Collection[Part]) -> Snapshot:
    """As if these were not there; what they hold stays taken. Cost: O(classes + running jobs)."""
    return replace(
        snapshot,
        classes=tuple(item for item in snapshot.classes if item.shape not in parts),
        resting=tuple(resting for resting in snapshot.resting if resting.job.job_id not in parts),
        running=tuple(job for job in snapshot.running if job.job_id not in parts),
    )


def waiting_of(snapshot: Snapshot, parts: Collection[Part]) -> frozenset[JobId]:
    """The jobs of these parts that have no devices."""
    waiting = {job.job_id for item in snapshot.classes if item.shape in parts for job in item.jobs}
    return frozenset(waiting.union(one.job.job_id for one in snapshot.resting if one.job.job_id in parts))
