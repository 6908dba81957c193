"""What a job says of its steps is anybody's: whatever its file holds, the job can be shown."""

import pytest

from scheduler.api.schemas.jobs import step_report_out


@pytest.mark.parametrize("at_ms", [2**63 - 1, 253_402_300_800_000, -1, 0])
def test_a_report_of_a_moment_that_no_calendar_has_is_shown_without_it(at_ms: int) -> None:
    shown = step_report_out({"step": 7, "of": 100, "at_ms": at_ms})
    assert shown is not None
    assert (shown.step, shown.of, shown.at) == (7, 100, None)
