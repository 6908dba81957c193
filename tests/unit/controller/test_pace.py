"""How often the controller looks and plans."""

from scheduler.controller.commit import CycleResult
from scheduler.controller.loop import Pace

PERIOD_S = 1.0


def a_cycle(*, messages: int = 1, planned_s: float = 0.0, plan_waits: bool = False) -> CycleResult:
    return CycleResult(messages, 0, True, False, planned_s, plan_waits)


def test_what_comes_after_a_quiet_moment_is_looked_at_and_planned_for_at_once() -> None:
    pace = Pace(PERIOD_S)
    assert pace.may_plan(0.0)
    assert pace.after(a_cycle(messages=0), 0.0, 0.004) == (0.0, PERIOD_S)
    assert pace.may_plan(0.004)


def test_after_work_the_controller_rests_in_proportion_and_not_long() -> None:
    pace = Pace(PERIOD_S)
    assert pace.after(a_cycle(), 10.0, 10.008)[0] == 3 * (10.008 - 10.0)
    assert pace.after(a_cycle(), 10.0, 12.0)[0] == 0.1


def test_thousands_of_messages_a_second_are_taken_by_the_hundred_however_fast_a_cycle_is() -> None:
    pace, now_s, messages = Pace(PERIOD_S), 0.0, 1
    for _ in range(20):
        begun_s, now_s = now_s, now_s + 0.005 + 0.0001 * messages
        rest_s, _ = pace.after(a_cycle(messages=messages), begun_s, now_s)
        now_s += rest_s
        messages = round(2_000 * (now_s - begun_s))
    assert messages >= 400
    assert rest_s == 0.2


def test_planning_takes_a_twentieth_of_the_time_at_most() -> None:
    pace = Pace(PERIOD_S)
    pace.after(a_cycle(planned_s=0.05), 0.0, 0.2)
    assert not pace.may_plan(1.1)
    assert pace.may_plan(0.2 + 19 * 0.05 + 1e-9)


def test_a_plan_that_had_to_wait_is_made_as_soon_as_it_may_be() -> None:
    pace = Pace(PERIOD_S)
    pace.after(a_cycle(planned_s=0.05), 0.0, 0.2)
    rest_s, patience_s = pace.after(a_cycle(plan_waits=True), 0.25, 0.26)
    assert 1.14 < 0.26 + rest_s + patience_s < 1.16


def test_even_a_plan_of_a_minute_is_followed_by_another_after_a_second() -> None:
    pace = Pace(PERIOD_S)
    pace.after(a_cycle(planned_s=60.0), 0.0, 60.0)
    assert pace.may_plan(61.0)
