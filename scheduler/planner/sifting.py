"""Plans although something of the snapshot trips the planner: what does is found by halving, and left out."""

from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import replace
from typing import NamedTuple, TypeVar

from scheduler.domain.ids import JobId
from scheduler.planner.config import PlannerConfig
from scheduler.planner.cycle import plan
from scheduler.planner.plan import Plan
from scheduler.planner.report import FAILS, Report
from scheduler.planner.snapshot import Shape, Snapshot

# What a plan may be made without: waiting jobs of one shape, which are judged together; a job that rests or runs.
Part = Shape | JobId
PlanT = TypeVar("PlanT")


class Looked(NamedTuple):
    """How far a search has come. Parts that are in neither have come since: it ends without them, and so it ends
    however many come.
    """

    good: Sequence[Part] = ()  # with all of which a plan was made
    groups: Sequence[Sequence[Part]] = ()  # still to be looked at, the last one first


class StillLooking(Exception):
    """The time is up before all that trips the planner is found: what this call found, and how far it has come."""

    def __init__(self, found: Set[Part], looked: Looked) -> None:
        super().__init__(f"{len(found)} found, and there is more to look at")
        self.found = found
        self.looked = looked


def sifted_plan(
    snapshot: Snapshot, now_ms: int, config: PlannerConfig, may_try: Callable[[], bool]
) -> tuple[Plan, Report]:
    """As `plan`; what it fails over is told so and waits. Raises what it raises without any, StillLooking.

    `may_try`: see `sifted`.
    """

    def make(part: Snapshot) -> tuple[Plan, Report]:
        proposal, report = plan(part, now_ms, config)
        play_forward(report)
        return proposal, report

    try:
        return make(snapshot)
    except Exception:  # noqa: BLE001 - whatever it is
        (proposal, report), found = sifted(make, snapshot, may_try)
    return proposal, report.without(waiting_of(snapshot, found), snapshot, FAILS)


def play_forward(report: Report) -> None:
    """With the rest of the plan, not when it is first asked for: what trips over that trips the plan."""
    _ = report.expected


def sifted(
    make: Callable[[Snapshot], PlanT],
    snapshot: Snapshot,
    may_try: Callable[[], bool],
    known: frozenset[Part] = frozenset(),
    looked: Looked | None = None,
) -> tuple[PlanT, Set[Part]]:
    """What `make` makes of a snapshot for which it raises, without what it raises over, and what that is.

    Of parts over which it raises only together the last of `parts_of` is found, whosesoever it is: who holds devices
    stays rather than who waits, and who has waited for longer. Which of them is at fault nobody can tell.

    `known`: what is left out in any case. `may_try`: whether there is time for another plan; one is tried in any case,
    so that each call comes nearer to the end when it goes on from where the one before `looked`; what has come since
    is left out, and not found. Raises what `make` raises where it does so without any part, StillLooking.
    Cost: for each of n parts that it raises over some log2(n) plans; a call that goes on makes one more.
    """
    parts = [part for part in parts_of(snapshot) if part not in known]
    out = known.union(parts)
    good, groups = ([], _halves(parts)) if looked is None else _still(looked, parts)
    try:
        made = make(without(snapshot, out.difference(good)))
    except Exception:
        if not good:
            raise
        good, groups = [], _halves(parts)  # they are not what they were
        made = make(without(snapshot, out))
    found: set[Part] = set()
    tried = False
    while groups:
        if tried and not may_try():
            raise StillLooking(found, Looked(good, groups))
        group, tried = groups.pop(), True
        try:
            made = make(without(snapshot, out.difference(good, group)))
        except Exception:  # noqa: BLE001 - whatever it is
            if len(group) == 1:
                found.update(group)
            else:
                groups += _halves(group)
        else:
            good += group
    return made, found


def _still(looked: Looked, parts: Sequence[Part]) -> tuple[list[Part], list[Sequence[Part]]]:
    """What is left of (good, groups)."""
    there = set(parts)
    good = list(looked.good)  # also those that are not there any more
    left = ([part for part in group if part in there] for group in looked.groups)
    return good, [group for group in left if group]


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
