"""Who cannot move later waits for a faster model for as long as the slow one would cost him, and no longer."""

import pytest

from scheduler.planner import PlannerConfig, Shape, WaitingJob
from scheduler.planner.estimates import Estimates
from scheduler.planner.next_cycle import Ahead
from scheduler.planner.patience import Patience
from scheduler.planner.sharing import Sharing
from tests.builders.moments import FAST, HOUR, NOW_MS, SLOW, Moment, a_node, asks

JOB = asks(8, models=(FAST, SLOW), rates=((FAST, 4.0), (SLOW, 1.0)))  # steps a second
STEPS = 4 * 3_600.0  # an hour on the fast model, four on the slow one


def waits(shape: Shape, hours: float, steps: float | None = STEPS) -> tuple[bool, bool]:
    """Whether a job that has waited for so long is kept from any model, and from which: the slow one."""
    moment = Moment([a_node("n1"), a_node("n2", model=SLOW)])
    moment.runs("on fast", asks(8, rates=((FAST, 1.0),)), {"n1": 8}, HOUR, steps_left=600.0)
    moment.waits("job", shape, hours * HOUR, steps_left=steps)
    snapshot, config = moment.snapshot, PlannerConfig()
    (item,) = snapshot.classes
    (job,) = item.jobs
    patience = Patience(Ahead(snapshot, {}), Sharing(snapshot, config), Estimates(snapshot), NOW_MS, config)
    assert patience.reason(item.shape, job, FAST) is None
    return not patience.over(item.shape, job), patience.reason(item.shape, job, SLOW) is not None


@pytest.mark.parametrize(
    ("shape", "hours", "steps", "expected"),
    [
        (JOB, 0.0, STEPS, True),
        (JOB, 2.9, STEPS, True),
        (JOB, 3.0, STEPS, False),
        (JOB._replace(resumable=True), 0.0, STEPS, False),
        (JOB._replace(models=(SLOW,), rates=((SLOW, 1.0),)), 0.0, STEPS, False),
        (JOB, 0.0, None, False),
    ],
    ids=["new", "nearly as long", "as long", "resumes", "one model", "nobody knows how long it runs"],
)
def test_a_job_is_kept_from_a_slow_model_until_its_patience_is_over(
    shape: Shape, hours: float, steps: float | None, expected: bool
) -> None:
    assert waits(shape, hours, steps) == (expected, expected)


def test_the_slowest_model_on_which_it_can_run_decides_when_its_patience_is_over() -> None:
    config = PlannerConfig()
    three = JOB._replace(models=(FAST, SLOW, "never"), rates=((FAST, 4.0), ("never", 0.0), (SLOW, 1.0)))
    snapshot = Moment([a_node("n1")]).snapshot
    patience = Patience(Ahead(snapshot, {}), Sharing(snapshot, config), Estimates(snapshot), NOW_MS, config)
    for hours, over in ((2.9, False), (3.0, True)):
        submitted_ms = NOW_MS - round(hours * 3_600_000)
        job = WaitingJob(submitted_ms, "job", STEPS)  # type: ignore[arg-type]
        assert patience.over(three, job) is over
