"""Budgets of jobs: held at admission, and the end when they are used up. One device-hour costs 12.50 CNY."""

from dataclasses import replace
from typing import Any

from scheduler.domain.gangs import Share
from scheduler.domain.jobs import Budget, JobState
from scheduler.domain.pools import Pool
from scheduler.domain.reasons import Ending, EndReason, Reason, StopReason
from scheduler.domain.time import HOUR_MS
from scheduler.machine.invariants import violations
from scheduler.machine.messages import ConfigurationChanged, JobRevised, PriceFrom, Tick
from scheduler.machine.money import cost_of, left_nano
from scheduler.machine.state import JobRecord
from tests.builders.cluster import POOL, Controller, a_node, a_queue
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
