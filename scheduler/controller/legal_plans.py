"""A plan that may be applied: where `plan_checks` refuses placements, the others are planned for anew without them."""

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Protocol

from scheduler.domain.ids import JobId
from scheduler.planner.plan import Plan
from scheduler.planner.plan_checks import Violation, legal_part
from scheduler.planner.report import REFUSED, Report
from scheduler.planner.snapshot import JobClass, Snapshot


class Plans(Protocol):
    """Who makes plans."""

    def plan(self, snapshot: Snapshot, now_ms: int) -> tuple[Plan, Report]:
        """What starts and who stops, and why the rest waits."""
        ...  # pragma: no cover


@dataclass(frozen=True, slots=True)
class LegalPlan:
    """What may be applied, and what was left out of what was proposed."""

    plan: Plan
    report: Report
    violations: tuple[Violation, ...]
    refused: frozenset[JobId]  # whose placement was
    stops_left_out: int


def legal_plan(planner: Plans, snapshot: Snapshot, now_ms: int) -> LegalPlan:
    """The planner's proposal, as far as it is legal.

    What a refused placement would have had is not free for those behind it in its plan. As the next cycle refuses it
    again, they would wait until the defect is mended: so they are planned for once more, as if it did not wait.
    """
    proposal, report = planner.plan(snapshot, now_ms)
    legal, violations = legal_part(snapshot, proposal, now_ms)
    refused = _placed(proposal) - _placed(legal)
    if refused:
        others = _without(snapshot, refused)
        proposal, report = planner.plan(others, now_ms)
        legal, more = legal_part(others, proposal, now_ms)
        violations = [*violations, *more]
        refused |= _placed(proposal) - _placed(legal)
    stops_left_out = len(proposal.stops) - len(legal.stops)
    return LegalPlan(
        legal, report.without(refused, snapshot, REFUSED), tuple(violations), refused, stops_left_out
    )


def _placed(plan: Plan) -> frozenset[JobId]:
    return frozenset(placement.job_id for placement in plan.placements)


def _without(snapshot: Snapshot, refused: Set[JobId]) -> Snapshot:
    """As if these jobs did not wait. Cost: O(waiting jobs)."""
    left = (
        (item.shape, tuple(job for job in item.jobs if job.job_id not in refused))
        for item in snapshot.classes
    )
    return replace(snapshot, classes=tuple(JobClass(shape, jobs) for shape, jobs in left if jobs))
