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
from tests.builders import moments
from tests.builders.moments import DAY, HOUR, Moment, asks

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


def market_at(moment: Moment) -> Market:
    """What the market of the one queue decides."""
    snapshot = moment.snapshot
    fleet, turns = Fleet(snapshot.catalogue), Turns(moments.NOW_MS, CONFIG, Estimates(snapshot))
    fleet.sync(snapshot.nodes)
    sharing = Sharing(snapshot, CONFIG)
    return hold_market(snapshot, fleet, turns, sharing, Budgets(snapshot), moments.NOW_MS, CONFIG)


def trading(priority: Priority = Priority.NORMAL, devices: int = 1) -> Shape:
    return asks(devices, models=MODELS, rates=RATES, resumable=True, priority=priority)


def with_two_free_and_one_to_leave(
    *waiting: tuple[str, Priority, float],
) -> dict[str, tuple[bool, int | None]]:
    """What the market says of jobs (name, priority, days) that wait where a low one has the third fast device."""
    moment = Moment([moments.a_node("n1", 3), moments.a_node("n2", 1, moments.SLOW)])
    moment.runs("low", trading(Priority.LOW), {"n1": 1}, HOUR, saved=0, steps_left=72_000.0)
    for name, priority, days in waiting:
        moment.waits(name, trading(priority), days * DAY, steps_left=7_200.0)
    market = market_at(moment)
    assert [stop.job_id for stop in market.stops] == ["low"]
    outcome = market.outcomes[moments.queue_of("own")]
    turns = Turns(moments.NOW_MS, CONFIG, Estimates(moment.snapshot))
    return {
        job.job_id: outcome.of(item.shape, job, turns.raised(item.shape, job))
        for item in moment.snapshot.classes
        for job in item.jobs
    }


def test_the_higher_class_has_what_is_free_and_of_the_lower_one_the_last_waits_for_what_others_leave() -> (
    None
):
    said = with_two_free_and_one_to_leave(
        ("older", Priority.NORMAL, 0.3), ("old", Priority.NORMAL, 0.2), ("high", Priority.HIGH, 0.1)
    )
    assert said == {"older": (True, None), "old": (True, NORMAL), "high": (True, None)}


def test_who_waits_for_what_others_leave_rises_to_nobodys_rank_whom_age_has_raised() -> None:
    said = with_two_free_and_one_to_leave(
        ("oldest", Priority.NORMAL, 1.4), ("older", Priority.NORMAL, 1.3), ("new", Priority.NORMAL, 0.1)
    )
    assert said == {"oldest": (True, None), "older": (True, None), "new": (True, NORMAL)}


def test_who_is_not_chosen_stays_where_he_is_while_nobody_could_take_his_place() -> None:
    # A gang was chosen for as many devices; on its node is a job that does not move.
    moment = Moment([moments.a_node("n1", 4), moments.a_node("n2", 1)])
    moment.runs("does not move", asks(1), {"n1": 1}, HOUR)
    moment.runs("runs", trading(Priority.LOW), {"n1": 1}, HOUR, saved=0, steps_left=72_000.0)
    moment.waits("gang", trading(devices=4), steps_left=7_200.0)
    market = market_at(moment)
    assert market.model_of(*waiting_of(moment)) == moments.FAST
    assert market.stops == []


def waiting_of(moment: Moment) -> tuple[Shape, WaitingJob]:
    """The one job that waits."""
    (item,) = moment.snapshot.classes
    return item.shape, item.jobs[0]
