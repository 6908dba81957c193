"""What a new leader has in memory from rows: what the one before had."""

import random
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from scheduler.domain.stored_specs import StoredSpec
from scheduler.machine import announce
from scheduler.machine.state import ClusterState, JobRecord
from scheduler.planner.told_starts import KEPT_STARTS, Waits
from scheduler.storage.cluster_assembly import ClusterRows, assemble
from scheduler.storage.cluster_rows import job_row
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import OTHER_MODEL, a_spec


def loaded(jobs: Iterable[JobRecord], **as_stored: object) -> ClusterState:
    """Queued jobs in rows in any order, some columns `as_stored` by another version."""
    rows = [
        (
            SimpleNamespace(
                **{**job_row(job), **as_stored},
                submitted_ms=job.submitted_ms,
                array_id=job.array_id,
                array_index=job.array_index,
            ),
            StoredSpec(job.spec, job.name, job.labels),
        )
        for job in jobs
    ]
    state = Controller([a_node("n1"), a_node("m1", model=OTHER_MODEL)]).state
    assemble(state, ClusterRows(rows, (), (), ()))
    return state


def waiting(state: ClusterState) -> Sequence[Sequence[Waits]]:
    return state.learning.experience().starts.waiting


def told_at_once(jobs: int) -> Controller:
    """Many jobs are told their starts in one cycle, and not those first who start first."""
    controller = Controller([a_node("n1"), a_node("m1", model=OTHER_MODEL)])
    rng = random.Random(0)
    for number in range(jobs):
        limit_s = rng.randrange(600, 360_000)
        models: Any = {"models": (OTHER_MODEL,)} if number % 7 == 0 else {}
        controller.submit(f"job-{number}", a_spec(devices=1, time_limit_s=limit_s, **models))
    controller.plan()
    announce(controller.state, controller.report, controller.now_ms, controller.ids)
    return controller


def test_the_jobs_that_wait_for_told_starts_are_those_of_before_also_where_many_were_told_at_once() -> None:
    state = told_at_once(300).state
    waits = [job for job in state.jobs.values() if not job.attempts]
    assert len(waits) > len(waiting(state)[0]) == KEPT_STARTS
    assert waiting(loaded(reversed(waits))) == waiting(state)
