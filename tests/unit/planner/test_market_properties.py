"""What holds of the market whatever waits: priority classes come first, and nobody waits for ever."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Cohort, Queue, QueueKey
from scheduler.domain.time import HOUR_MS, MINUTE_MS
from scheduler.planner import PlannerConfig, Shape, Topology, WaitingJob
from scheduler.planner.config import POLICIES
from scheduler.planner.cycle import Planner, plan
from scheduler.planner.overdue import PATIENT
from scheduler.planner.plan_checks import check_plan
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.models import catalogue_of

QUEUE = QueueKey(FirmId("firm"), "default")
BORROWER = QueueKey(FirmId("borrower"), "default")
MODELS = ("fast", "slow")
NOW_MS = 100 * HOUR_MS
STEP_MS = 10 * MINUTE_MS
FAST = {"fast": 1.0, "slow": 0.5}


def a_cluster(*queues: Queue) -> VirtualCluster:
    """Four fast and four slow devices, each on its node."""
    specs = [NodeSpec(f"n{number}", MODELS[number // 4], 1) for number in range(8)]
    catalogue, cohorts = catalogue_of(dict.fromkeys(MODELS, 0)), {"all": Cohort("all")}
    return VirtualCluster(catalogue, specs, queues or [Queue(QUEUE, ("pool",))], cohorts=cohorts)


def owners_and_borrower() -> VirtualCluster:
    """Everything is the quota of those who come all the time; another may borrow."""
    nominal = {QUEUE: dict.fromkeys(MODELS, 4), BORROWER: dict.fromkeys(MODELS, 0)}
    return a_cluster(*[Queue(key, ("pool",), own, 1, "all") for key, own in nominal.items()])


def a_shape(
    devices: int, rates: dict[str, float], priority: Priority = Priority.NORMAL, *, resumable: bool = True
) -> Shape:
    """A job with one device on each node, which goes on elsewhere where it resumes."""
    return Shape(
        QUEUE, priority, devices, 1, tuple(rates), resumable=resumable, rates=tuple(sorted(rates.items()))
    )


class Overload:
    """A cluster to which more work comes than it can do, one step after the other."""

    def __init__(self, profile: str, rng: random.Random, cluster: VirtualCluster | None = None) -> None:
        config = PlannerConfig(profile=profile, ageing_ms=HOUR_MS)
        self.cluster = cluster or a_cluster()
        self._planner = Planner(self.cluster.catalogue, config)
        self._rng = rng
        self._now_ms = NOW_MS
        self._numbers = 0
        self.say_that_they_did_nothing: set[JobId] = set()

    def come(self, shape: Shape, minutes: float) -> JobId:
        """A job is submitted now."""
        self._numbers += 1
        job_id = JobId(f"job-{self._numbers:05}")
        self.cluster.submit(shape, WaitingJob(self._now_ms, job_id, minutes * 60.0))
        return job_id

    def step(self) -> None:
        """Others come, the planner decides, and time passes."""
        for _ in range(3):
            self.come(a_shape(1, FAST), self._rng.choice([10, 30, 60]))
        decided, _ = self._planner.plan(self.cluster.snapshot(), self._now_ms)
        for stop in decided.stops:
            running = self.cluster.free(stop.job_id)
            held_ms = running.held_ms + self._now_ms - running.started_ms
            self.cluster.submit(running.shape, running.waiting._replace(held_ms=held_ms))
        for placement in decided.placements:
            self.cluster.start(placement, self._now_ms)
        self._now_ms += STEP_MS
        for job_id, holding in list(self.cluster.holdings.items()):
            running = holding.running
            done = dict(running.shape.rates)[running.model] * STEP_MS / 1000
            left = (running.steps_left or 0.0) - done
            if left <= 0:
                self.cluster.free(job_id)
            else:
                served_ms = running.served_ms + STEP_MS * (job_id not in self.say_that_they_did_nothing)
                self.cluster.progress(job_id, steps_left=left, served_ms=served_ms, saved_ms=self._now_ms)

    def starts_within(self, job_id: JobId, steps: int) -> bool:
        """Whether a job gets devices in so many steps."""
        for _ in range(steps):
            self.step()
            if job_id in self.cluster.holdings:
                return True
        return False


@pytest.mark.parametrize("profile", sorted(POLICIES))
@pytest.mark.parametrize(("seed", "devices", "minutes"), [(0, 4, 600), (1, 1, 600), (2, 3, 60)])
def test_a_job_that_does_not_take_part_starts_however_many_come_that_do(
    profile: str, seed: int, devices: int, minutes: int
) -> None:
    overload = Overload(profile, random.Random(seed))
    for _ in range(6):
        overload.step()
    job_id = overload.come(a_shape(devices, {"fast": 1.0}, resumable=False), minutes)
    assert overload.starts_within(job_id, 60)


@pytest.mark.parametrize("profile", sorted(POLICIES))
@pytest.mark.parametrize(("seed", "devices", "minutes"), [(0, 4, 600), (1, 1, 600), (2, 3, 60)])
def test_a_gang_that_is_worth_little_on_the_market_starts_at_last(
    profile: str, seed: int, devices: int, minutes: int
) -> None:
    overload = Overload(profile, random.Random(seed))
    for _ in range(6):
        overload.step()
    job_id = overload.come(a_shape(devices, {"fast": 1.0, "slow": 0.9}), minutes)
    assert overload.starts_within(job_id, 120 if POLICIES[profile].patience_of_large == 1.0 else 300)


@pytest.mark.parametrize("profile", sorted(POLICIES))
@pytest.mark.parametrize(
    ("seed", "devices", "minutes", "resumable"), [(0, 1, 40, True), (1, 4, 90, False), (2, 2, 90, True)]
)
def test_who_must_borrow_starts_and_ends_though_the_owners_are_never_idle(
    profile: str, seed: int, devices: int, minutes: int, *, resumable: bool
) -> None:
    overload = Overload(profile, random.Random(seed), owners_and_borrower())
    for _ in range(6):
        overload.step()
    mine = a_shape(devices, {"fast": 1.0}, resumable=resumable)._replace(queue=BORROWER)
    mine = mine._replace(time_limit_ms=None if resumable else 200 * MINUTE_MS)
    first, second = [
        overload.come(mine, minutes + more) for more in (10, 0)
    ]  # the longer one has the later turn
    assert overload.starts_within(first, round(PATIENT * HOUR_MS / STEP_MS) + 6)
    assert second not in overload.cluster.holdings  # one at a time: what is lent is the owners'
    run_ms = (minutes + 10) * MINUTE_MS
    kept_ms = min(run_ms, HOUR_MS) if resumable else run_ms
    for _ in range(kept_ms // STEP_MS - 2):
        overload.step()
        assert first in overload.cluster.holdings
    assert overload.starts_within(second, 24)


def nodes_of_four() -> VirtualCluster:
    """Two fast and two slow nodes with four devices each."""
    specs = [NodeSpec(f"n{number}", MODELS[number // 2], 4) for number in range(4)]
    return VirtualCluster(catalogue_of(dict.fromkeys(MODELS, 0)), specs, [Queue(QUEUE, ("pool",))])


@pytest.mark.parametrize("profile", sorted(POLICIES))
@pytest.mark.parametrize(("seed", "devices", "minutes"), [(0, 4, 600), (1, 8, 60), (2, 1, 600)])
def test_whom_nothing_is_gathered_for_starts_however_many_gangs_come_that_it_is(
    profile: str, seed: int, devices: int, minutes: int
) -> None:
    overload = Overload(profile, random.Random(seed), nodes_of_four())
    gang = a_shape(4, FAST)._replace(devices_per_node=4)
    mine = a_shape(devices, {"fast": 1.0}, resumable=False)._replace(devices_per_node=min(devices, 4))
    for _ in range(6):
        overload.come(gang, 30)
        overload.step()
    job_id = overload.come(mine, minutes)
    for _ in range(60):
        overload.come(gang, 30)
        overload.step()
        if job_id in overload.cluster.holdings:
            return
    pytest.fail("it has waited for ten hours")


MINE = a_shape(1, {"fast": 1.0})._replace(queue=BORROWER)


def test_a_borrower_whose_end_nobody_knows_gives_back_when_it_has_had_its_turn() -> None:
    overload = Overload("balanced", random.Random(0), owners_and_borrower())
    overload.step()
    for_ever = a_shape(4, {"fast": 1.0}, resumable=False)._replace(queue=BORROWER)
    job_id = overload.come(for_ever, 100_000)
    assert overload.starts_within(job_id, round(PATIENT * HOUR_MS / STEP_MS) + 12)
    for _ in range(24):
        overload.step()
    assert job_id not in overload.cluster.holdings


def test_a_borrower_that_claims_to_be_slow_has_its_turn_no_longer_and_no_sooner_again() -> None:
    overload = Overload("balanced", random.Random(0), owners_and_borrower())
    overload.step()
    job_id = overload.come(MINE, 100_000)
    overload.say_that_they_did_nothing.add(job_id)
    assert overload.starts_within(job_id, round(PATIENT * HOUR_MS / STEP_MS) + 12)
    for _ in range(24):
        overload.step()
    assert job_id not in overload.cluster.holdings
    assert not overload.starts_within(job_id, 18)


@pytest.mark.parametrize(
    "stuck",
    [
        MINE._replace(devices_per_node=2, devices=2),
        MINE._replace(
            devices=2, topology=Topology("leaf", required=True)
        ),  # none of them is at a leaf switch
        MINE._replace(left_nano=0),
    ],
)
def test_a_borrower_that_no_node_can_hold_or_nobody_pays_for_leaves_the_turn_to_the_next(
    stuck: Shape,
) -> None:
    overload = Overload("balanced", random.Random(0), owners_and_borrower())
    overload.step()
    overload.come(stuck, 40)
    job_id = overload.come(MINE, 40)
    assert overload.starts_within(job_id, round(PATIENT * HOUR_MS / STEP_MS) + 12)


def test_an_elastic_borrower_of_which_nodes_hold_only_the_least_size_has_its_turn() -> None:
    overload = Overload("balanced", random.Random(0), owners_and_borrower())
    overload.step()
    job_id = overload.come(MINE._replace(devices_per_node=2, devices=2, sizes=(1,)), 40)
    assert overload.starts_within(job_id, round(PATIENT * HOUR_MS / STEP_MS) + 12)


def test_who_had_devices_and_says_that_they_did_nothing_has_not_had_nothing_for_too_long() -> None:
    specs = [NodeSpec(model, model, 1) for model in MODELS]
    cluster = VirtualCluster(catalogue_of(dict.fromkeys(MODELS, 0)), specs, [Queue(QUEUE, ("pool",))])
    shape = a_shape(1, {"fast": 1.0, "slow": 0.01})
    had = WaitingJob(NOW_MS - 8 * HOUR_MS, JobId("had devices"), 36_000.0, held_ms=5 * HOUR_MS)
    had_none = WaitingJob(NOW_MS - 15 * HOUR_MS // 2, JobId("had none"), 360_000.0)
    for job in (had, had_none):
        cluster.submit(shape, job)
    decided, _ = plan(cluster.snapshot(), NOW_MS, PlannerConfig(ageing_ms=HOUR_MS))
    on = {placement.device_model: placement.job_id for placement in decided.placements}
    assert on["fast"] == "had none"


JOB = st.tuples(
    st.sampled_from(list(Priority)), st.integers(1, 600), st.floats(0.05, 1.0), st.integers(0, 600)
)


@settings(deadline=None, max_examples=100)
@given(st.lists(JOB, max_size=30), st.sampled_from(sorted(POLICIES)))
def test_a_higher_priority_class_has_what_it_can_use_before_a_lower_one(
    jobs: list[tuple[Priority, int, float, int]], profile: str
) -> None:
    cluster = a_cluster()
    priorities = {}
    for number, (priority, minutes, slow, waited) in enumerate(jobs):
        job_id = JobId(f"job-{number}")
        priorities[job_id] = priority.rank
        shape = a_shape(1, {"fast": 1.0, "slow": slow}, priority)
        cluster.submit(shape, WaitingJob(NOW_MS - waited * MINUTE_MS, job_id, minutes * 60.0))
    snapshot = cluster.snapshot()
    decided, _ = plan(snapshot, NOW_MS, PlannerConfig(profile=profile))
    assert check_plan(snapshot, decided, NOW_MS) == []
    started = sorted((priorities[placement.job_id] for placement in decided.placements), reverse=True)
    assert started == sorted(priorities.values(), reverse=True)[:8]


def test_a_running_job_of_a_lower_class_makes_way_for_one_of_a_higher_class_that_waits() -> None:
    cluster = a_cluster()
    short_first = [(JobId(f"low-{number}"), a_shape(1, FAST, Priority.LOW), 60.0) for number in range(8)]
    for job_id, shape, steps in short_first:
        cluster.submit(shape, WaitingJob(NOW_MS - HOUR_MS, job_id, steps))
    for placement in plan(cluster.snapshot(), NOW_MS - HOUR_MS, PlannerConfig())[0].placements:
        cluster.start(placement, NOW_MS - HOUR_MS)
    cluster.submit(a_shape(1, FAST, Priority.HIGH), WaitingJob(NOW_MS, JobId("high"), 360_000.0))
    decided, _ = plan(cluster.snapshot(), NOW_MS, PlannerConfig())
    assert len(decided.stops) == 1
    assert decided.stops[0].job_id.startswith("low-")
