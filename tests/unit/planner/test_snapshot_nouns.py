"""Nouns of the planner's input."""

from scheduler.domain.ids import DeviceId, FirmId, JobId, NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import QueueKey
from scheduler.planner import Shape
from scheduler.planner.snapshot import RunningJob


def test_a_running_job_that_has_progressed_differs_in_its_progress_alone() -> None:
    shape = Shape(QueueKey(FirmId("a"), "q"), Priority.NORMAL, 8, 8, ("m",))
    tasks = ((NodeId("n"), (DeviceId("d"),)),)
    was = RunningJob(JobId("j"), shape, 1, "m", "p", tasks, 2, 3.0, 4, 5, 6, 7, stopping=True)
    assert was.progressed(30.0, 40, 70) == was._replace(steps_left=30.0, served_ms=40, saved_ms=70)
