"""Devices for gangs: nodes are emptied for them, though those who run there save at different moments."""

from dataclasses import replace

import pytest

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import COMPUTE, Cohort, Queue, QueueKey
from scheduler.domain.time import HOUR_MS, MINUTE_MS
from scheduler.planner import Hole, JobPlacement, Plan, PlannerConfig, Report, Shape, Snapshot, WaitingJob
from scheduler.planner.cycle import Planner, plan
from scheduler.planner.plan import StopCause, TaskPlacement
from scheduler.planner.plan_checks import check_plan
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.jobs import Work
from scheduler.simulator.models import catalogue_of
from scheduler.simulator.world import Options, World

MINE, THEIRS = (QueueKey(FirmId(firm), "default") for firm in ("mine", "theirs"))
MODELS = ("fast", "slow")
RATES = {"fast": 1.0, "slow": 0.2}
NOW_MS = 100 * HOUR_MS
RAN_MS = 4 * HOUR_MS


def a_cluster(**nominal: int) -> VirtualCluster:
    """Two nodes of four fast devices, no slow ones; both firms lend each other what they do not use of theirs."""
    specs = [NodeSpec(f"fast-{n}", "fast", 4) for n in range(2)]
    queues = [
        Queue(key, ("pool",), {"fast": nominal.get(key.firm_id, 0)}, 1, "all") for key in (MINE, THEIRS)
    ]
    catalogue = catalogue_of(dict.fromkeys(MODELS, 0))
    return VirtualCluster(catalogue, specs, queues, cohorts={"all": Cohort("all")})


def a_shape(devices: int, queue: QueueKey = MINE, *, resumable: bool = True) -> Shape:
    """A job on one node."""
    rates = tuple(sorted(RATES.items()))
    return Shape(
        queue, Priority.NORMAL, devices, devices, MODELS, resumable=resumable, restart_ms=60_000, rates=rates
    )


def put(
    cluster: VirtualCluster,
    name: str,
    shape: Shape,
    node: int,
    at: int,
    hours: float,
    ran_ms: int = RAN_MS,
    model: str = "fast",
) -> None:
    """A job has run on the devices of a node from `at` for some hours, and has just saved."""
    job_id = JobId(name)
    view = cluster.views[node]
    ids = tuple(device.device_id for device in view.devices[at : at + shape.devices])
    cluster.submit(shape, WaitingJob(NOW_MS - ran_ms, job_id, hours * 3600.0))
    tasks = (TaskPlacement(0, view.node_id, ids),)
    cluster.start(JobPlacement(job_id, model, view.pool, tasks), NOW_MS - ran_ms)
    cluster.progress(job_id, steps_left=hours * 3600.0, served_ms=ran_ms, saved_ms=NOW_MS)


def carried_out(cluster: VirtualCluster, decided: Plan) -> None:
    """Who stops waits again at once."""
    for stop in decided.stops:
        running = cluster.free(stop.job_id)
        cluster.submit(running.shape, running.waiting)
    for placement in decided.placements:
        cluster.start(placement, NOW_MS)


def test_who_merely_is_on_the_node_goes_on_on_another_one() -> None:
    cluster = a_cluster(mine=4, theirs=4)
    put(cluster, "first", a_shape(1, THEIRS), 0, 0, hours=50)
    put(cluster, "second", a_shape(2, THEIRS), 1, 0, hours=50)
    cluster.submit(a_shape(4), WaitingJob(NOW_MS, JobId("gang"), 600.0))
    before = cluster.snapshot()
    decided, _ = plan(before, NOW_MS, PlannerConfig())
    assert [(stop.job_id, stop.cause) for stop in decided.stops] == [("first", StopCause.MOVE)]
    assert check_plan(before, decided, NOW_MS) == []
    carried_out(cluster, decided)
    after = cluster.snapshot()
    decided, _ = plan(after, NOW_MS, PlannerConfig())
    places = {placement.job_id: placement.tasks[0].node_id for placement in decided.placements}
    assert places == {"gang": after.nodes[0].node_id, "first": after.nodes[1].node_id}
    # What was kept for the gang had room for it, and both nodes have for who goes on.
    rooms = {placement.job_id: placement.why_here["nodes_with_room"] for placement in decided.placements}
    assert rooms == {"gang": 1, "first": 1}
    assert check_plan(after, decided, NOW_MS) == []


@pytest.mark.parametrize("resumable", [True, False])
def test_nobody_is_asked_to_go_who_could_not_go_on(resumable: bool) -> None:
    cluster = a_cluster(mine=4, theirs=4)
    for number, name in enumerate(("first", "second")):
        put(cluster, name, a_shape(1, THEIRS, resumable=resumable), number, 0, hours=50)
    cluster.submit(a_shape(4), WaitingJob(NOW_MS, JobId("gang"), 600.0))
    decided, _ = plan(cluster.snapshot(), NOW_MS, PlannerConfig())
    assert len(decided.stops) == (1 if resumable else 0)


@pytest.mark.parametrize("firm", [MINE, THEIRS])
def test_who_has_just_started_is_asked_to_go_by_his_own_firm_alone(firm: QueueKey) -> None:
    cluster = a_cluster(mine=8, theirs=8)
    for number, name in enumerate(("first", "second")):
        put(cluster, name, a_shape(1, firm), number, 0, hours=50, ran_ms=HOUR_MS)
    cluster.submit(a_shape(4), WaitingJob(NOW_MS, JobId("gang"), 600.0))
    decided, _ = plan(cluster.snapshot(), NOW_MS, PlannerConfig())
    assert len(decided.stops) == (1 if firm == MINE else 0)


def test_nobody_is_asked_to_go_to_a_node_that_is_soon_out_of_service() -> None:
    cluster = a_cluster(mine=4, theirs=4)
    put(cluster, "first", a_shape(1, THEIRS), 0, 0, hours=50)
    cluster.calendar = (Hole(NOW_MS + HOUR_MS, NOW_MS + 2 * HOUR_MS, frozenset({cluster.views[1].node_id})),)
    cluster.submit(a_shape(4), WaitingJob(NOW_MS, JobId("gang"), 36_000.0))
    decided, _ = plan(cluster.snapshot(), NOW_MS, PlannerConfig())
    assert decided == Plan((), ())


def test_nothing_is_gathered_of_what_its_owner_may_take_back() -> None:
    cluster = a_cluster(mine=0, theirs=8)
    put(cluster, "first", a_shape(1, THEIRS), 0, 0, hours=50)
    put(cluster, "second", a_shape(2, THEIRS), 1, 0, hours=50)
    cluster.submit(a_shape(4), WaitingJob(NOW_MS, JobId("gang"), 600.0))
    decided, _ = plan(cluster.snapshot(), NOW_MS, PlannerConfig())
    assert decided.stops == ()


def test_a_second_plan_on_unchanged_input_gathers_the_same() -> None:
    cluster = a_cluster(mine=4, theirs=4)
    put(cluster, "first", a_shape(1, THEIRS), 0, 0, hours=50)
    put(cluster, "second", a_shape(1, THEIRS), 1, 0, hours=50)
    cluster.submit(a_shape(4), WaitingJob(NOW_MS, JobId("gang"), 600.0))
    snapshot = cluster.snapshot()
    kept = Planner(cluster.catalogue, PlannerConfig())
    first, again = kept.plan(snapshot, NOW_MS)[0], kept.plan(snapshot, NOW_MS)[0]
    assert first == again == plan(snapshot, NOW_MS, PlannerConfig())[0]


def test_two_gangs_that_start_at_once_have_no_more_than_their_queues_quota() -> None:
    specs = [NodeSpec(f"{pool}-{n}", "fast", 4, pool=pool) for pool in ("a", "b") for n in range(2)]
    queue = Queue(MINE, ("a", "b"), {"fast": 12}, 1, None)
    cluster = VirtualCluster(catalogue_of(dict.fromkeys(MODELS, 0)), specs, [queue])
    for number, node in enumerate((0, 2)):
        put(cluster, f"long-{number}", a_shape(4), node, 0, hours=500)
    for number in range(3):
        cluster.submit(a_shape(4), WaitingJob(NOW_MS - number, JobId(f"gang-{number}"), 600.0))
    snapshot = cluster.snapshot()
    decided, _ = plan(snapshot, NOW_MS, PlannerConfig())
    assert check_plan(snapshot, decided, NOW_MS) == []
    assert len(decided.placements) == 1


def wait_of_the_gang(works: list[Work], cluster: VirtualCluster) -> float:
    """Minutes from its arrival to its first start; every plan on the way is a legal one."""
    planner = Planner(cluster.catalogue, PlannerConfig())

    def decide(snapshot: Snapshot, now_ms: int) -> tuple[Plan, Report]:
        decided, report = planner.plan(snapshot, now_ms)
        assert check_plan(snapshot, decided, now_ms) == []
        return decided, report

    world = World(
        cluster,
        works,
        PlannerConfig(),
        Options(tick_ms=3 * MINUTE_MS),
        wanted=frozenset({JobId("gang")}),
        decide=decide,
    )
    world.run()
    return (world.records[JobId("gang")].wait_ms or 0) / MINUTE_MS


def long_jobs(number: int, queue: QueueKey, every_min: int) -> list[Work]:
    """Jobs of a hundred hours that save every half an hour, from another minute each."""
    of_one = a_shape(1, queue)
    return [
        Work(
            JobId(f"{queue.firm_id}-{n}"),
            of_one,
            n * every_min * MINUTE_MS,
            360_000.0,
            RATES,
            steps_known=True,
            checkpoint_ms=30 * MINUTE_MS,
        )
        for n in range(number)
    ]


@pytest.mark.parametrize("resumable", [True, False])
def test_a_short_gang_soon_has_the_place_of_long_jobs_that_save_at_different_moments(resumable: bool) -> None:
    works = long_jobs(8, MINE, every_min=7)
    gang = Work(
        JobId("gang"),
        a_shape(4, resumable=resumable),
        3 * HOUR_MS,
        600.0,
        RATES,
        True,
        0 if resumable else None,
    )
    cluster = a_cluster(mine=8)
    assert wait_of_the_gang([*works, gang], cluster) <= 60


def test_it_has_it_too_where_another_firms_jobs_are_on_every_node() -> None:
    mine = long_jobs(4, MINE, every_min=14)
    theirs = [
        replace(work, arrival_ms=work.arrival_ms + 7 * MINUTE_MS)
        for work in long_jobs(4, THEIRS, every_min=14)
    ]
    gang = Work(JobId("gang"), a_shape(4), 3 * HOUR_MS, 600.0, RATES, True, 0)
    assert wait_of_the_gang([*mine, *theirs, gang], a_cluster(mine=4, theirs=4)) <= 100


def two_models(mine: dict[str, int], theirs: dict[str, int]) -> VirtualCluster:
    """Two nodes of four fast devices, one of four slow ones."""
    specs = [
        NodeSpec(f"{model}-{n}", model, 4)
        for model, nodes in (("fast", 2), ("slow", 1))
        for n in range(nodes)
    ]
    queues = [Queue(key, ("pool",), own, 1, "all") for key, own in ((MINE, mine), (THEIRS, theirs))]
    catalogue = catalogue_of(dict.fromkeys(MODELS, 0))
    return VirtualCluster(catalogue, specs, queues, cohorts={"all": Cohort("all")})


def test_a_gang_does_not_leave_for_its_queues_own_devices_while_they_are_lent() -> None:
    cluster = two_models({"fast": 4, "slow": 4}, {"fast": 0, "slow": 0})
    put(cluster, "borrower", a_shape(4, THEIRS, resumable=False), 0, 0, hours=50)
    put(cluster, "gang", a_shape(4), 2, 0, hours=50, model="slow")
    decided, _ = plan(cluster.snapshot(), NOW_MS, PlannerConfig())
    assert decided.stops == ()


def test_nothing_is_gathered_for_a_gang_that_may_have_better_at_once() -> None:
    cluster = two_models({"slow": 4}, {"slow": 0})
    cluster.submit(a_shape(4), WaitingJob(NOW_MS, JobId("gang"), 36_000.0))
    decided, _ = plan(cluster.snapshot(), NOW_MS, PlannerConfig())
    assert [placement.device_model for placement in decided.placements] == ["fast"]


def test_nothing_is_gathered_where_a_queue_would_borrow_compute_for_its_own_devices() -> None:
    queues = [
        Queue(MINE, ("pool",), {"fast": 4}, 1, "all"),
        Queue(THEIRS, ("pool",), {"fast": 4, COMPUTE: 1_000_000}, 1, "all"),
    ]
    catalogue = catalogue_of(dict.fromkeys(MODELS, 0))
    cluster = VirtualCluster(
        catalogue, [NodeSpec("fast-0", "fast", 4)], queues, cohorts={"all": Cohort("all")}
    )
    cluster.submit(a_shape(4), WaitingJob(NOW_MS - HOUR_MS, JobId("gang"), 600.0))
    owner = a_shape(4, THEIRS, resumable=False)._replace(models=("fast",), rates=(("fast", 1.0),))
    cluster.submit(owner, WaitingJob(NOW_MS, JobId("owner"), 600.0))
    decided, _ = plan(cluster.snapshot(), NOW_MS, PlannerConfig())
    assert [placement.job_id for placement in decided.placements] == ["owner"]
