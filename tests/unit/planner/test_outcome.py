"""What the market of a queue says of those who wait: where each of them comes, and of whom is decided."""

from collections.abc import Collection

from scheduler.domain.ids import FirmId, JobId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import Queue, QueueKey
from scheduler.domain.time import HOUR_MS
from scheduler.planner import PlannerConfig, Shape, WaitingJob
from scheduler.planner.budgets import Budgets
from scheduler.planner.estimates import Estimates
from scheduler.planner.fleet import Fleet
from scheduler.planner.market import Market, hold_market
from scheduler.planner.outcome import Outcome
from scheduler.planner.sharing import Sharing
from scheduler.planner.turns import Turns
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.models import catalogue_of

QUEUE = QueueKey(FirmId("firm"), "default")
MODELS = ("fast", "slow")
RATES = (("fast", 2.0), ("slow", 1.0))
NORMAL = Priority.NORMAL.rank
TRADED = Shape(QUEUE, Priority.NORMAL, 1, 1, MODELS, resumable=True, rates=RATES)
NOW_MS = 1_000 * 24 * HOUR_MS
CONFIG = PlannerConfig(profile="throughput")


def waiting(name: str, hours: int) -> WaitingJob:
    return WaitingJob(NOW_MS - hours * HOUR_MS, JobId(name), 36_000.0)


def market_of(jobs: Collection[WaitingJob], elsewhere: Collection[str] = ()) -> Market:
    """On one fast device and a slow one, both free."""
    specs = [NodeSpec(model, model, 1) for model in MODELS]
    cluster = VirtualCluster(catalogue_of(dict.fromkeys(MODELS, 0)), specs, [Queue(QUEUE, ("pool",))])
    for job in jobs:
        cluster.submit(TRADED, job)
    snapshot = cluster.snapshot()
    fleet, turns = Fleet(snapshot.catalogue), Turns(NOW_MS, CONFIG, Estimates(snapshot))
    fleet.sync(snapshot.nodes)
    sharing = Sharing(snapshot, CONFIG)
    away = frozenset(map(JobId, elsewhere))
    return hold_market(snapshot, fleet, turns, sharing, Budgets(snapshot), NOW_MS, CONFIG, away)


def test_age_raises_nobody_above_the_highest_class_there_is_but_who_has_waited_too_long() -> None:
    jobs = [waiting("too long", 30 * 24), waiting("long", 3 * 24), waiting("new", 1)]
    market = market_of(jobs)
    assert [market.class_of(TRADED, job) for job in jobs] == [NORMAL + 1, NORMAL, NORMAL]
    assert market.class_of(TRADED, waiting("not there", 2)) is None


def test_of_whom_is_decided_elsewhere_nobody_is_passed_over_and_the_others_who_were_not_chosen_are() -> None:
    jobs = [waiting(f"job-{number}", 9 - number) for number in range(6)]
    market = market_of(jobs, ["job-5"])
    outcome = market.outcomes[QUEUE]
    assert [outcome.of(TRADED, job, NORMAL)[0] for job in jobs].count(True) == len(MODELS)
    assert {outcome.of(TRADED, job, NORMAL) for job in jobs[:5]} == {(True, None), (False, NORMAL)}
    assert outcome.of(TRADED, jobs[5], NORMAL) == (False, None)
    assert market.class_of(TRADED, jobs[5]) is None
    assert all(market.decides(TRADED, job) for job in jobs)


def test_where_all_is_decided_elsewhere_that_is_decided() -> None:
    market = Market(frozenset({JobId("elsewhere")}))
    assert market.anybody
    assert market.decided == {"elsewhere"}
    assert not Market().anybody


def test_who_is_not_traded_or_needs_more_devices_than_there_are_keeps_its_place() -> None:
    outcome = Outcome({}, {"fast": 1.0, "slow": 2.0}, {NORMAL: NORMAL}, NORMAL, {})
    job = waiting("job", 1)
    for shape, after in (
        (TRADED, NORMAL),
        (TRADED._replace(resumable=False), None),
        (TRADED._replace(models=("fast",)), None),
        (TRADED._replace(devices=2), NORMAL),
        (TRADED._replace(devices=3), None),
    ):
        assert outcome.of(shape, job, NORMAL) == (False, after)


def test_nobody_rises_above_its_own_rank_by_having_been_passed_over() -> None:
    # Age has raised whom the market chose above the highest class.
    outcome = Outcome({}, {"fast": 1.0}, {NORMAL: NORMAL + 1}, NORMAL, {})
    ranks = [outcome.of(TRADED, waiting("job", 1), own)[1] for own in (NORMAL, NORMAL + 1, NORMAL + 2)]
    assert ranks == [NORMAL, NORMAL + 1, NORMAL + 1]
