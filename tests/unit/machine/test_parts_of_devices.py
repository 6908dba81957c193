"""Several jobs on one device: who may be beside whom, what counts against quotas, and who makes room."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.catalogue import load_catalogue
from scheduler.domain.errors import Invalid
from scheduler.domain.gangs import Share
from scheduler.domain.ids import DeviceId, FirmId, JobId
from scheduler.domain.jobs import JobSpec
from scheduler.domain.nodes import Isolation
from scheduler.domain.reasons import Reason
from scheduler.machine import take_snapshot
from scheduler.machine.invariants import violations
from scheduler.planner import Plan
from scheduler.planner.acceptance import resolve_share
from scheduler.planner.cycle import plan
from scheduler.planner.plan_checks import check_plan
from tests.builders.cluster import Controller, a_node, a_queue
from tests.builders.jobs import MODEL, a_spec

QUARTER = 250_000
GIB = 1 << 30


def a_part(ppm: int = QUARTER, **more: object) -> JobSpec:
    """A job that asks for a part of a device."""
    return replace(a_spec(**more), share=Share(ppm, None))  # type: ignore[arg-type]


def devices(controller: Controller, job_id: str) -> tuple[DeviceId, ...]:
    """Devices of a job of one task."""
    return controller.tasks(controller.state.jobs[JobId(job_id)])[0].device_ids


def reason(controller: Controller, job_id: str) -> tuple[Reason, str]:
    """Why a job waits."""
    report = controller.report.of(JobId(job_id))
    assert report is not None
    return report.reasons[0].reason, report.reasons[0].sentence


def test_parts_share_a_device_until_it_is_full_and_the_next_waits() -> None:
    controller = Controller([a_node("n1", devices=1)])
    for n in range(5):
        controller.submit(f"part-{n}", a_part())
    assert controller.plan() == ["part-0", "part-1", "part-2", "part-3"]
    assert {devices(controller, f"part-{n}") for n in range(4)} == {("n1/0",)}
    assert reason(controller, "part-4") == (
        Reason.DEVICES_BUSY,
        f"asks for 250000 ppm of 1 {MODEL}; nothing of any device is free in pool pool-a",
    )
    assert violations(controller.state) == []
    first = controller.state.jobs[JobId("part-0")]
    controller.run(first)
    controller.end(controller.tasks(first)[0])
    assert controller.plan() == ["part-4"]
    assert violations(controller.state) == []
    told = [
        share.share_ppm for changes in controller.changes for e in changes.evidence for share in e.devices
    ]
    assert set(told) == {QUARTER}


def test_parts_leave_whole_devices_to_whole_jobs() -> None:
    controller = Controller([a_node("n1", devices=2)])
    controller.submit("small", a_part())
    controller.submit("other", a_part(600_000))
    controller.submit("whole", a_spec(devices=1))
    assert controller.plan() == ["small", "other", "whole"]
    assert devices(controller, "small") == devices(controller, "other") != devices(controller, "whole")


def test_two_firms_are_on_one_device_only_where_the_node_keeps_them_apart() -> None:
    queues = [a_queue(), a_queue(firm="firm-b")]
    controller = Controller([a_node("n1", devices=1)], queues)
    controller.submit("ours", a_part())
    controller.submit("theirs", a_part(), firm="firm-b")
    assert controller.plan() == ["ours"]
    assert reason(controller, "theirs")[0] is Reason.ONE_FIRM_NODES
    assert controller.plan() == []
    controller.wait(1)
    controller.connect("n1", boot="boot-2", isolation=Isolation.NAMESPACE)
    assert controller.plan() == ["theirs"]
    assert violations(controller.state) == []


def test_a_plan_that_puts_two_firms_on_one_device_is_refused() -> None:
    controller = Controller([a_node("n1", devices=1)], [a_queue(), a_queue(firm="firm-b")])
    controller.submit("theirs", a_part(), firm="firm-b")
    snapshot = take_snapshot(controller.state, controller.now_ms)
    good, _ = plan(snapshot, controller.now_ms, controller.config)
    [view] = snapshot.nodes
    [device] = view.devices
    shared = device._replace(free=False, left_ppm=QUARTER, firm_id=FirmId("firm-a"))
    taken = replace(snapshot, nodes=(replace(view, devices=(shared,)),))
    assert [v.what for v in check_plan(taken, good, controller.now_ms)] == [
        "device n1/0 is shared by firms that are not kept apart"
    ]
    full = replace(snapshot, nodes=(replace(view, devices=(shared._replace(left_ppm=1, firm_id=None),)),))
    assert [v.what for v in check_plan(full, good, controller.now_ms)] == ["device n1/0 is given twice"]
    [placed] = good.placements
    whole = placed._replace(tasks=(placed.tasks[0]._replace(share_ppm=1_000_000),))
    assert "a task wants 250000 ppm of each device" in [
        v.what for v in check_plan(snapshot, Plan((whole,)), controller.now_ms)
    ]


def test_parts_count_as_parts_against_a_quota() -> None:
    controller = Controller([a_node("n1")], [a_queue(nominal={MODEL: 1})])
    for n in range(5):
        controller.submit(f"part-{n}", a_part())
    assert controller.plan() == ["part-0", "part-1", "part-2", "part-3"]
    assert reason(controller, "part-4")[0] is Reason.QUOTA_REACHED
    assert controller.plan() == []


def test_a_part_of_higher_priority_makes_room_for_itself_once() -> None:
    controller = Controller([a_node("n1", devices=1)])
    for n in range(4):
        controller.submit(f"low-{n}", a_part(priority="low"))
    controller.plan()
    for n in range(4):
        controller.run(controller.state.jobs[JobId(f"low-{n}")])
    controller.wait(1_800_000)
    controller.submit("high", a_part(priority="high"))
    controller.plan()
    stopping = [job for job in controller.state.jobs.values() if job.state.value == "stopping"]
    assert len(stopping) == 1
    controller.plan()  # on unchanged input nobody else stops
    assert [job for job in controller.state.jobs.values() if job.state.value == "stopping"] == stopping
    controller.end(controller.tasks(stopping[0])[0], exit_code=None)
    assert "high" in controller.plan()


def test_what_is_asked_in_one_measure_follows_from_the_other() -> None:
    catalogue = load_catalogue()
    memory = resolve_share(replace(a_spec(), share=Share(None, 16 * GIB)), catalogue).share
    assert memory == Share(QUARTER, 16 * GIB)
    assert resolve_share(a_part(), catalogue).share == Share(QUARTER, 16 * GIB)
    # So much memory is so much of the device, whatever of the compute was asked for.
    assert resolve_share(replace(a_spec(), share=Share(1, 32 * GIB)), catalogue).share == Share(
        500_000, 32 * GIB
    )
    with pytest.raises(Invalid) as refused:
        resolve_share(replace(a_spec(), share=Share(None, 65 * GIB)), catalogue)
    (problem,) = refused.value.problems
    assert (problem.field, problem.got) == ("share.memory_bytes", "65GiB")
    assert problem.want == f"at most 64GiB, the memory of {MODEL}"


def test_a_part_with_too_little_memory_to_be_read_again_is_refused() -> None:
    """Accepted, it was no message that the controller could read: the job waited for ever."""
    with pytest.raises(Invalid) as refused:
        resolve_share(a_part(15), load_catalogue())
    (problem,) = refused.value.problems
    assert (problem.field, problem.got) == ("share.ppm", "15")
    assert problem.want == "at least 16: a part has 1 MiB of memory or more"
    least = resolve_share(a_part(16), load_catalogue()).share
    assert least is not None
    assert least.memory_bytes is not None
    assert least.memory_bytes >= 1 << 20


STEPS = st.tuples(
    st.sampled_from(["submit", "end", "plan"]),
    st.sampled_from([1, 100_000, 334_000, 500_000, 1_000_000]),
    st.integers(0, 1),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_whatever_comes_and_goes_shares_of_a_device_sum_to_at_most_the_whole(
    steps: list[tuple[str, int, int]],
) -> None:
    controller = Controller([a_node("n1", devices=2)], [a_queue(), a_queue(firm="firm-b")])
    for number, (what, ppm, which) in enumerate(steps):
        if what == "submit":
            spec = a_part(ppm) if ppm < 1_000_000 else a_spec()
            controller.submit(f"job-{number}", spec, firm=("firm-a", "firm-b")[which])
        elif what == "plan":
            controller.plan()  # which checks the plan
        else:
            active = sorted(controller.state.active)
            if active:
                job = controller.state.jobs[active[which % len(active)]]
                controller.run(job)
                controller.end(controller.tasks(job)[0])
        assert violations(controller.state) == []
