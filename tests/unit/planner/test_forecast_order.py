"""In which order, on which devices and how long after each other jobs are expected to start."""

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import JobId
from scheduler.domain.time import HOUR_MS
from scheduler.planner import PlannerConfig
from scheduler.planner.estimates import Estimates
from scheduler.planner.forecast import MOST_JOBS, Forecast
from scheduler.planner.turns import Turns
from tests.builders.moments import FAST, NOW_MS, SLOW, Moment, a_node, a_quota, asks

HOUR_STEPS = 3_600.0
JOB = asks(1, rates=((FAST, 1.0),))  # a step a second


def expected_h(moment: Moment, placed: dict[str, str] | None = None) -> dict[str, float]:
    """After how many hours each job would start in the order of the turns."""
    snapshot, config = moment.snapshot, PlannerConfig()
    estimates = Estimates(snapshot)
    turns = Turns(NOW_MS, config, estimates)
    known = {JobId(name): model for name, model in (placed or {}).items()}
    forecast = Forecast(snapshot, estimates, turns, NOW_MS, config, known)
    found = {}
    for item in snapshot.classes:
        for job in item.jobs:
            told = forecast.interval(job.job_id)
            assert told is not None
            found[str(job.job_id)] = round((told.forecast_ms - NOW_MS) / HOUR_MS, 2)
    return found


def test_who_starts_in_this_cycle_takes_his_devices_first_and_on_the_model_that_he_has() -> None:
    moment = Moment([a_node("n1", 1), a_node("n2", 1, SLOW)])
    both = asks(1, models=(FAST, SLOW), rates=((FAST, 2.0), (SLOW, 1.0)))
    moment.waits("older", JOB, 5, steps_left=HOUR_STEPS)
    moment.waits("starts", both, 1, steps_left=8 * HOUR_STEPS)
    moment.waits("next", asks(1, model=SLOW, rates=((SLOW, 1.0),)), 0, steps_left=HOUR_STEPS)
    assert expected_h(moment, {"starts": FAST}) == {"starts": 0, "older": 4, "next": 0}
    assert expected_h(moment, {"starts": SLOW}) == {"starts": 0, "older": 0, "next": 8}


def test_who_starts_is_counted_on_the_model_that_he_has_though_nobody_knows_how_long_he_runs() -> None:
    moment = Moment([a_node("n1", 1), a_node("n2", 1, SLOW)])
    moment.waits("starts", asks(1, models=(FAST, SLOW), rates=((FAST, 2.0), (SLOW, 1.0))), 1)
    moment.waits("next", JOB, 0, steps_left=HOUR_STEPS)
    assert expected_h(moment, {"starts": SLOW}) == {"starts": 0, "next": 0}
    assert expected_h(moment, {"starts": FAST})["next"] > 0


def test_parts_of_devices_take_no_more_than_their_part() -> None:
    moment = Moment([a_node("n1", 1)])
    for number in range(4):
        moment.waits(
            f"half {number}", JOB._replace(share_ppm=WHOLE_PPM // 2), 9 - number, steps_left=HOUR_STEPS
        )
    assert list(expected_h(moment).values()) == [0, 0, 1, 1]


def test_a_model_on_which_a_job_cannot_run_is_not_counted_on() -> None:
    moment = Moment([a_node("n1", 1), a_node("n2", 1, SLOW)])
    for number in range(2):
        shape = asks(1, models=(FAST, SLOW), rates=((FAST, 1.0), (SLOW, 0.0)))
        moment.waits(f"job {number}", shape, 9 - number, steps_left=HOUR_STEPS)
    assert list(expected_h(moment).values()) == [0, 1]


def test_jobs_beyond_those_that_are_played_forward_wait_for_the_work_before_them() -> None:
    moment = Moment([a_node("n1", 2)])
    for number in range(MOST_JOBS + 4):
        moment.waits(f"job {number}", JOB, MOST_JOBS + 9 - number, steps_left=HOUR_STEPS)
    found = list(expected_h(moment).values())
    assert found[:MOST_JOBS:500] == [0, 250, 500, 750]
    assert found[MOST_JOBS - 1 :] == [999, 999, 999.5, 1000, 1000.5]


def test_jobs_beyond_those_that_are_played_forward_wait_for_what_their_quota_holds_at_once() -> None:
    own, other = a_quota("own", {FAST: 1}, within=None), a_quota("other", within=None)
    moment = Moment([a_node(f"n{number}") for number in range(MOST_JOBS // 8 + 1)], [own, other])
    for number in range(4):
        moment.waits(f"of own {number}", JOB, MOST_JOBS + 99 - number, steps_left=HOUR_STEPS)
    of_other = JOB._replace(queue=other.key)
    for number in range(MOST_JOBS - 4):
        moment.waits(f"of other {number}", of_other, MOST_JOBS + 9 - number, steps_left=HOUR_STEPS)
    for number in range(2):
        moment.waits(f"last of own {number}", JOB, 2 - number, steps_left=HOUR_STEPS)
        moment.waits(f"last of other {number}", of_other, 2 - number, steps_left=HOUR_STEPS)
    found = expected_h(moment)
    assert [found[f"of own {number}"] for number in range(4)] == [0, 1, 2, 3]
    assert [found[f"last of own {number}"] for number in range(2)] == [3, 4]
    assert found["last of other 1"] < 1


def test_the_first_of_a_queue_beyond_those_that_are_played_forward_waits_until_its_quota_is_given_back() -> (
    None
):
    own, other = a_quota("own", {FAST: 1}, within=None), a_quota("other", within=None)
    moment = Moment([a_node(f"n{number}") for number in range(MOST_JOBS // 8 + 1)], [own, other])
    moment.runs("runs", JOB, {"n0": 1}, 60, steps_left=5 * HOUR_STEPS)
    for number in range(MOST_JOBS):
        moment.waits(
            f"of other {number}", JOB._replace(queue=other.key), MOST_JOBS - number, steps_left=HOUR_STEPS
        )
    for number in range(2):
        moment.waits(f"last of own {number}", JOB, 0, steps_left=HOUR_STEPS)
    found = expected_h(moment)
    assert [found[f"last of own {number}"] for number in range(2)] == [5, 6]
