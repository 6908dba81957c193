"""Clusters with everything at once, planned for days by the machine that decides live: what holds of every plan."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from scheduler.catalogue import load_catalogue
from scheduler.domain.devices import Health
from scheduler.domain.gangs import Domain, Elastic, Gang, Share, TaskGroup, Topology
from scheduler.domain.ids import DeviceId, FirmId, JobId
from scheduler.domain.jobs import JobSpec, JobState, Variant
from scheduler.domain.nodes import Node, Place
from scheduler.domain.pools import Pool
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.domain.reasons import EndReason
from scheduler.machine import apply_plan, take_snapshot
from scheduler.machine.invariants import violations
from scheduler.machine.messages import ConfigurationChanged, CordonRequested
from scheduler.planner import Plan, PlannerConfig, Report, Snapshot
from scheduler.planner.config import POLICIES
from scheduler.planner.cycle import Planner, plan
from scheduler.planner.fleet import Fleet
from scheduler.planner.next_cycle import Started, carried_out
from scheduler.planner.plan import Stop, StopCause
from scheduler.planner.plan_checks import check_plan
from scheduler.planner.snapshot import Hole, NodeView
from tests.builders.cluster import Controller, a_node
from tests.builders.jobs import a_spec

MODELS = ("ascend-910b3", "mlu370-x8", "ascend-910c", "ascend-910a")
FIRMS = ("firm-a", "firm-b", "firm-c")
POOLS = ("pool-a", "pool-b")
HOUR_MS = 3_600_000
CYCLES = 24
UNTIL_REST = 80


def a_cluster(draw: random.Random) -> tuple[Controller, list[Node]]:
    """Nodes of several models and places, a tree of quotas with limits, maintenance and reservations."""
    pools, models = POOLS[: draw.randint(1, 2)], draw.sample(MODELS, draw.randint(1, 3))
    nodes = [
        a_node(f"n{n}", devices=draw.choice([4, 8]), model=draw.choice(models), pool=draw.choice(pools))
        for n in range(draw.randint(2, 6))
    ]
    controller = Controller(nodes, config=PlannerConfig(profile=draw.choice(list(POLICIES))))
    cohorts = [Cohort("all"), Cohort("left", parent="all", weight=2), Cohort("right", parent="all")]
    queues = [a_queue(draw, firm, models, pools) for firm in FIRMS]
    calendar = []
    for whose in (None, queues[0].key):
        from_ms = controller.now_ms + draw.randint(0, 20) * HOUR_MS
        until_ms = from_ms + draw.randint(1, 10) * HOUR_MS
        calendar.append(Hole(from_ms, until_ms, frozenset({draw.choice(nodes).node_id}), whose))
    places = {
        node.name: Place("z", draw.choice([None, "s"]), draw.choice(["l1", "l2"]), number)
        for number, node in enumerate(nodes)
    }
    calendar.sort(key=lambda hole: hole.from_ms)
    controller.tell(
        ConfigurationChanged(
            {pool: Pool(pool) for pool in pools},
            tuple(queues),
            tuple(cohorts),
            tuple(calendar),
            places=places,
        )
    )
    return controller, nodes


def a_queue(draw: random.Random, firm: str, models: list[str], pools: tuple[str, ...]) -> Queue:
    """In the tree or by itself, with quotas of devices, of compute, or none."""
    units = {**dict.fromkeys(models, 1), COMPUTE: load_catalogue().fp16_gflops(MODELS[0])}
    nominal = {key: draw.randint(0, 12) * unit for key, unit in units.items() if draw.random() < 0.5}
    cohort = draw.choice([None, "all", "left", "right", "left", "right"])
    limited = [key for key in nominal if cohort and draw.random() < 0.3]
    return Queue(
        QueueKey(FirmId(firm), "default"),
        tuple(draw.sample(pools, draw.randint(1, len(pools)))),
        nominal,
        draw.randint(1, 3),
        cohort,
        borrowing={key: draw.randint(0, 8) * units[key] for key in limited},
        lending={key: draw.randint(0, nominal[key]) for key in limited},
    )


def a_job(draw: random.Random, name: str) -> JobSpec:
    """A part of a device or a gang: elastic, with a spare, uneven, in one domain; resuming or not."""
    per_node, tasks, kind = draw.choice([1, 1, 2, 4, 8]), draw.choice([1, 1, 1, 2, 3]), draw.randrange(8)
    part = Share(draw.choice([250_000, 600_000]), None) if kind == 0 else None
    spec = a_spec(
        name,
        devices=1 if part else per_node * tasks,
        per_node=1 if part else per_node,
        share=part,
        models=draw.sample(MODELS, draw.randint(1, 3)),
        priority=draw.choice(["low", "normal", "normal", "high"]),
        estimate_seconds=draw.choice([None, 600, 7_200, 86_400]),
        time_limit_s=draw.choice([None, None, 1_200, 10_000, 200_000]),
    )
    if kind == 1:
        spec = replace(spec, gang=replace(spec.gang, elastic=Elastic(per_node, (tasks + 2) * per_node)))
    elif kind == 2:
        spec = replace(spec, gang=replace(spec.gang, spare_nodes=1))
    elif kind == 3:
        groups = TaskGroup("many", tasks, per_node), TaskGroup("one", 1, 2)
        spec = replace(spec, gang=Gang(per_node * tasks + 2, max(2, per_node), groups=groups))
    elif kind == 4:
        domain = draw.choice([Domain.LEAF, Domain.SUPERNODE])
        spec = replace(spec, topology=draw.choice([Topology(required=domain), Topology(preferred=domain)]))
    if draw.random() < 0.4:
        spec = replace(spec, model_checkpoint=None)
    if draw.random() < 0.4:
        rates = draw.choices([None, 3_600, 36_000], k=len(spec.variants))
        variants = (
            Variant(v.model, v.command, steps_per_hour=r) for v, r in zip(spec.variants, rates, strict=True)
        )
        spec = replace(spec, variants=tuple(variants))
    return spec


def check(
    snapshot: Snapshot, now_ms: int, config: PlannerConfig, kept: Planner, draw: random.Random
) -> tuple[Plan, Report]:
    """The plan, of which everything that must hold does."""
    decided, report = plan(snapshot, now_ms, config)
    assert check_plan(snapshot, decided, now_ms) == []
    assert plan(snapshot, now_ms, config) == (decided, report)
    incremental, its_report = kept.plan(snapshot, now_ms)
    assert (incremental, its_report) == (decided, report)
    classes = draw.sample(snapshot.classes, len(snapshot.classes))
    queues = dict(reversed(list(snapshot.queues.items())))
    assert plan(replace(snapshot, classes=tuple(classes), queues=queues), now_ms, config)[0] == decided

    waiting = {job.job_id: item.shape for item in snapshot.classes for job in item.jobs}
    waiting |= {resting.job.job_id: resting.shape for resting in snapshot.resting}
    told: dict[JobId, int] = {job.job_id: len(item.reasons) for item in report.classes for job in item.jobs}
    assert told.keys() == waiting.keys() - {placement.job_id for placement in decided.placements}
    assert all(told.values())
    assert all(report.starts(job_id) == its_report.starts(job_id) for job_id in told)
    for placement in decided.placements:
        nodes = {task.node_id for task in placement.tasks}
        closed = [
            hole
            for hole in snapshot.calendar
            if hole.from_ms <= now_ms < hole.until_ms and nodes & hole.nodes
        ]
        assert all(hole.queue == waiting[placement.job_id].queue for hole in closed)
    return decided, report


def obey(controller: Controller) -> None:
    """What was placed runs, what was told to stop does."""
    for job in list(controller.state.jobs.values()):
        if job.state is JobState.ALLOCATED:
            controller.run(job)
        elif job.state is JobState.STOPPING:
            for task in [task for task in controller.tasks(job) if task.live]:
                controller.end(task, None, EndReason.STOPPED)


def some_jobs_come(controller: Controller, draw: random.Random, cycle: int) -> None:
    for number in range(draw.choice([0, 1, 1, 3])):
        name = f"job-{cycle}-{number}"
        controller.submit(name, a_job(draw, name), firm=draw.choice(FIRMS))


def something_happens(controller: Controller, nodes: list[Node], draw: random.Random) -> None:
    """A job ends, a node is cordoned or open again, a device fails or works again; time passes."""
    running = [job for job in controller.state.jobs.values() if job.state is JobState.RUNNING]
    if running and draw.random() < 0.3:
        for task in [task for task in controller.tasks(draw.choice(running)) if task.live]:
            controller.end(task, 0)
    node = draw.choice(nodes).node_id
    if draw.random() < 0.1:
        controller.tell(CordonRequested(node, draw.random() < 0.5))
    if draw.random() < 0.1:
        health = draw.choice([Health.FAULTY, Health.DEGRADED, Health.OK])
        controller.observe(node, unhealthy={} if health is Health.OK else {DeviceId(f"{node}/0"): health})
    controller.wait(draw.choice([1_000, 60_000, HOUR_MS, 5 * HOUR_MS, 30 * HOUR_MS]))


@pytest.mark.parametrize("seed", range(10))
def test_every_plan_is_legal_whole_repeatable_and_the_same_made_anew_or_from_what_changed(seed: int) -> None:
    draw = random.Random(seed)
    controller, nodes = a_cluster(draw)
    kept = Planner(controller.state.catalogue, controller.config)
    for cycle in range(CYCLES):
        some_jobs_come(controller, draw, cycle)
        snapshot = take_snapshot(controller.state, controller.now_ms)
        decided, _ = check(snapshot, controller.now_ms, controller.config, kept, draw)
        apply_plan(controller.state, decided, controller.now_ms, controller.ids)
        assert violations(controller.state) == []
        obey(controller)
        something_happens(controller, nodes, draw)


def goes_on(controller: Controller, kept: Planner) -> bool:
    """One cycle half an hour on, obeyed; whether anybody was told anything."""
    controller.wait(HOUR_MS // 2)
    snapshot = take_snapshot(controller.state, controller.now_ms)
    decided, _ = kept.plan(snapshot, controller.now_ms)
    assert check_plan(snapshot, decided, controller.now_ms) == []
    apply_plan(controller.state, decided, controller.now_ms, controller.ids)
    obey(controller)
    return bool(decided.placements or decided.stops)


def comes_to_rest(seed: int) -> bool:
    """Whether a plan is empty at last where nobody submits any more and nothing ends."""
    draw = random.Random(seed)
    controller, nodes = a_cluster(draw)
    kept = Planner(controller.state.catalogue, controller.config)
    for cycle in range(CYCLES):
        some_jobs_come(controller, draw, cycle)
        goes_on(controller, kept)
        something_happens(controller, nodes, draw)
    return any(not goes_on(controller, kept) for _ in range(UNTIL_REST))


@pytest.mark.parametrize(
    "seeds",
    [
        [*range(4), 163, 182],  # of these some did not
        *(
            pytest.param(range(at, at + 100), marks=[pytest.mark.long, pytest.mark.timeout(1_800)])
            for at in range(0, 1_000, 100)
        ),
    ],
    ids=str,
)
def test_a_cluster_with_everything_at_once_comes_to_rest(seeds: Sequence[int]) -> None:
    assert [seed for seed in seeds if not comes_to_rest(seed)] == []


def told(snapshot: Snapshot) -> tuple[object, ...]:
    """Who has and who waits for what, without when anything ends."""
    return (
        [replace(view, devices=()) for view in snapshot.nodes],
        [device._replace(ends_by_ms=None) for view in snapshot.nodes for device in view.devices],
        {key: models for key, models in snapshot.held.items() if models},
        {key: models for key, models in snapshot.held_parts.items() if models},
        {job.job_id: item.shape.models for item in snapshot.classes for job in item.jobs},
        {(one.job_id, one.model, one.tasks) for one in snapshot.running},
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("one_firm", [False, True])
def test_what_a_plan_leads_to_is_known_before_anybody_obeys(seed: int, *, one_firm: bool) -> None:
    draw = random.Random(seed)
    controller, nodes = a_cluster(draw)
    controller.wait(1_000)
    for node in nodes if one_firm else ():  # each serves the first firm that comes, for good
        controller.connect(node.node_id, one_firm=True)
    for cycle in range(CYCLES):
        some_jobs_come(controller, draw, cycle)
        snapshot = take_snapshot(controller.state, controller.now_ms)
        decided, _ = plan(snapshot, controller.now_ms, controller.config)
        expected = carried_out(snapshot, decided, controller.now_ms)
        apply_plan(controller.state, decided, controller.now_ms, controller.ids)
        obey(controller)  # those too who were told to stop before; and nodes report that they are well
        ill = any(device.faulty or device.degraded for view in snapshot.nodes for device in view.devices)
        if not (ill or any(one.stopping for one in snapshot.running)):
            assert told(take_snapshot(controller.state, controller.now_ms)) == told(expected)
        something_happens(controller, nodes, draw)


def odd(view: NodeView, draw: random.Random) -> NodeView:
    """A node that may be for one firm, keep firms apart, count its host, be out of service or have two models."""
    devices = view.devices
    if draw.random() < 0.2:
        devices = tuple(device._replace(model="ascend-310p") for device in devices[:2]) + devices[2:]
    return replace(
        view,
        devices=devices,
        usable=draw.random() < 0.9,
        one_firm=draw.random() < 0.2,
        firm_id=draw.choice([None, FirmId("firm-a")]),
        isolates=draw.random() < 0.2,
        left_cpu_milli=draw.choice([None, 64_000]),
        left_memory_bytes=draw.choice([None, 1 << 40]),
    )


def told_by(fleet: Fleet) -> list[tuple[object, ...]]:
    """All that a cycle reads of a fleet."""
    return [
        (
            (
                cell.pool,
                cell.model,
                cell.open_devices,
                cell.free_devices,
                cell.one_firm,
                +cell.nodes_by_healthy,
            ),
            [column.tolist() for column in (cell.ppm, cell.device_bytes, cell.ends, cell.firm)],
            [column.tolist() for column in (cell.cpu, cell.memory, cell.penalty, cell.whole)],
            [[cell.ends_at_rest(row, at) for at in range(4)] for row in range(len(cell.parts))],
            [cell.with_room(least) for least in range(9)],
            [cell.with_room_counting_held(least) for least in range(9)],
            [
                column[cell.state].tolist()
                for column in (cell.states.copies, cell.states.cost, cell.states.whole)
            ],
            [(part.free, part.at_rest, part.busy, part.shared, part.degraded) for part in cell.parts],
        )
        for cell in fleet.cells()
    ]


@pytest.mark.parametrize("seed", range(6))
def test_nodes_of_which_something_is_expected_are_as_if_they_were_so(seed: int) -> None:
    draw = random.Random(seed)
    controller, nodes = a_cluster(draw)
    kept = Fleet(controller.state.catalogue)
    for cycle in range(CYCLES):
        some_jobs_come(controller, draw, cycle)
        snapshot = take_snapshot(controller.state, controller.now_ms)
        decided, _ = plan(snapshot, controller.now_ms, controller.config)
        apply_plan(controller.state, decided, controller.now_ms, controller.ids)
        obey(controller)
        something_happens(controller, nodes, draw)
        snapshot = replace(
            snapshot,
            nodes=tuple(odd(view, draw) for view in snapshot.nodes),
            running=tuple(
                one._replace(
                    shape=one.shape._replace(cpu_milli=draw.choice([0, 2_000]), memory_bytes=1 << 30)
                )
                for one in snapshot.running
            ),
        )
        kept.sync(snapshot.nodes)
        before = told_by(kept)
        started = Started(snapshot, decided.placements, controller.now_ms)
        for _ in range(3):
            stopped = draw.sample(snapshot.running, len(snapshot.running) // 2)
            ahead = started.after([Stop(one.job_id, StopCause.MOVE, None) for one in stopped])
            kept.expect(ahead.turnover)
            anew = Fleet(controller.state.catalogue)
            anew.sync(ahead.whole.nodes)
            assert told_by(kept) == told_by(anew)
        kept.sync(snapshot.nodes)
        assert told_by(kept) == before
