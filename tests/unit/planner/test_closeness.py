"""When a gang that prefers to be together waits for a place that is closer together, and what it is told."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from scheduler.catalogue import load_catalogue
from scheduler.domain.ids import DeviceId, FirmId, JobId, NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.domain.reasons import Reason
from scheduler.planner import JobClass, PlannerConfig, Report, Shape, Snapshot, Topology, WaitingJob
from scheduler.planner.cycle import plan
from scheduler.planner.snapshot import DeviceView, NodeView, RunningJob

MODEL, POOL = "ascend-910b3", "pool"
QUEUE = QueueKey(FirmId("firm"), "default")
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
NOW_MS = 100 * HOUR_MS
GANG = Shape(
    QUEUE, Priority.NORMAL, 16, 8, (MODEL,), topology=Topology("leaf"), rates=((MODEL, 1.0),), kind="gang"
)
# A node is free on each of two leaf switches; beside the first of them one comes free in ten minutes.
SOON = {"leaf-0": (0, 10), "leaf-1": (0, 600)}


def a_node(name: str, leaf: str, busy_min: int, *, cpu_milli: int | None = None) -> NodeView:
    """A node, busy for so long; what of a leaf's name stands before a slash is its supernode."""
    ends_ms = NOW_MS + busy_min * MINUTE_MS if busy_min else None
    devices = tuple(
        DeviceView(n, DeviceId(f"{name}/{n}"), MODEL, n // 4, free=not busy_min, ends_by_ms=ends_ms)
        for n in range(8)
    )
    supernode = leaf.partition("/")[0] if "/" in leaf else None
    domains = (None, supernode, leaf)
    return NodeView(NodeId(name), name, POOL, True, devices, domains=domains, left_cpu_milli=cpu_milli)


def a_snapshot(
    leaves: Mapping[str, tuple[int, ...]],
    *waiting: tuple[str, Shape, float],
    waited_min: float = 0.0,
    running: tuple[RunningJob, ...] = (),
) -> Snapshot:
    """Leaves with their nodes' minutes until they are free; jobs with the hours that they run."""
    views = [
        a_node(f"{leaf}-{n}", leaf, busy) for leaf, nodes in leaves.items() for n, busy in enumerate(nodes)
    ]
    classes: dict[Shape, list[WaitingJob]] = {}
    for age, (name, shape, hours) in enumerate(reversed(waiting)):
        submitted_ms = NOW_MS - int(waited_min * MINUTE_MS) - age
        classes.setdefault(shape, []).append(WaitingJob(submitted_ms, JobId(name), hours * 3_600))
    return Snapshot(
        load_catalogue(),
        tuple(views),
        {QUEUE: Queue(QUEUE, (POOL,))},
        tuple(JobClass(shape, tuple(sorted(jobs))) for shape, jobs in classes.items()),
        running=running,
    )


def planned(snapshot: Snapshot, profile: str = "packing") -> tuple[dict[str, set[str]], Report]:
    """On which nodes each job starts, and the report."""
    decided, report = plan(snapshot, NOW_MS, PlannerConfig(profile=profile))
    return {one.job_id: {task.node_id for task in one.tasks} for one in decided.placements}, report


def waits(snapshot: Snapshot, profile: str = "packing") -> bool:
    """Whether the gang waits for a closer place."""
    started, report = planned(snapshot, profile)
    told = report.of(JobId("gang"))
    if told is None:
        assert "gang" in started
        return False
    assert [why.reason for why in told.reasons] == [Reason.CLOSER_LATER]
    return True


def test_a_gang_that_prefers_a_leaf_waits_for_one_that_is_whole_soon_and_is_told_so() -> None:
    started, report = planned(a_snapshot(SOON, ("gang", GANG, 1.0)))
    told = report.of(JobId("gang"))
    assert started == {}
    assert told is not None
    assert [why.sentence for why in told.reasons] == [
        "would be spread over 2 leaf switches now, over 1 from about 1970-01-05T04:11:00.000Z on:"
        " waits for that until 1970-01-05T05:00:00.000Z at the latest"
    ]
    assert told.counterfactual == (
        f"now, over 2 leaf switches, if it did not prefer one leaf: pool {POOL}, {MODEL}"
    )
    starts = report.starts(JobId("gang"))
    assert starts is not None
    assert (
        starts.expected_ms == NOW_MS + 11 * MINUTE_MS
    )  # a minute between the end of a limit and free devices


@pytest.mark.parametrize(
    ("what", "snapshot"),
    [
        ("it does not mind", a_snapshot(SOON, ("gang", GANG._replace(topology=None), 1.0))),
        ("it is as close already", a_snapshot({"leaf-0": (0, 0, 10)}, ("gang", GANG, 1.0))),
        ("no leaf comes free in time", a_snapshot({"leaf-0": (0, 45), "leaf-1": (0,)}, ("gang", GANG, 1.0))),
        ("it would wait for long beside its run", a_snapshot(SOON, ("gang", GANG, 0.25))),
        ("it has waited as long as it may", a_snapshot(SOON, ("gang", GANG, 1.0), waited_min=55)),
        (
            "nobody knows how long it runs",
            a_snapshot(SOON, ("gang", GANG._replace(rates=(), kind="new"), 1.0)),
        ),
        ("no leaf holds it any better", a_snapshot({"leaf-0": (0, 600), "leaf-1": (0, 10), "leaf-2": (10,)},
                                                   ("gang", GANG._replace(devices=32), 1.0))),
    ],
)  # fmt: skip
def test_a_gang_starts_where_there_is_room_when(what: str, snapshot: Snapshot) -> None:
    started, report = planned(snapshot)
    told = report.of(JobId("gang"))
    assert "gang" in started or (told is not None and told.reasons[0].reason is Reason.DEVICES_BUSY)


def test_who_comes_after_it_starts_on_what_it_passes_over() -> None:
    small = GANG._replace(devices=8, topology=None)
    started, report = planned(a_snapshot(SOON, ("gang", GANG, 1.0), ("small", small, 1.0)))
    assert list(started) == ["small"]
    assert report.of(JobId("gang")) is not None


def test_one_of_its_class_that_does_not_wait_starts_before_it() -> None:
    started, report = planned(a_snapshot(SOON, ("gang", GANG, 1.0), ("short", GANG, 0.25)))
    assert list(started) == ["short"]
    told = report.of(JobId("gang"))
    assert told is not None
    assert [job.job_id for job in told.jobs] == ["gang"]


@pytest.mark.parametrize("classes", [1, 1_000])
def test_of_a_thousand_alike_a_few_are_judged_and_the_rest_is_told_no_more_than_is_known(
    classes: int,
) -> None:
    many = [(f"gang-{n}", GANG._replace(kind=f"gang-{n % classes}"), 1.0) for n in range(1_000)]
    started, report = planned(a_snapshot(SOON, *many))
    assert started == {}
    assert sum(len(told.jobs) for told in report.classes) == len(many)
    assert {why.reason for told in report.classes for why in told.reasons} == {Reason.CLOSER_LATER}
    judged = [told for told in report.classes if "would be spread" in told.reasons[0].sentence]
    assert [len(told.jobs) for told in judged] == [1] * 16
    assert {
        (told.reasons[0].sentence, told.counterfactual) for told in report.classes if told not in judged
    } == {
        (
            "gangs of the firm that ask for the same and come before it wait for places that are closer together:"
            " not looked at in this cycle",
            None,
        )
    }


def test_however_many_demands_a_firm_submits_few_of_its_gangs_wait_and_the_next_starts() -> None:
    many = [(f"gang-{n}", GANG._replace(cpu_milli=n), 1.0) for n in range(200)]
    started, report = planned(a_snapshot(SOON, *many))
    told = [report.of(JobId(name)) for name, _, _ in many]
    reasons = [one.reasons[0].reason for one in told if one is not None]
    assert len(started) == 1
    assert reasons.count(Reason.CLOSER_LATER) == 16
    assert reasons.count(Reason.DEVICES_BUSY) == len(many) - 17


def test_one_that_asks_for_the_same_and_would_not_wait_starts_after_as_many_as_may() -> None:
    many = [(f"gang-{n}", GANG, 1.0) for n in range(40)]
    short = GANG._replace(kind="short", priority=Priority.LOW)
    started, _ = planned(a_snapshot(SOON, *many, ("short", short, 0.25)))
    assert list(started) == ["short"]


def test_a_gang_waits_whatever_another_firm_submits_before_it() -> None:
    key = QueueKey(FirmId("other"), "default")
    other = GANG._replace(queue=key, priority=Priority.LOW)
    many = [(f"gang-{n}", GANG, 1.0) for n in range(100)]
    snapshot = a_snapshot(SOON, *many, ("gang", other, 1.0))
    snapshot = replace(snapshot, queues={**snapshot.queues, key: Queue(key, (POOL,))})
    assert waits(snapshot)
    told = planned(snapshot)[1].of(JobId("gang"))
    assert told is not None
    assert told.reasons[0].sentence.startswith("would be spread")


def test_it_does_not_wait_for_fewer_leaves_of_another_supernode_than_it_would_be_given() -> None:
    gang = GANG._replace(devices=32)
    two = {"a/1": (0, 600), "a/2": (0, 600), "a/3": (0, 600), "a/4": (0,)}
    assert not waits(a_snapshot({**two, "b/1": (0, 0, 10), "b/2": (10,)}, ("gang", gang, 10.0)))
    assert waits(a_snapshot({**two, "a/4": (0, 10)}, ("gang", gang, 10.0)))


def test_it_does_not_wait_for_nodes_that_are_free_and_cannot_take_it() -> None:
    gang = GANG._replace(cpu_milli=4_000)
    snapshot = a_snapshot({"leaf-0": (0,), "leaf-1": (0,)}, ("gang", gang, 1.0))
    full = (a_node("full", "leaf-0", 0, cpu_milli=1_000), a_node("later", "leaf-2", 10))
    assert not waits(replace(snapshot, nodes=(*snapshot.nodes, *full)))


@pytest.mark.parametrize(("profile", "hours", "waiting"), [
    ("packing", 1.0, True), ("balanced", 1.0, False), ("balanced", 10.0, True), ("throughput", 100.0, False),
])  # fmt: skip
def test_how_long_it_waits_is_the_profiles_choice(profile: str, hours: float, waiting: bool) -> None:
    assert waits(a_snapshot(SOON, ("gang", GANG, hours)), profile) is waiting


def test_who_may_stop_others_for_itself_takes_what_there_is() -> None:
    def with_one_running(**what: Any) -> Snapshot:
        shape = GANG._replace(devices=8, topology=None, **what)
        view = a_node("leaf-1-1", "leaf-1", 600)
        tasks = ((view.node_id, tuple(device.device_id for device in view.devices)),)
        running = RunningJob(JobId("running"), shape, 0, MODEL, POOL, tasks, NOW_MS - HOUR_MS, 36_000.0)
        return a_snapshot(SOON, ("gang", GANG, 1.0), running=(running,))

    assert waits(with_one_running(resumable=True))
    assert not waits(with_one_running(resumable=True, priority=Priority.LOW))
