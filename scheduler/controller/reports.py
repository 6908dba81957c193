"""Which rows of the report are worth writing: reports are for people, and may lag where nobody looks.

New waiting jobs and the heads of queues are written at once, the rest in turn, a bounded number a commit:
with 100,000 waiting jobs a cycle must not write 100,000 rows because one device came free.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.domain.ids import JobId
from scheduler.machine.state import ClusterState
from scheduler.planner import Report
from scheduler.planner.plan_checks import Violation

ROWS_PER_COMMIT = 500
HEAD_OF_QUEUE = 50
REFRESH_MS = 10_000
REFUSALS_PER_CYCLE = 10
RENEW_MS = 5 * 60_000  # what says the same is written again after so long: the expected start moves with time


class ReportBook:
    """Remembers what is written of each waiting job."""

    def __init__(self) -> None:
        self._written: dict[JobId, tuple[object, int]] = {}  # content, when

    def rows(self, report: Report, state: ClusterState) -> list[Mapping[str, Any]]:
        """Rows that are new or different. Cost: O(waiting jobs) comparisons, a bounded number of rows."""
        rows: list[Mapping[str, Any]] = []
        for queue in sorted({item.shape.queue for item in report.classes}):
            for position, waiting, item in report.in_order(queue):
                if len(rows) >= ROWS_PER_COMMIT:
                    return rows
                content = (position, item.reasons, item.counterfactual)
                written = self._written.get(waiting.job_id)
                if written is not None and (
                    (written[0] == content and report.at_ms - written[1] < RENEW_MS)
                    or (position > HEAD_OF_QUEUE and report.at_ms - written[1] < REFRESH_MS)
                ):
                    continue
                self._written[waiting.job_id] = (content, report.at_ms)
                told = report.starts(waiting.job_id)
                rows.append(
                    {
                        "firm_id": state.jobs[waiting.job_id].firm_id,
                        "job_id": waiting.job_id,
                        "position": position,
                        "reasons": [reason.to_json() for reason in item.reasons],
                        "counterfactual": item.counterfactual,
                        "starts_from_ms": None if told is None else told.low_ms,
                        "starts_expected_ms": None if told is None else told.expected_ms,
                        "starts_until_ms": None if told is None else told.high_ms,
                        "at_ms": report.at_ms,
                    }
                )
        return rows

    def forget(self, job_ids: set[JobId]) -> None:
        """These jobs wait no longer; their rows are deleted in the same commit."""
        for job_id in job_ids:
            self._written.pop(job_id, None)


class RefusalBook:
    """Remembers of which jobs the log says already that their part of the plan was refused."""

    def __init__(self) -> None:
        self._told: set[JobId] = set()

    def news(self, violations: Sequence[Violation]) -> list[Violation]:
        """What is to be logged: whoever is refused in cycle after cycle is told of once, and some in each cycle."""
        fresh = [violation for violation in violations if violation.job_id not in self._told]
        fresh = fresh[:REFUSALS_PER_CYCLE]
        self._told &= {violation.job_id for violation in violations}
        self._told |= {violation.job_id for violation in fresh}
        return fresh
