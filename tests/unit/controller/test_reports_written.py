"""Which rows of a report are written, and what the gauges show."""

from prometheus_client import REGISTRY

from scheduler.controller.metrics import MOST_BUDGETS, fullest, show_report, show_state
from scheduler.controller.reports import (
    HEAD_OF_QUEUE,
    REFRESH_MS,
    REFUSALS_PER_CYCLE,
    ROWS_PER_COMMIT,
    RefusalBook,
    ReportBook,
)
from scheduler.domain.budgets import BudgetKey
from scheduler.domain.ids import FirmId, JobId
from scheduler.machine import announce, take_snapshot
from scheduler.machine.messages import CordonRequested
from scheduler.planner.cycle import plan
from scheduler.planner.plan_checks import Violation
from scheduler.planner.report import FAILS, REFUSED
from scheduler.planner.snapshot import Money
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import a_spec


def waiting(jobs: int) -> Controller:
    """One node that is taken, and jobs that wait for it."""
    controller = Controller([a_node("n1")])
    controller.submit("first", a_spec(devices=8))
    controller.plan()
    for number in range(jobs):
        controller.submit(f"w{number:05}", a_spec(devices=8))
    controller.plan()
    return controller


def test_what_is_written_already_is_not_written_again() -> None:
    controller, book = waiting(3), ReportBook()
    rows = book.rows(controller.report, controller.state)
    assert [(row["job_id"], row["position"]) for row in rows] == [("w00000", 1), ("w00001", 2), ("w00002", 3)]
    assert rows[0]["reasons"][0]["reason"] == "devices_busy"
    controller.plan()
    assert book.rows(controller.report, controller.state) == []
    book.forget({JobId("w00001")})
    assert [row["job_id"] for row in book.rows(controller.report, controller.state)] == ["w00001"]


def test_a_long_queue_is_written_in_turn_its_head_first() -> None:
    jobs = ROWS_PER_COMMIT + 20
    controller, book = waiting(jobs), ReportBook()
    assert len(book.rows(controller.report, controller.state)) == ROWS_PER_COMMIT
    assert len(book.rows(controller.report, controller.state)) == jobs - ROWS_PER_COMMIT
    first = controller.state.jobs[JobId("first")]
    controller.run(first)
    controller.end(controller.tasks(first)[0])
    controller.plan()  # everybody moves up by one place
    assert len(book.rows(controller.report, controller.state)) == HEAD_OF_QUEUE
    controller.now_ms += REFRESH_MS
    controller.plan()
    # The head was written a moment ago and says the same.
    assert len(book.rows(controller.report, controller.state)) == jobs - 1 - HEAD_OF_QUEUE


def test_a_job_whose_placement_was_refused_waits_and_is_told_why_and_no_start() -> None:
    controller, book = Controller([a_node("n1")]), ReportBook()
    for name in ("placed", "refused", "behind"):
        controller.submit(name, a_spec(name, devices=4, time_limit_s=3600))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    proposal, report = plan(snapshot, controller.now_ms, controller.config)
    assert [placement.job_id for placement in proposal.placements] == ["placed", "refused"]
    assert report.without(frozenset(), snapshot, REFUSED) is report
    assert report.starts(JobId("refused")) is not None, "as if it were given what it was to have"
    report = report.without({JobId("refused")}, snapshot, REFUSED)
    rows = {str(row["job_id"]): row for row in book.rows(report, controller.state)}
    assert list(rows) == ["refused", "behind"]
    assert (rows["refused"]["position"], rows["behind"]["position"]) == (1, 2)
    (why,) = rows["refused"]["reasons"]
    assert why["reason"] == "not_planned_yet"
    assert "did not pass the last check" in why["sentence"]
    assert rows["refused"]["starts_expected_ms"] is None
    announce(controller.state, report, controller.now_ms, controller.ids)
    told = {name: controller.state.jobs[JobId(name)].announced is not None for name in rows}
    assert told == {"refused": False, "behind": True}
    both = report.without({JobId("behind")}, snapshot, FAILS)
    assert {both.starts(JobId(name)) for name in ("refused", "behind")} == {None}


def test_a_job_that_is_refused_in_every_cycle_is_logged_once_until_it_is_not() -> None:
    book = RefusalBook()
    wrong = [Violation(JobId("a"), "too much"), Violation(JobId("a"), "twice"), Violation(JobId("b"), "gone")]
    assert book.news(wrong) == wrong
    assert book.news(wrong) == []
    assert book.news([Violation(JobId("b"), "gone for longer")]) == []
    assert book.news(wrong) == wrong[:2], "it was not in between"
    many = [Violation(JobId(f"job-{n}"), "too much") for n in range(2 * REFUSALS_PER_CYCLE)]
    assert book.news(many) + book.news(many) == many
    assert book.news(many) == book.news([]) == []


def test_gauges_count_devices_jobs_and_the_lengths_of_queues() -> None:
    controller = waiting(2)
    controller.tell(CordonRequested(controller.node("n1").node.node_id, True))
    show_state(controller.state, controller.now_ms)
    show_report(controller.report)

    def value(name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(name, labels)

    assert value("suanli_devices", pool="pool-a", model="ascend-910b3", state="allocated") == 8
    assert value("suanli_nodes", pool="pool-a", state="cordoned") == 1
    assert value("suanli_jobs", state="allocated") == 1
    assert value("suanli_jobs", state="queued") == 2
    assert value("suanli_waiting_jobs", queue="default", reason="devices_busy") == 2


def test_a_firm_with_many_projects_crowds_no_other_out_of_the_budgets_that_are_shown() -> None:
    crowd = {BudgetKey(FirmId("a"), f"p{n}"): Money(100, 100, 0) for n in range(2 * MOST_BUDGETS)}
    others = {BudgetKey(FirmId(firm), project): Money(100, 1, 0) for firm in "bc" for project in ("", "x")}
    shown = fullest({**crowd, **others})
    assert len(shown) == MOST_BUDGETS
    assert set(others) <= set(shown)
    assert {key.firm_id for key in shown[:3]} == {"a", "b", "c"}
