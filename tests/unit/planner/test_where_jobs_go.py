"""On which model, in which pool and on which nodes a job starts, of several that would do."""

from dataclasses import replace

import pytest

from scheduler.domain.devices import WHOLE_PPM
from scheduler.domain.ids import JobId, NodeId
from scheduler.domain.queues import Queue
from scheduler.domain.reasons import Reason
from scheduler.domain.time import HOUR_MS
from scheduler.planner import Hole, PlannerConfig
from scheduler.planner.cycle import plan
from scheduler.simulator.cluster import NodeSpec
from tests.builders.moments import FAST, HOUR, NOW_MS, POOL, SLOW, Moment, a_node, asks, queue_of


def seats(moment: Moment, name: str) -> list[tuple[str, int]]:
    """(node, devices) of each task of a job that starts, by rank."""
    found, _ = moment.decided()
    return [
        (task.node_id, len(task.device_ids))
        for placement in found.placements
        if placement.job_id == name
        for task in placement.tasks
    ]


@pytest.mark.parametrize("cheaper", [FAST, SLOW])
def test_of_two_models_that_are_as_fast_for_it_a_job_starts_on_the_cheaper_one(cheaper: str) -> None:
    moment = Moment([a_node("n1"), a_node("n2", model=SLOW)])
    moment.waits("job", asks(8, models=(FAST, SLOW), rates=((FAST, 1.0), (SLOW, 1.0))))
    prices = {FAST: 2, SLOW: 2} | {cheaper: 1}
    found, _ = plan(replace(moment.snapshot, prices=prices), NOW_MS, PlannerConfig())
    assert [placement.device_model for placement in found.placements] == [cheaper]


def test_of_two_models_of_which_one_is_hardly_slower_and_as_dear_the_one_is_taken_that_it_fills() -> None:
    for slower, model in ((0.99, SLOW), (0.9, FAST)):
        moment = Moment([a_node("n1"), a_node("n2", 4, SLOW)])
        moment.waits("job", asks(4, models=(FAST, SLOW), rates=((FAST, 1.0), (SLOW, slower))))
        found, _ = moment.decided()
        assert [placement.device_model for placement in found.placements] == [model]


def test_a_job_does_not_start_on_the_one_model_on_which_it_cannot_run() -> None:
    moment = Moment([a_node("n1")])
    moment.waits("job", asks(1, rates=((FAST, 0.0),)))
    assert moment.starts() == []


def test_jobs_that_ask_for_the_same_start_each_in_the_pools_of_its_queue() -> None:
    queues = [Queue(queue_of(firm), (pool,)) for firm, pool in (("own", POOL), ("other", "elsewhere"))]
    moment = Moment([a_node("n1"), NodeSpec("n2", FAST, 8, "elsewhere")], queues)
    for firm in ("own", "other"):
        moment.waits(firm, asks(1, firm))
    found, _ = moment.decided()
    assert {one.job_id: one.pool for one in found.placements} == {"own": POOL, "other": "elsewhere"}


def test_the_rest_of_a_gang_that_nodes_do_not_divide_is_on_a_node_of_its_own_the_last() -> None:
    moment = Moment([a_node("n1"), a_node("n2")])
    moment.waits("gang", asks(12, per_node=8))
    assert [devices for _, devices in seats(moment, "gang")] == [8, 4]
    assert len({node for node, _ in seats(moment, "gang")}) == 2
    full = Moment([a_node("n1"), a_node("n2")])
    full.runs("small", asks(5), {"n1": 5}, HOUR)
    full.waits("gang", asks(12, per_node=8))
    assert full.starts() == []


@pytest.mark.parametrize("used", ["a", "b"])
def test_of_two_leaves_with_as_much_room_a_gang_takes_the_one_whose_nodes_it_fills(used: str) -> None:
    moment = Moment(
        [a_node(f"{leaf}{n}", domains=(None, None, leaf)) for leaf in ("a", "b") for n in range(2)]
    )
    for number in range(2):
        moment.runs(f"small {number}", asks(4), {f"{used}{number}": 4}, HOUR)
    moment.waits("gang", asks(8, per_node=4))
    assert seats(moment, "gang") == [(f"{used}0", 4), (f"{used}1", 4)]


def test_the_largest_tasks_of_a_gang_choose_first() -> None:
    # For the small one alone the large node would be better: the other one has failed lately.
    moment = Moment([a_node("large"), a_node("suspect", 2)])
    moment.waits("gang", asks(9, per_node=8, groups=((1, 1), (1, 8))))
    nodes = tuple(replace(node, suspect=node.name == "suspect") for node in moment.snapshot.nodes)
    found, _ = plan(replace(moment.snapshot, nodes=nodes), NOW_MS, PlannerConfig())
    assert [task.node_id for one in found.placements for task in one.tasks] == ["suspect", "large"]


def test_of_parts_that_are_kept_the_largest_is_told_and_what_it_is_kept_for() -> None:
    left_ppm = {"n1": 300_000, "n2": 600_000, "n3": 500_000}
    calendar = tuple(
        Hole(NOW_MS, NOW_MS + (1 + number) * HOUR_MS, frozenset([NodeId(node)]), why=f"repair of {node}")
        for number, node in enumerate(left_ppm)
    )
    moment = Moment([a_node(node, 1) for node in left_ppm], calendar=calendar)
    for node, left in left_ppm.items():
        moment.runs(f"on {node}", asks(1, share_ppm=WHOLE_PPM - left), {node: 1}, HOUR)
    moment.waits("part", asks(1, share_ppm=250_000))
    told = moment.decided()[1].of(JobId("part"))
    assert told is not None
    (why,) = told.reasons
    assert why.reason is Reason.MAINTENANCE
    assert "at most 600000 ppm of one device are free" in why.sentence
    assert why.sentence.endswith("(repair of n2)")
