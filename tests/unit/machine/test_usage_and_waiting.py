"""Decayed usage in whole numbers, and the index of waiting jobs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import QueueKey
from scheduler.machine.usage import BUCKET_MS, HORIZON_BUCKETS, UsageLedger
from scheduler.machine.waiting import WaitingJobs
from scheduler.planner.snapshot import Shape, WaitingJob

KEY = QueueKey(FirmId("firm-a"), "default")
START_MS = 1_700_000_000_000


@given(
    st.lists(
        st.tuples(st.integers(0, 20 * BUCKET_MS), st.integers(1, 5 * BUCKET_MS), st.integers(1, 1_000)),
        max_size=12,
    ),
    st.integers(0, 30 * BUCKET_MS),
)
def test_a_ledger_that_is_loaded_or_was_asked_often_equals_the_one_that_lived_through_it(
    stretches: list[tuple[int, int, int]], now_after_ms: int
) -> None:
    now_ms = START_MS + now_after_ms
    lived, asked, loaded = UsageLedger(START_MS), UsageLedger(START_MS), UsageLedger(now_ms)
    moments = []
    for start, length, gflops in stretches:
        moments += [(START_MS + start, 1, gflops), (START_MS + start + length, -1, gflops)]
        if START_MS + start <= now_ms:
            end_ms = START_MS + start + length
            loaded.remember(KEY, gflops, START_MS + start, end_ms if end_ms <= now_ms else None)
    for at_ms, sign, gflops in sorted(moments):
        if at_ms <= now_ms:
            for ledger in (lived, asked):
                (ledger.start if sign > 0 else ledger.stop)(KEY, gflops, at_ms)
            asked.decayed(at_ms)
    assert asked.decayed(now_ms) == lived.decayed(now_ms)
    assert lived.decayed(now_ms).get(KEY, 0) == loaded.decayed(now_ms).get(KEY, 0)
    later_ms = now_ms + 3 * BUCKET_MS
    assert lived.decayed(later_ms).get(KEY, 0) == loaded.decayed(later_ms).get(KEY, 0)


def test_use_halves_in_a_day_and_is_forgotten_after_a_week() -> None:
    ledger = UsageLedger(START_MS - START_MS % BUCKET_MS)
    begin_ms = START_MS - START_MS % BUCKET_MS
    ledger.start(KEY, 1_000, begin_ms)
    ledger.stop(KEY, 1_000, begin_ms + BUCKET_MS)
    assert ledger.decayed(begin_ms + BUCKET_MS - 1)[KEY] == 1_000 * BUCKET_MS
    assert ledger.decayed(begin_ms + 24 * BUCKET_MS)[KEY] == 500 * BUCKET_MS
    assert ledger.decayed(begin_ms + (HORIZON_BUCKETS + 2) * BUCKET_MS).get(KEY, 0) == 0


def test_waiting_jobs_are_kept_by_shape_in_order_of_age() -> None:
    waiting = WaitingJobs()
    one, two = (Shape(KEY, Priority.NORMAL, n, n, ("m",)) for n in (1, 2))
    for at_ms, name in ((3, "c"), (1, "a"), (2, "b")):
        waiting.add(one, WaitingJob(at_ms, JobId(name)))
    waiting.add(two, WaitingJob(0, JobId("z")))
    classes = waiting.classes()
    assert [[job.job_id for job in item.jobs] for item in classes] == [["z"], ["a", "b", "c"]]
    waiting.remove(one, 2, JobId("b"))
    again = waiting.classes()
    assert again[0] is classes[0]  # what did not change is shared
    assert [job.job_id for job in again[1].jobs] == ["a", "c"]
    with pytest.raises(KeyError):
        waiting.remove(one, 2, JobId("b"))
    assert len(waiting) == 3
