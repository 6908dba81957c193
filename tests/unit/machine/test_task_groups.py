"""Gangs of several groups: tasks with different numbers of devices, started and stopped together."""

from dataclasses import replace

from scheduler.domain.gangs import Gang, TaskGroup
from scheduler.domain.jobs import JobSpec, JobState
from scheduler.domain.reasons import StopReason
from scheduler.machine.invariants import violations
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import a_spec

GROUPS = (TaskGroup("actor", 2, 2, 2), TaskGroup("learner", 1, 8, 8), TaskGroup("critic", 1, 4, 1))


def grouped(groups: tuple[TaskGroup, ...] = GROUPS) -> JobSpec:
    """A job of groups; its gang's numbers are the sums and the largest."""
    gang = Gang(
        sum(g.tasks * g.devices_per_task for g in groups),
        max(g.devices_per_task for g in groups),
        max(g.processes_per_task for g in groups),
        groups=groups,
    )
    return replace(a_spec(), gang=gang)


def test_every_task_of_every_group_has_the_devices_of_its_group_on_a_node_of_its_own() -> None:
    controller = Controller([a_node(f"n{n}") for n in range(1, 5)])
    job = controller.submit("gang", grouped())
    assert controller.plan() == ["gang"]
    tasks = controller.tasks(job)
    assert [len(task.device_ids) for task in tasks] == [2, 2, 8, 4]
    assert len({task.node_id for task in tasks}) == 4
    assert violations(controller.state) == []
    controller.run(job)
    assert job.state is JobState.RUNNING
    controller.end(tasks[3], 1)
    assert [task.stop_reason for task in tasks[:3]] == [StopReason.GANG_FAILED] * 3
    assert violations(controller.state) == []


def test_it_starts_whole_or_not_at_all() -> None:
    controller = Controller([a_node(f"n{n}") for n in range(1, 5)])
    for n in range(4):
        controller.submit(f"one-{n}", a_spec(f"one-{n}", devices=1))
    controller.plan()
    spread = {task.node_id for task in controller.state.allocations.values()}
    job = controller.submit("gang", grouped((TaskGroup("learner", 4, 8, 8), TaskGroup("actor", 1, 1, 1))))
    assert controller.plan() == []
    assert job.state is JobState.QUEUED
    assert len(spread) >= 1
    assert violations(controller.state) == []


def test_ranks_of_processes_go_through_the_groups_in_order() -> None:
    gang = grouped().gang
    assert [gang.first_process(rank) for rank in range(5)] == [0, 2, 4, 12, 13]
    assert [gang.place_of(process) for process in (0, 1, 2, 4, 11, 12)] == [
        (0, 0), (0, 1), (1, 0), (2, 0), (2, 7), (3, 0)
    ]  # fmt: skip
    group, rank = gang.group_of(3) or (None, None)
    assert (group, rank) == (GROUPS[2], 0)
