"""What webhooks hear: a notice in the very changes of the event that it tells of."""

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Notification, NotifyOn
from scheduler.domain.reasons import EndReason
from scheduler.machine.messages import CancelRequested
from tests.builders.cluster import FIRM, Controller, a_node
from tests.builders.jobs import a_spec


def told(controller: Controller) -> list[str]:
    return [notice.moment.value for changes in controller.changes for notice in changes.notices]


def test_a_job_tells_of_the_moments_that_it_names() -> None:
    controller = Controller([a_node("n1")])
    every = Notification("https://hooks.example/x", frozenset(NotifyOn))
    job = controller.submit("told", a_spec(notification=every))
    controller.plan()
    controller.run(job)
    controller.tell(CancelRequested(FirmId(FIRM), JobId("told"), "ana"))
    (task,) = controller.tasks(job)
    controller.end(task, None, EndReason.STOPPED)
    assert told(controller) == ["started", "cancelled"]
    (notice,) = controller.changes[-1].notices
    assert notice.event in controller.changes[-1].events
    assert (notice.url, notice.body["type"]) == ("https://hooks.example/x", "job.cancelled")
    assert notice.body["data"]["state"] == "cancelled"


def test_a_job_that_asks_for_nothing_tells_nothing_and_by_default_only_of_its_end() -> None:
    controller = Controller([a_node("n1")])
    quiet = controller.submit("quiet", a_spec())
    ends = controller.submit("ends", a_spec(notification=Notification("https://hooks.example/x")))
    controller.plan()
    controller.run(quiet)
    controller.run(ends)
    assert told(controller) == []
