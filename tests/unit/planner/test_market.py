"""The market over device models: what it has decided is what the plan starts."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.planner import JobPlacement, Plan, PlannerConfig, Shape, TaskPlacement, WaitingJob
from scheduler.planner.assignment import assign
from scheduler.planner.budgets import Budgets
from scheduler.planner.cycle import plan
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.floor import Floor
from scheduler.planner.market import hold_market
from scheduler.planner.plan import StopCause
from scheduler.planner.plan_checks import check_plan
from scheduler.planner.sharing import Sharing
from scheduler.planner.soonest import soonest
from scheduler.planner.traders import traders_of
from scheduler.planner.turns import Turns
from scheduler.planner.worth import fair_speed, worth_of
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.models import catalogue_of

QUEUE = QueueKey(FirmId("firm"), "default")
DAY_MS = 24 * 3_600_000
MODELS = ("fast", "slow")


def decided(
    jobs: list[tuple[int, float, dict[str, float], int]],
    profile: str = "throughput",
    now_ms: int = 10 * DAY_MS,
    served_ms: Sequence[int] = (),
) -> Plan:
    """A plan for jobs of (devices, steps, rates, submitted) on four fast and four slow devices.

    `served_ms` of the first of them: the others have had nothing yet.
    """
    specs = [NodeSpec(f"n{n}", MODELS[n // 4], 1) for n in range(8)]
    cluster = VirtualCluster(catalogue_of(dict.fromkeys(MODELS, 0)), specs, [Queue(QUEUE, ("pool",))])
    for number, (devices, steps, rates, submitted_ms) in enumerate(jobs):
        shape = Shape(
            QUEUE,
            Priority.NORMAL,
            devices,
            1,
            tuple(rates),
            resumable=True,
            rates=tuple(sorted(rates.items())),
        )
        had_ms = served_ms[number] if number < len(served_ms) else 0
        cluster.submit(shape, WaitingJob(submitted_ms, JobId(f"job-{number}"), steps, had_ms))
    found, _ = plan(cluster.snapshot(), now_ms, PlannerConfig(profile=profile))
    return found


def models_of(found: Plan) -> dict[str, str]:
    return {placement.job_id: placement.device_model for placement in found.placements}


def test_who_gains_most_from_the_fast_model_has_it_though_others_have_waited_for_days() -> None:
    indifferent = [(1, 36_000.0, {"fast": 1.0, "slow": 0.95}, 8 * DAY_MS) for _ in range(4)]
    eager = [(1, 36_000.0, {"fast": 1.0, "slow": 0.1}, 10 * DAY_MS - 60_000) for _ in range(4)]
    models = models_of(decided(indifferent + eager))
    assert {models[f"job-{number}"] for number in range(4)} == {"slow"}
    assert {models[f"job-{number}"] for number in range(4, 8)} == {"fast"}


def test_who_would_be_nearly_as_fast_elsewhere_starts_where_the_market_wants_him_all_the_same() -> None:
    nearly = [(1, 36_000.0, {"fast": 1.0, "slow": 0.985}, 8 * DAY_MS) for _ in range(4)]
    less = [(1, 36_000.0, {"fast": 1.0, "slow": 0.96}, 10 * DAY_MS - 60_000) for _ in range(4)]
    models = models_of(decided(nearly + less))
    assert {models[f"job-{number}"] for number in range(4)} == {"slow"}
    assert {models[f"job-{number}"] for number in range(4, 8)} == {"fast"}


def test_a_job_that_waits_on_and_on_comes_before_any_number_of_short_ones() -> None:
    short = [(1, 600.0, {"fast": 1.0, "slow": 1.0}, 10 * DAY_MS - 1_000) for _ in range(50)]
    for profile in ("balanced", "throughput"):
        models = models_of(decided([*short, (4, 7_200.0, {"fast": 1.0, "slow": 0.5}, 0)], profile))
        assert models["job-50"] == "fast"


def test_of_those_who_are_well_in_time_the_short_come_first_though_others_have_waited_longer() -> None:
    hour_s, hour_ms = 3_600.0, 3_600_000
    rates, now_ms = {"fast": 1.0, "slow": 0.9}, 10 * DAY_MS
    long = [(1, 4 * hour_s, rates, now_ms - 4 * hour_ms) for _ in range(8)]
    short = [(1, hour_s, rates, now_ms - hour_ms // 2) for _ in range(60)]
    models = models_of(decided([*long, *short], "balanced"))
    assert not models.keys() & {f"job-{number}" for number in range(8)}
    assert len(models) == 8


def test_a_gang_that_no_node_in_service_holds_does_not_keep_the_turn_of_others_who_waited_too_long() -> None:
    rates = {"fast": 1.0, "slow": 1.0}
    specs = [NodeSpec(f"n{n}", MODELS[n // 4], 1) for n in range(8)]
    cluster = VirtualCluster(catalogue_of(dict.fromkeys(MODELS, 0)), specs, [Queue(QUEUE, ("pool",))])

    def submit(name: str, devices: int, per_node: int, steps: float, submitted_ms: int) -> None:
        shape = Shape(
            QUEUE,
            Priority.NORMAL,
            devices,
            per_node,
            MODELS,
            resumable=True,
            rates=tuple(sorted(rates.items())),
        )
        cluster.submit(shape, WaitingJob(submitted_ms, JobId(name), steps, 0))

    submit("two devices on one node", 4, 2, 72_000.0, 0)
    submit("old", 4, 1, 72_000.0, DAY_MS)
    for number in range(50):
        submit(f"short-{number}", 1, 1, 600.0, 60 * DAY_MS - 1_000)
    found, _ = plan(cluster.snapshot(), 60 * DAY_MS, PlannerConfig(profile="throughput"))
    assert "old" in models_of(found)


def test_whom_the_market_wants_on_lent_devices_waits_for_them_and_does_not_start_where_he_would_leave_again() -> (
    None
):
    owner, other = (QueueKey(FirmId(firm), "default") for firm in ("owner", "other"))
    specs = [NodeSpec(f"{model}-{n}", model, 2) for model in MODELS for n in range(2)]
    queues = [
        Queue(owner, ("pool",), {"fast": 4}, 1, "all"),
        Queue(other, ("pool",), {"slow": 4}, 1, "all"),
    ]
    catalogue = catalogue_of(dict.fromkeys(MODELS, 0))
    cluster = VirtualCluster(catalogue, specs, queues, cohorts={"all": Cohort("all")})
    too_large = Shape(owner, Priority.NORMAL, 3, 3, ("fast",), rates=(("fast", 1.0),))
    cluster.submit(too_large, WaitingJob(1_000, JobId("fits no node"), 36_000.0, 0))
    traded = Shape(
        other,
        Priority.NORMAL,
        1,
        1,
        MODELS,
        resumable=True,
        rates=(("fast", 1.0), ("slow", 0.2)),
    )
    cluster.submit(traded, WaitingJob(0, JobId("traded"), 36_000.0, 0))
    found, _ = plan(cluster.snapshot(), DAY_MS, PlannerConfig(profile="balanced"))
    assert models_of(found) == {"traded": "fast"}


def test_a_gang_that_has_had_nothing_comes_before_single_jobs_that_have_had_much_and_go_on_for_long() -> None:
    rates, days_ms = {"fast": 1.0, "slow": 1.0}, 2 * DAY_MS
    singles = [(1, days_ms / 1000, rates, 5 * DAY_MS)] * 8
    gang = (4, days_ms / 1000, rates, 10 * DAY_MS - 60_000)
    assert "job-8" in models_of(decided([*singles, gang], served_ms=[days_ms] * 8))
    assert "job-8" not in models_of(decided([*singles, gang]))


def test_who_has_had_much_but_is_nearly_through_does_not_make_way_for_a_gang() -> None:
    rates, days_ms = {"fast": 1.0, "slow": 1.0}, 2 * DAY_MS
    singles = [(1, 3_600.0, rates, 5 * DAY_MS)] * 8
    gang = (4, days_ms / 1000, rates, 10 * DAY_MS - 60_000)
    assert "job-8" not in models_of(decided([*singles, gang], served_ms=[days_ms] * 8))


def test_to_end_all_soonest_a_gang_has_the_fast_model_if_the_slow_one_serves_it_worse_than_others() -> None:
    gang = (4, 36_000.0, {"fast": 1.0, "slow": 0.2}, 10 * DAY_MS - 1_000)
    single = [(1, 36_000.0, {"fast": 1.0, "slow": 0.5}, 10 * DAY_MS - 1_000) for _ in range(4)]
    models = models_of(decided([gang, *single], "packing"))
    assert models["job-0"] == "fast"
    assert {models[f"job-{number}"] for number in range(1, 5)} == {"slow"}


def test_to_end_all_soonest_who_has_to_run_all_the_time_comes_before_those_who_came_first() -> None:
    rates = {"fast": 1.0, "slow": 0.5}
    short = [(1, 3_600.0, rates, 9 * DAY_MS)] * 40
    long = [(1, 36_000.0, rates, 10 * DAY_MS - 60_000)] * 4
    models = models_of(decided([*short, *long], "packing"))
    assert {models[f"job-{number}"] for number in range(40, 44)} == {"fast"}


def test_work_fits_every_model_it_needs_if_all_are_to_be_through_at_once() -> None:
    # Equal work on ten devices each: the first kind is served by both models, as a device of the slow one costs half
    # as much when both are through at once; there the second kind would cost twice what it does on the fast one.
    speeds = np.repeat([[1.0, 0.5], [1.0, 0.25]], 100, axis=0)
    found = soonest(speeds, np.ones(200), np.ones(200), np.array([10.0, 10.0]))
    assert np.allclose(found.fit[0], [1.0, 1.0], rtol=0.03)
    assert np.allclose(found.fit[100], [1.0, 0.5], rtol=0.03)
    assert np.isclose(found.need[100], 1 / (40 / 3), rtol=0.03)


def test_a_job_that_takes_as_long_as_all_the_rest_fits_the_model_on_which_it_ends_in_time() -> None:
    # By the work alone it would be on the slow model, which serves the others worse, for twice as long as it all takes.
    speeds = np.array([[1.0, 0.5], *[[1.0, 0.4]] * 12])
    left = np.array([10.0, *[1.0] * 12])
    found = soonest(speeds, np.ones(13), left, np.array([2.0, 2.0]))
    assert found.fit[0, 0] == 1.0
    assert found.fit[0, 1] < 0.7
    assert np.isclose(found.need[0], 1.0, rtol=0.03)
    assert (found.need[1:] < 0.3).all()


def test_work_that_nothing_can_do_fits_nowhere_and_changes_no_other() -> None:
    speeds = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = soonest(speeds, np.ones(3), np.array([10.0, 5.0, 7.0]), np.array([4.0, 0.0]))
    assert np.isclose(found.fit[0, 0], 1.0)
    assert np.isclose(found.need[0], 1.0)
    assert not found.fit[0, 1]
    assert not found.fit[1:].any()
    assert not found.need[1:].any()


def test_a_job_that_can_run_on_a_slow_model_alone_may_take_as_long_as_all_the_rest() -> None:
    speeds = np.array([[0.0, 0.1], *[[1.0, 1.0]] * 49])
    found = soonest(speeds, np.ones(50), np.ones(50), np.array([2.0, 10.0]))
    assert np.isclose(found.need[0], 1.0, rtol=0.03)
    assert np.isclose(found.need[1], 0.1, rtol=0.03)  # of the time until that one is through


def test_no_job_has_to_run_for_longer_than_until_all_is_through() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        jobs = int(rng.integers(1, 400))
        speeds = rng.choice([0.0, 0.01, 0.3, 1.0], (jobs, 3))
        found = soonest(
            speeds, rng.integers(1, 9, jobs) * 1.0, rng.exponential(1.0, jobs), np.array([8.0, 9.0, 40.0])
        )
        assert (found.need <= 1.0).all()


def test_of_very_many_long_jobs_only_the_longest_are_looked_at_one_by_one() -> None:
    left = np.full(1_000, 10.0)
    left[::100] = 40.0
    found = soonest(np.tile([1.0, 0.5], (1_000, 1)), np.ones(1_000), left, np.array([500.0, 500.0]))
    assert (found.need[::100] > 0.9).all()
    assert np.isfinite(found.fit).all()


def test_of_very_many_kinds_of_jobs_those_that_are_nearly_alike_are_looked_at_as_one() -> None:
    speeds = np.column_stack(
        [np.ones(2_000), np.tile(np.repeat([0.3, 0.7], 500), 2) + np.arange(2_000) / 1e5]
    )
    found = soonest(speeds, np.ones(2_000), np.ones(2_000), np.array([100.0, 100.0]))
    slower = speeds[:, 1] < 0.5
    assert (found.fit[slower, 0] == 1.0).all()
    assert (found.fit[slower, 1] < 0.9).all()
    assert (found.fit[~slower, 1] == 1.0).all()


def test_on_many_models_no_more_kinds_of_jobs_are_looked_at_however_many_there_are() -> None:
    rng = np.random.default_rng(1)
    speeds = rng.random((5_000, 4))
    speeds[:, 0] = 1.0
    found = soonest(speeds, np.ones(5_000), np.ones(5_000), np.array([100.0, 200.0, 100.0, 300.0]))
    assert len(np.unique(found.fit, axis=0)) <= 512
    slow, fast = speeds[:, 1] < 0.1, speeds[:, 1] > 0.9
    assert found.fit[slow, 1].mean() < 0.5 < found.fit[fast, 1].mean()


def test_the_assignment_is_worth_nearly_as_much_as_the_best_one() -> None:
    rng = np.random.default_rng(5)
    values = rng.random((300, 3))
    capacity = np.array([20.0, 30.0, 25.0])
    chosen = assign(values, np.ones(300), capacity)
    taken = [int((chosen == model).sum()) for model in range(3)]
    assert all(count <= most for count, most in zip(taken, capacity, strict=True))
    worth = sum(values[job, model] for job, model in enumerate(chosen.tolist()) if model >= 0)
    assert worth >= 0.99 * np.sort(values.max(axis=1))[-75:].sum() * 0.98


WORTH = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(WORTH, WORTH, WORTH), min_size=1, max_size=6),
    st.tuples(*[st.integers(0, 4)] * 3),
    st.sampled_from([1, 2]),
)
def test_jobs_of_one_size_are_where_they_are_worth_most_together(
    worth: list[tuple[float, ...]], room: tuple[int, ...], size: int
) -> None:
    values = np.array(worth)
    chosen = assign(values, np.full(len(worth), float(size)), np.array(room, dtype=float)).tolist()
    places = [room[model] // size for model in range(3)]

    def value(choice: tuple[int, ...]) -> float:
        return sum(float(values[job, model]) for job, model in enumerate(choice) if model >= 0)

    best = max(
        value(choice)
        for choice in product(range(-1, 3), repeat=len(worth))
        if all(choice.count(model) <= places[model] for model in range(3))
    )
    assert all(chosen.count(model) <= places[model] for model in range(3))
    assert all(model < 0 or values[job, model] > 0 for job, model in enumerate(chosen))
    assert value(tuple(chosen)) >= best - 1e-4


def test_who_was_passed_over_comes_later_at_the_first_moment_too() -> None:
    rates = {"fast": 1.0, "slow": 0.9}
    gangs, singles = [(4, 3_600.0, rates, 0)] * 2, [(1, 3_600.0, rates, 0)] * 8
    started = models_of(decided([*gangs, *singles], now_ms=0))
    assert set(started) == {f"job-{number}" for number in range(2, 10)}


def test_who_was_chosen_for_devices_that_others_leave_first_starts_on_none_that_another_was_chosen_for() -> (
    None
):
    specs = [NodeSpec(f"n{n}", model, 1) for n, model in enumerate(("fast", "fast", "slow"))]
    cluster = VirtualCluster(catalogue_of(dict.fromkeys(MODELS, 0)), specs, [Queue(QUEUE, ("pool",))])
    config = PlannerConfig(profile="throughput")
    # (steps, speed on the slow device): it does nothing for who has it, nor for the youngest.
    jobs = {"leaves": (3e4, 0.01), "makes-room": (3e7, 0.9), "oldest": (3e4, 0.9), "youngest": (3e4, 0.01)}
    for age, (name, (steps, slow)) in enumerate(jobs.items()):
        rates = (("fast", 1.0), ("slow", slow))
        shape = Shape(QUEUE, Priority.NORMAL, 1, 1, MODELS, resumable=True, rates=rates)
        cluster.submit(shape, WaitingJob(age, JobId(name), steps))
    for name, node in (("leaves", 2), ("makes-room", 0)):
        view = cluster.views[node]
        task = TaskPlacement(0, view.node_id, (view.devices[0].device_id,), WHOLE_PPM)
        cluster.start(JobPlacement(JobId(name), view.devices[0].model, "pool", (task,)), 0)
    now_ms = DAY_MS // 24
    found, _ = plan(cluster.snapshot(), now_ms, config)
    assert models_of(found) == {"youngest": "fast"}
    assert {stop.job_id for stop in found.stops} == {"leaves", "makes-room"}
    for stop in found.stops:
        running = cluster.free(stop.job_id)
        cluster.submit(running.shape, running.waiting)
    for placement in found.placements:
        cluster.start(placement, now_ms)
    found, _ = plan(cluster.snapshot(), now_ms, config)
    assert models_of(found) == {"leaves": "fast", "oldest": "slow"}


def two_gangs_on_each_others_models(
    config: PlannerConfig, time_limit_ms: int | None = None
) -> VirtualCluster:
    """Each of them holds all devices of a model; together they would be sooner through the other way round."""
    specs = [NodeSpec(f"n{n}", MODELS[n // 4], 1) for n in range(8)]
    cluster = VirtualCluster(catalogue_of(dict.fromkeys(MODELS, 0)), specs, [Queue(QUEUE, ("pool",))])
    for number, slow in enumerate((0.95, 0.1)):
        rates = (("fast", 1.0), ("slow", slow))
        shape = Shape(QUEUE, Priority.NORMAL, 4, 1, MODELS, time_limit_ms, resumable=True, rates=rates)
        cluster.submit(shape, WaitingJob(0, JobId(f"job-{number}"), 360_000.0))
        found, _ = plan(cluster.snapshot(), DAY_MS, config)
        for placement in found.placements:
            cluster.start(placement, DAY_MS)
    return cluster


def test_gangs_change_places_though_nothing_is_free() -> None:
    config = PlannerConfig(profile="throughput")
    cluster = two_gangs_on_each_others_models(config)
    before = cluster.snapshot()
    moved, _ = plan(before, 2 * DAY_MS, config)
    assert {stop.job_id: stop.cause for stop in moved.stops} == {
        JobId("job-0"): StopCause.MOVE,
        JobId("job-1"): StopCause.MOVE,
    }
    assert check_plan(before, moved, 2 * DAY_MS) == []
    for stop in moved.stops:
        running = cluster.free(stop.job_id)
        cluster.submit(running.shape, running.waiting)
    after = cluster.snapshot()
    found, _ = plan(after, 2 * DAY_MS, config)
    assert models_of(found) == {"job-0": "slow", "job-1": "fast"}
    assert check_plan(after, found, 2 * DAY_MS) == []


def test_on_its_fair_share_a_job_is_as_fast_as_on_the_fastest_models_that_make_up_one_of_it() -> None:
    speeds = np.array([[1.0, 0.5, 0.25], [0.0, 1.0, 0.5], [1.0, 0.5, 0.25]])
    found = fair_speed(speeds, np.array([1.0, 2.0, 1.0]), np.array([0.5, 0.25, 4.0]))
    # Half of it on the fastest, a quarter on the next, the rest on the last; of two devices an eighth, and the rest.
    assert found.tolist() == [0.5 + 0.125 + 0.0625, 0.125 + 0.875 * 0.5, 0.5 + 0.125 + 0.0625]


def test_what_a_job_is_worth_does_not_hang_on_the_order_of_its_variants() -> None:
    rates = {"a": 2.0, "b": 1.0, "c": 1.0, "d": 1.0}
    catalogue = catalogue_of(dict.fromkeys(rates, 0))
    specs = [NodeSpec(f"{model}-{n}", model, 1) for model, nodes in zip(rates, (2, 3, 5, 7), strict=True)
             for n in range(nodes)]  # fmt: skip
    cluster = VirtualCluster(catalogue, specs, [Queue(QUEUE, ("pool",))])
    for number, models in enumerate(permutations(rates)):
        shape = Shape(QUEUE, Priority.NORMAL, 1, 1, models, resumable=True, rates=tuple(rates.items()))
        cluster.submit(shape, WaitingJob(number, JobId(f"job-{number}"), 36_000.0))
    snapshot, config = cluster.snapshot(), PlannerConfig(profile="balanced")
    fleet, estimates = Fleet(catalogue), Estimates(snapshot)
    fleet.sync(snapshot.nodes)
    (traders,) = traders_of(snapshot, estimates, Budgets(snapshot)).values()
    turns = Turns(DAY_MS, config, estimates)
    floor = Floor(traders, snapshot.queues[QUEUE], fleet, turns, {}, DAY_MS, config)
    worth = worth_of(floor, estimates, DAY_MS + 30, config)
    waited_alike = worth_of(floor, estimates, 0, config)  # nobody has waited yet
    assert len({tuple(row) for row in waited_alike.tolist()}) == 1
    assert (np.diff(worth[:, 0]) < 0).all()  # who has waited longer comes first, whatever the order


def test_who_was_tried_on_what_others_leave_changes_nothing_of_when_it_comes_free() -> None:
    config = PlannerConfig(profile="throughput")
    snapshot = two_gangs_on_each_others_models(config, time_limit_ms=9 * DAY_MS).snapshot()
    fleet, estimates = Fleet(snapshot.catalogue), Estimates(snapshot)
    fleet.sync(snapshot.nodes)
    before = [cell.ends.copy() for cell in fleet.cells()]
    assert np.isfinite(before).all()
    turns, sharing = Turns(2 * DAY_MS, config, estimates), Sharing(snapshot, config)
    market = hold_market(snapshot, fleet, turns, sharing, Budgets(snapshot), 2 * DAY_MS, config)
    assert {stop.cause for stop in market.stops} == {StopCause.MOVE}
    assert all(map(np.array_equal, before, [cell.ends for cell in fleet.cells()]))


def test_nodes_that_go_out_of_service_seat_nobody_until_they_are_back() -> None:
    specs = [NodeSpec(f"n{n}", "fast", 4) for n in range(2)]
    catalogue = catalogue_of({"fast": 0})
    nodes = VirtualCluster(catalogue, specs, [Queue(QUEUE, ("pool",))]).snapshot().nodes
    gang, fleet = Shape(QUEUE, Priority.NORMAL, 8, 4, ("fast",)), Fleet(catalogue)
    seated = []
    for usable in (True, False, True):
        fleet.sync((replace(nodes[0], usable=usable), *nodes[1:]))
        seated.append(fleet.could_seat(gang, ("pool",), "fast"))
    assert seated == [True, False, True]
