"""What an accepted job says, and can hardly mean."""

import pytest

from scheduler.domain.job_warnings import Late, late, warnings_of
from scheduler.domain.time import from_rfc3339

DEADLINE = "2026-12-01T08:00:00.000Z"
HOUR_MS = 3_600_000


def test_an_estimate_above_the_time_limit_is_warned_of() -> None:
    (warning,) = warnings_of({"estimate_seconds": 7200, "time_limit_seconds": 3600})
    assert (warning.field, warning.got) == ("estimate_seconds", "7200")
    assert warning.want == "at most 3600, its time limit, at which it is stopped"


@pytest.mark.parametrize(
    "spec",
    [
        {"estimate_seconds": 3600, "time_limit_seconds": 3600},
        {"estimate_seconds": None, "time_limit_seconds": 3600},
        {"estimate_seconds": 7200, "time_limit_seconds": None},
    ],
)
def test_an_estimate_within_the_time_limit_is_not(spec: dict[str, object]) -> None:
    assert warnings_of(spec) == []


@pytest.mark.parametrize(
    ("starts_in_h", "estimate_h", "found"),
    [
        (None, 1, None),
        (-2, 1, None),
        (-1, 1, None),
        (-1, None, None),
        (-1, 2, (1, False)),
        (0, None, (0, True)),
        (3, 2, (3, True)),
    ],
)
def test_a_job_that_most_likely_misses_its_deadline_is_found(
    starts_in_h: int | None, estimate_h: int | None, found: tuple[int, bool] | None
) -> None:
    at_ms = from_rfc3339(DEADLINE)
    spec = {"deadline": DEADLINE, "estimate_seconds": None if estimate_h is None else estimate_h * 3600}
    starts_ms = None if starts_in_h is None else at_ms + starts_in_h * HOUR_MS
    told = late(spec, starts_ms)
    assert told == (None if found is None else Late(DEADLINE, at_ms + found[0] * HOUR_MS, starts=found[1]))
    assert late({**spec, "deadline": None}, starts_ms) is None


def test_no_job_is_told_to_end_after_its_time_limit() -> None:
    at_ms = from_rfc3339(DEADLINE)
    spec = {"deadline": DEADLINE, "estimate_seconds": 7200, "time_limit_seconds": 1800}
    assert late(spec, at_ms - HOUR_MS) is None
    found = late({**spec, "time_limit_seconds": 5400}, at_ms - HOUR_MS)
    assert found == Late(DEADLINE, at_ms + HOUR_MS // 2, starts=False)


def test_it_is_told_the_moment() -> None:
    starts = Late(DEADLINE, from_rfc3339("2026-12-01T09:00:00Z"), starts=True)
    assert starts.sentence == (
        f"Its deadline, {DEADLINE}, comes before it most likely starts, about 2026-12-01T09:00:00.000Z."
    )
    assert starts.warning.want == "a time after 2026-12-01T09:00:00.000Z, about when it most likely starts"
    assert "ends" in starts._replace(starts=False).sentence
    assert "ends" in starts._replace(starts=False).warning.want
