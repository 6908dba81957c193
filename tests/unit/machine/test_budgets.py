"""Budgets of jobs, projects and firms: held at admission, and the end of a job that has used its own up.

One device-hour costs 12.50 CNY.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.budgets import WHOLE_FIRM, BudgetKey, BudgetPeriod, ProjectBudget
from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.gangs import Share
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Budget, JobState
from scheduler.domain.pools import Pool
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.domain.reasons import Ending, EndReason, Reason, StopReason
from scheduler.domain.time import DAY_MS, HOUR_MS, next_month_ms
from scheduler.machine.invariants import violations
from scheduler.machine.messages import (
    BudgetSpent,
    CancelRequested,
    ConfigurationChanged,
    JobRevised,
    PriceFrom,
    Tick,
)
from scheduler.machine.money import left_nano, spent
from scheduler.machine.snapshots import budgets_at, take_snapshot
from scheduler.machine.spending import cost_of
from scheduler.machine.state import JobRecord
from scheduler.planner.budgets import Budgets
from scheduler.planner.cycle import plan
from scheduler.planner.plan_checks import check_plan
from scheduler.planner.snapshot import Money
from tests.builders.cluster import FIRM, POOL, Controller, a_node, a_queue
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec

PRICE = 12_500_000_000


def priced(*later: PriceFrom) -> Controller:
    """Two nodes whose devices have prices."""
    controller = Controller([a_node("n1"), a_node("n2", model=OTHER_MODEL)])
    prices = (PriceFrom(MODEL, 0, PRICE), *later, PriceFrom(OTHER_MODEL, 0, PRICE // 5))
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, (a_queue(),), prices=prices))
    return controller


def submit(controller: Controller, amount: str, **spec: object) -> JobRecord:
    return controller.submit("paid", a_spec(budget=Budget(amount), **spec))  # type: ignore[arg-type]


def test_a_job_whose_time_limit_cannot_be_paid_waits_and_says_why() -> None:
    controller = priced()
    job = submit(controller, "24.99", time_limit_s=3600, devices=2)
    assert controller.plan() == []
    (item,) = controller.report.classes
    (why,) = item.reasons
    assert why.reason is Reason.BUDGET_EXHAUSTED
    assert why.sentence == f"may cost 25.00 CNY on {MODEL} within its time limit; its budget has 24.99 left"
    assert job.state is JobState.QUEUED


def test_it_starts_where_it_can_be_paid_to_the_last_fen_or_on_a_cheaper_model() -> None:
    assert controller_starts("25.00", (MODEL,)) == MODEL
    assert controller_starts("24.99", (MODEL, OTHER_MODEL)) == OTHER_MODEL


def controller_starts(amount: str, models: tuple[str, ...]) -> str:
    controller = priced()
    job = submit(controller, amount, time_limit_s=3600, devices=2, models=models)
    assert controller.plan() == ["paid"]
    assert job.attempt is not None
    return job.attempt.device_model


def test_a_job_that_has_cost_what_it_may_is_stopped_with_grace_and_not_tried_again() -> None:
    controller = priced()
    job = submit(controller, "12.50")
    controller.plan()
    controller.run(job)
    controller.wait(HOUR_MS - 2)
    assert job.state is JobState.RUNNING
    controller.wait(2)
    (task,) = controller.tasks(job)
    assert (job.state, task.stop_reason) == (JobState.STOPPING, StopReason.BUDGET_EXHAUSTED)
    controller.end(task, None, EndReason.STOPPED)
    assert (job.state, job.reason) == (JobState.FAILED, Ending.BUDGET_EXHAUSTED)
    assert violations(controller.state) == []


def test_who_cannot_pay_does_not_keep_those_waiting_who_ask_for_the_same_and_can() -> None:
    controller = priced()
    submit(controller, "24.99", time_limit_s=3600, devices=2)
    controller.submit("unbounded", a_spec(time_limit_s=3600, devices=2))
    assert controller.plan() == ["unbounded"]
    assert violations(controller.state) == []


def test_a_part_of_a_device_costs_its_part() -> None:
    controller = priced()
    spec = replace(a_spec(budget=Budget("6.25")), share=Share(500_000, None))
    job = controller.submit("paid", spec)
    controller.plan()
    controller.run(job)
    controller.wait(HOUR_MS - 2)
    assert job.state is JobState.RUNNING
    controller.wait(2)
    assert controller.tasks(job)[0].stop_reason is StopReason.BUDGET_EXHAUSTED


def test_what_earlier_attempts_have_cost_is_gone() -> None:
    controller = priced()
    job = submit(controller, "12.50", on_exit_codes=(1,))
    controller.plan()
    controller.run(job)
    controller.wait(HOUR_MS // 2)
    controller.end(controller.tasks(job)[0], 1)
    assert job.state is JobState.QUEUED
    left = left_nano(controller.state.prices, job, 0)
    assert left is not None
    assert 0 < left <= PRICE // 2
    assert violations(controller.state) == []
    controller.wait(120_000)
    assert controller.plan() == ["paid"]


def test_a_revised_budget_counts_at_once_for_a_job_that_waits_and_for_one_that_runs() -> None:
    controller = priced()
    job = submit(controller, "24.99", time_limit_s=3600, devices=2)
    assert controller.plan() == []
    revise(controller, job, 2, budget=Budget("25.00"))
    assert controller.plan() == ["paid"]
    controller.run(job)
    controller.wait(HOUR_MS // 4)
    revise(controller, job, 3, budget=Budget("1.00"))
    controller.tell(Tick())
    (task,) = controller.tasks(job)
    assert (job.state, task.stop_reason) == (JobState.STOPPING, StopReason.BUDGET_EXHAUSTED)
    assert violations(controller.state) == []


def revise(controller: Controller, job: JobRecord, revision: int, **changes: Any) -> None:
    spec = replace(job.spec, **changes)
    controller.tell(JobRevised(job.firm_id, job.job_id, revision, spec, "lin"))


def test_a_change_of_prices_is_a_change_of_what_is_left() -> None:
    controller = priced()
    job = submit(controller, "25.00", time_limit_s=3600, devices=2)
    dearer = PriceFrom(MODEL, controller.now_ms, PRICE + 1)
    prices = (PriceFrom(MODEL, 0, PRICE), dearer)
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, (a_queue(),), prices=prices))
    controller.tell(Tick())
    assert controller.plan() == []
    assert job.state is JobState.QUEUED
    assert violations(controller.state) == []


def test_a_stretch_over_a_change_of_price_is_paid_in_parts_and_without_a_price_it_is_free() -> None:
    prices = (PriceFrom(MODEL, 100, 10), PriceFrom(MODEL, 200, 30))
    assert cost_of(prices, MODEL, 50, 250) == 100 * 10 + 50 * 30
    assert cost_of(prices, MODEL, 150, 150) == 0
    assert cost_of(prices, OTHER_MODEL, 0, 1_000) == 0


def test_amounts_are_exact() -> None:
    assert Budget("250").amount_nano == 250_000_000_000
    assert Budget("0.000000001").amount_nano == 1
    assert Budget("12.5").amount_nano == PRICE


# --- Budgets of projects and firms --------------------------------------------------------------------------------

PROJECT = BudgetKey(FirmId(FIRM), "vision")


def with_budgets(controller: Controller, *budgets: BudgetSpent) -> None:
    """From now on; the prices stay."""
    controller.tell(
        ConfigurationChanged(
            {POOL: Pool(POOL)}, (a_queue(),), prices=controller.state.prices, budgets=budgets
        )
    )


def a_budget(
    amount: int, *, spent: int = 0, of: BudgetKey = PROJECT, period: BudgetPeriod = BudgetPeriod.MONTH
) -> BudgetSpent:
    """Amounts in device-hours of the first model."""
    return BudgetSpent(ProjectBudget(of, amount * PRICE, period), spent * PRICE * HOUR_MS * WHOLE_PPM)


def of_vision(controller: Controller, name: str, **spec: object) -> JobRecord:
    return controller.submit(name, a_spec(project="vision", **spec))  # type: ignore[arg-type]


def money(controller: Controller, key: BudgetKey = PROJECT) -> tuple[int, int, int]:
    """Spent, held and left, in millionths of what a device-hour costs."""
    found = budgets_at(controller.state, controller.now_ms)[key]
    spent, held, left = found.spent_nano, found.held_nano, found.left_nano
    return tuple(round(nano * 1_000_000 / PRICE) for nano in (spent, held, left))  # type: ignore[return-value]


def test_a_project_that_cannot_pay_for_a_time_limit_does_not_start_the_job_and_says_what_would_help() -> None:
    controller = priced()
    with_budgets(controller, a_budget(10, spent=7))
    of_vision(controller, "paid", time_limit_s=3 * 3600, devices=2)
    controller.submit("elsewhere", a_spec(time_limit_s=3 * 3600, devices=2))
    assert controller.plan() == ["elsewhere"]
    (item,) = controller.report.classes
    (why,) = item.reasons
    assert why.reason is Reason.BUDGET_EXHAUSTED
    assert why.sentence == (
        f"may cost 75.00 CNY on {MODEL} within its time limit; project vision has 37.50 left of 125.00 CNY a month,"
        " 87.50 are spent or held"
    )
    assert item.counterfactual == (
        f"now on {MODEL}, with a time limit of at most 90 min or with 37.50 CNY more for project vision;"
        " its next budget begins at 2023-11-30T16:00:00.000Z"
    )
    assert controller.report.starts(JobId("paid")) is None  # nobody knows when the project is given more
    of_vision(controller, "shorter", time_limit_s=90 * 60, devices=2)
    assert controller.plan() == ["shorter"]


def test_what_starts_holds_its_time_limit_and_gives_back_what_it_did_not_use() -> None:
    controller = priced()
    with_budgets(controller, a_budget(3))
    first = of_vision(controller, "first", time_limit_s=7200)
    second = of_vision(controller, "second", time_limit_s=7200)
    assert controller.plan() == ["first"]
    controller.run(first)
    assert money(controller)[1] == 2_000_000
    controller.wait(HOUR_MS // 2)
    assert money(controller) == (500_000, 1_500_000, 1_000_000)
    assert controller.plan() == []
    controller.end(controller.tasks(first)[0])
    assert money(controller) == (500_000, 0, 2_500_000)
    assert controller.plan() == ["second"]
    assert violations(controller.state) == []
    assert second.state is JobState.ALLOCATED


def test_a_new_month_begins_with_nothing_spent_and_a_total_does_not() -> None:
    controller = priced()
    whole = BudgetKey(FirmId(FIRM), WHOLE_FIRM)
    with_budgets(controller, a_budget(2, spent=1), a_budget(9, spent=1, of=whole, period=BudgetPeriod.TOTAL))
    job = of_vision(controller, "long")
    assert controller.plan() == ["long"]
    controller.run(job)
    turn_ms = next_month_ms(controller.now_ms)
    controller.now_ms = turn_ms - HOUR_MS
    before = money(controller, whole)[0]
    controller.wait(2 * HOUR_MS)
    assert money(controller)[0] == 1_000_000
    assert money(controller, whole)[0] == before + 2_000_000


def test_a_firm_that_has_used_up_its_budget_starts_nothing_of_any_project_but_what_is_free() -> None:
    controller = priced()
    with_budgets(controller, a_budget(5), a_budget(1, spent=1, of=BudgetKey(FirmId(FIRM), WHOLE_FIRM)))
    of_vision(controller, "one")
    controller.submit("two", a_spec())
    assert controller.plan() == []
    sentences = {
        why.sentence.partition("; ")[2] for item in controller.report.classes for why in item.reasons
    }
    assert sentences == {"its firm has 0.00 left of 12.50 CNY a month, 12.50 are spent or held"}


def test_a_plan_that_spends_more_than_is_left_is_refused() -> None:
    controller = priced()
    of_vision(controller, "dear", devices=2)
    snapshot = take_snapshot(controller.state, controller.now_ms)
    decided, _ = plan(snapshot, controller.now_ms, controller.config)
    for left, found in {2 * PRICE: [], 2 * PRICE - 1: ["the budget of vision cannot pay for it"]}.items():
        seen = check_plan(replace(snapshot, budgets={PROJECT: Money(left)}), decided, controller.now_ms)
        assert [violation.what for violation in seen] == found


def test_what_a_budget_counts_is_what_its_jobs_have_cost_through_losses_prices_and_ends() -> None:
    controller = priced(PriceFrom(MODEL, 1_700_000_000_000 + HOUR_MS, 3 * PRICE))
    with_budgets(controller, a_budget(1_000))
    job = of_vision(controller, "lost", devices=4, on_exit_codes=(1,))
    part = controller.submit("part", replace(a_spec(project="vision"), share=Share(250_000, None)))
    controller.plan()
    controller.run(job)
    controller.run(part)
    controller.wait(HOUR_MS // 3)
    controller.end(controller.tasks(part)[0])
    ended = spent(controller.state.prices, part, controller.now_ms)
    controller.wait(HOUR_MS)
    controller.end(controller.tasks(job)[0], 1)
    controller.wait(HOUR_MS)
    expected = spent(controller.state.prices, job, controller.now_ms) + ended
    assert expected
    assert controller.state.spending.spent(controller.state.prices, controller.now_ms) == {PROJECT: expected}


def test_nobody_stops_and_no_quota_is_kept_for_a_job_that_cannot_be_paid() -> None:
    controller = Controller([a_node("n1")])
    queues = tuple(
        Queue(QueueKey(FirmId(firm), "default"), (POOL,), {MODEL: 4}, 1, "all") for firm in (FIRM, "firm-b")
    )
    whole = BudgetKey(FirmId("firm-b"), WHOLE_FIRM)
    controller.tell(
        ConfigurationChanged(
            {POOL: Pool(POOL)},
            queues,
            (Cohort("all"),),
            prices=(PriceFrom(MODEL, 0, PRICE),),
            budgets=(a_budget(1, of=whole),),
        )
    )
    borrower = controller.submit("borrower", a_spec(devices=8))
    assert controller.plan() == ["borrower"]
    controller.run(borrower)
    controller.submit("unpaid", a_spec(devices=4, time_limit_s=3600), firm="firm-b")
    controller.wait(HOUR_MS)
    assert controller.plan() == []
    assert borrower.state is JobState.RUNNING
    (item,) = controller.report.classes
    assert [why.reason for why in item.reasons] == [Reason.BUDGET_EXHAUSTED]
    controller.end(controller.tasks(borrower)[0])
    for name in ("kept", "also"):
        controller.submit(name, a_spec(devices=4), firm=FIRM)
    assert controller.plan() == ["kept", "also"]


def preempted(controller: Controller) -> JobRecord:
    """A job that had begun within its budget, and has made room for one of higher priority."""
    low = of_vision(controller, "low", devices=8, time_limit_s=3600, priority="low")
    assert controller.plan() == ["low"]
    controller.run(low)
    controller.wait(HOUR_MS // 2)
    controller.submit("high", a_spec(devices=8, priority="high"))
    controller.plan()
    (task,) = controller.tasks(low)
    assert task.stop_reason is StopReason.PREEMPTED
    controller.end(task, None, EndReason.STOPPED)
    assert (low.state, low.reason) == (JobState.QUEUED, Ending.PREEMPTED)
    assert controller.plan() == ["high"]
    return low


def test_who_was_stopped_for_others_keeps_what_it_was_promised_and_goes_on() -> None:
    controller = priced()
    with_budgets(controller, a_budget(10))
    preempted(controller)
    # Half an hour of eight devices is spent, and a whole time limit is held: the next attempt has it again.
    assert money(controller) == pytest.approx((4_000_000, 8_000_000, -2_000_000), abs=5)
    of_vision(controller, "other", time_limit_s=3600)
    assert controller.plan() == []
    controller.run(controller.state.jobs[JobId("high")])
    controller.end(controller.tasks(controller.state.jobs[JobId("high")])[0])
    assert controller.plan() == ["low"]
    assert money(controller) == pytest.approx((4_000_000, 8_000_000, -2_000_000), abs=5)
    assert violations(controller.state) == []


def test_who_was_stopped_for_others_is_promised_what_a_first_price_says_of_the_time_before_it() -> None:
    controller = Controller([a_node("n1")])
    low = preempted(controller)
    assert low.shape is not None
    assert low.shape.promised_nano == 0
    prices = (
        PriceFrom(MODEL, controller.now_ms - HOUR_MS, PRICE),
    )  # the first of a model may begin in the past
    controller.tell(ConfigurationChanged({POOL: Pool(POOL)}, (a_queue(),), prices=prices))
    assert low.shape.promised_nano == 8 * PRICE
    assert violations(controller.state) == []


def test_what_it_was_promised_is_given_back_when_it_is_cancelled_or_starts_at_less() -> None:
    controller = priced()
    with_budgets(controller, a_budget(10))
    low = preempted(controller)
    shape, snapshot = low.shape, take_snapshot(controller.state, controller.now_ms)
    assert shape is not None
    controller.tell(CancelRequested(low.firm_id, low.job_id, "lin"))
    assert money(controller) == pytest.approx((4_000_000, 0, 6_000_000), abs=5)

    budgets = Budgets(replace(snapshot, budgets={PROJECT: Money(0)}))
    assert budgets.pays(shape, MODEL)
    assert not budgets.pays(shape._replace(time_limit_ms=2 * HOUR_MS), MODEL)
    budgets.take(shape._replace(devices=6), MODEL)
    assert budgets.pays(shape._replace(promised_nano=0, devices=2), MODEL)
    assert not budgets.pays(shape._replace(promised_nano=0, devices=3), MODEL)


MOST = 2**63 - 1  # that is stored
KEYS = st.builds(
    BudgetKey, st.sampled_from([FirmId(FIRM), FirmId("gone")]), st.sampled_from(["", "vision", "x"])
)


@given(
    st.lists(st.tuples(KEYS, st.integers(0, MOST), st.sampled_from(BudgetPeriod)), max_size=4),
    st.lists(st.tuples(st.sampled_from([MODEL, "gone"]), st.integers(0, MOST), st.integers(0, MOST))),
    st.lists(st.tuples(st.sampled_from(["", "vision"]), st.sampled_from([None, 1, 10**7])), max_size=4),
    st.lists(st.integers(0, 400 * DAY_MS), max_size=4),
)
def test_whatever_is_configured_every_budget_can_be_told(
    budgets: list[tuple[BudgetKey, int, BudgetPeriod]],
    prices: list[tuple[str, int, int]],
    jobs: list[tuple[str, int | None]],
    waits_ms: list[int],
) -> None:
    controller = Controller([a_node("n1")])
    given_prices = tuple(PriceFrom(model, from_ms, nano) for model, from_ms, nano in sorted(prices))
    of_each = {key: BudgetSpent(ProjectBudget(key, nano, period), nano) for key, nano, period in budgets}
    for number, (project, limit_s) in enumerate(jobs):
        controller.submit(f"job-{number}", a_spec(project=project, time_limit_s=limit_s))
    controller.plan()
    for key in sorted(of_each):  # one more at a time, while jobs run
        some = tuple(of_each[other] for other in of_each if other <= key)
        configured = ConfigurationChanged({POOL: Pool(POOL)}, (a_queue(),), prices=given_prices, budgets=some)
        controller.tell(configured)
    for wait_ms in (0, *waits_ms):
        controller.wait(wait_ms)
        told = budgets_at(controller.state, controller.now_ms)
        assert told.keys() == of_each.keys()
        assert all(money.spent_nano >= 0 <= money.held_nano for money in told.values())
        assert all(money.ends_ms is None or money.ends_ms > controller.now_ms for money in told.values())
        controller.plan()
