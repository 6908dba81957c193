"""What holds of every plan, whatever the cluster and the work."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.devices import Health
from scheduler.domain.gangs import Gang, TaskGroup
from scheduler.domain.ids import DeviceId
from scheduler.domain.jobs import JobState
from scheduler.domain.reasons import EndReason, Reason
from scheduler.machine import take_snapshot
from scheduler.machine.invariants import violations
from scheduler.machine.messages import CordonRequested
from scheduler.planner import PlannerConfig
from scheduler.planner.cycle import plan
from scheduler.planner.plan_checks import check_plan
from scheduler.planner.topology import choose_devices
from tests.builders.cluster import Controller, a_node, a_queue
from tests.builders.jobs import a_spec

MODELS = ["ascend-910b3", "ascend-910a", "mlu370-x8", "ascend-910c"]
JOB = st.fixed_dictionaries(
    {
        "per_node": st.sampled_from([1, 1, 2, 3, 4, 8]),
        "tasks": st.sampled_from([1, 1, 2, 3]),
        "beside": st.sampled_from([0, 0, 0, 1, 2, 4]),  # devices of one more task, in a group of its own
        "models": st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True),
        "priority": st.sampled_from(["low", "normal", "high"]),
        "limit": st.sampled_from([None, 60, 3_600]),
        "firm": st.sampled_from(["firm-a", "firm-b"]),
        "age_ms": st.integers(0, 1_200_000),
    }
)
CLUSTER = st.fixed_dictionaries(
    {
        "nodes": st.lists(st.sampled_from(MODELS), min_size=1, max_size=6),
        "quota": st.sampled_from([None, 4, 12]),
        "cordoned": st.sets(st.integers(0, 5)),
        "faulty": st.sets(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=5),
        "jobs": st.lists(JOB, max_size=25),
    }
)


def build(case: dict) -> Controller:  # type: ignore[type-arg]
    """A controller whose first half of the jobs runs, and whose second half waits."""
    nominal = {} if case["quota"] is None else {"ascend-910b3": case["quota"]}
    queues = [a_queue(firm="firm-a"), a_queue(firm="firm-b", nominal=nominal, weight=3)]
    nodes = [a_node(f"n{n}", model=model) for n, model in enumerate(case["nodes"])]
    controller = Controller(nodes, queues)
    for number, job in enumerate(case["jobs"]):
        controller.now_ms += job["age_ms"]
        spec = a_spec(
            f"j{number}",
            devices=job["per_node"] * job["tasks"],
            per_node=job["per_node"],
            models=job["models"],
            priority=job["priority"],
            time_limit_s=job["limit"],
        )
        if job["beside"]:
            groups = TaskGroup("many", job["tasks"], job["per_node"]), TaskGroup("one", 1, job["beside"])
            devices = spec.gang.devices + job["beside"]
            gang = Gang(devices, max(job["per_node"], job["beside"]), groups=groups)
            spec = replace(spec, gang=gang)
        record = controller.submit(f"j{number}", spec, firm=job["firm"])
        if number * 2 < len(case["jobs"]):
            controller.plan()
            if record.state is JobState.ALLOCATED:
                controller.run(record)
    for number in case["cordoned"]:
        if number < len(nodes):
            controller.tell(CordonRequested(nodes[number].node_id, True))
    for number, index in case["faulty"]:
        if number < len(nodes):
            node = nodes[number].node_id
            controller.observe(node, unhealthy={DeviceId(f"{node}/{index}"): Health.FAULTY})
    return controller


@settings(deadline=None, max_examples=150)
@given(CLUSTER)
def test_every_plan_is_legal_repeatable_and_leaves_a_sound_state(case: dict) -> None:  # type: ignore[type-arg]
    controller = build(case)
    snapshot = take_snapshot(controller.state, controller.now_ms)
    first = plan(snapshot, controller.now_ms, PlannerConfig())
    assert plan(snapshot, controller.now_ms, PlannerConfig()) == first
    assert check_plan(snapshot, first[0], controller.now_ms) == []
    controller.plan()
    assert violations(controller.state) == []


@settings(deadline=None, max_examples=100)
@given(CLUSTER)
def test_cycles_on_unchanged_input_come_to_rest(case: dict) -> None:  # type: ignore[type-arg]
    controller = build(case)
    controller.plan()
    for _ in range(len(case["jobs"]) + 1):
        if not end_what_stops(controller) and not controller.plan():
            return
    pytest.fail("the planner goes on stopping and starting")


def end_what_stops(controller: Controller) -> bool:
    """Every task that was told to stop does so; whether there was any."""
    stopping = [job for job in controller.state.jobs.values() if job.state is JobState.STOPPING]
    for job in stopping:
        for allocation in [task for task in controller.tasks(job) if task.live]:
            controller.end(allocation, None, EndReason.STOPPED)
    return bool(stopping)


@settings(deadline=None, max_examples=150)
@given(CLUSTER)
def test_every_waiting_job_is_told_why_and_the_reason_is_true(case: dict) -> None:  # type: ignore[type-arg]
    controller = build(case)
    controller.plan()
    waiting = {job.job_id for job in controller.state.jobs.values() if job.state is JobState.QUEUED}
    reported = {job.job_id for item in controller.report.classes for job in item.jobs}
    assert reported == waiting
    state = controller.state
    for item in controller.report.classes:
        assert item.reasons
        for reason in item.reasons:
            if reason.reason not in (
                Reason.DEVICES_BUSY,
                Reason.DEVICES_FRAGMENTED,
                Reason.DEVICES_UNAVAILABLE,
            ):
                continue
            # Brute force over what is free: the gang really has no place, whatever the reason's name.
            rule = state.catalogue.shape(reason.device_model or "")
            room = 0
            for node in take_snapshot(state, controller.now_ms).nodes:
                on_node = node.by_model.get(reason.device_model or "")
                free = () if on_node is None else [device for device in on_node.devices if device.free]
                if node.usable and choose_devices(rule, free, item.shape.devices_per_node) is not None:
                    room += 1
            assert room < item.shape.tasks, reason


@settings(deadline=None, max_examples=100)
@given(CLUSTER, st.randoms(use_true_random=False))
def test_a_plan_does_not_depend_on_the_order_in_which_things_are_kept(case: dict, rng: object) -> None:  # type: ignore[type-arg]
    controller = build(case)
    snapshot = take_snapshot(controller.state, controller.now_ms)
    classes = list(snapshot.classes)
    rng.shuffle(classes)  # type: ignore[attr-defined]
    shuffled = replace(snapshot, queues=dict(reversed(list(snapshot.queues.items()))), classes=tuple(classes))
    config = PlannerConfig()
    assert plan(shuffled, controller.now_ms, config)[0] == plan(snapshot, controller.now_ms, config)[0]
