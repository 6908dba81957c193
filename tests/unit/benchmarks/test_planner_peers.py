"""The peers and their measures on cases that can be worked out by hand."""

import pytest

from benchmarks.planner.gavel import worst_ftf
from benchmarks.planner.peers import leaves, rounds
from benchmarks.planner.peers.allocation_lp import best_throughput
from benchmarks.planner.peers.leaves import HostGang, best_fit, fewest
from benchmarks.planner.peers.queueing import RigidJob, simulate
from tests.builders.virtual import FAST, a_cluster, a_run, a_work


def jobs(*rows: tuple[float, float, int]) -> list[RigidJob]:
    """(arrival, run time, devices); believed as they are."""
    return [RigidJob(arrival, run, devices, run) for arrival, run, devices in rows]


def test_first_come_first_served_lets_nobody_overtake() -> None:
    outcome = simulate(jobs((0, 100, 4), (1, 10, 8), (2, 5, 4)), nodes=1, per_node=8, backfill=False)
    assert outcome.start_s.tolist() == [0, 100, 110]


def test_easy_starts_what_ends_before_the_head_can_start_and_nothing_that_delays_it() -> None:
    outcome = simulate(
        jobs((0, 100, 4), (1, 10, 8), (2, 5, 4), (3, 200, 4)), nodes=1, per_node=8, backfill=True
    )
    assert outcome.start_s.tolist() == [0, 100, 2, 110]


def test_easy_lets_a_long_job_use_what_the_head_leaves() -> None:
    outcome = simulate(jobs((0, 100, 8), (1, 10, 12), (2, 500, 4)), nodes=2, per_node=8, backfill=True)
    assert outcome.start_s.tolist() == [0, 100, 2]


def test_a_larger_job_takes_whole_nodes_and_its_remainder_on_one() -> None:
    outcome = simulate(jobs((0, 10, 20), (0, 10, 4), (0, 10, 8)), nodes=3, per_node=8, backfill=False)
    assert outcome.start_s.tolist() == [0, 0, 10]


def test_a_job_that_never_fits_is_an_error() -> None:
    with pytest.raises(ValueError, match="32 devices can never start"):
        simulate(jobs((0, 10, 32)), nodes=3, per_node=8, backfill=True)


def test_the_greedy_peer_runs_the_shortest_first_and_counts_rounds() -> None:
    slow = rounds.Job(0.0, 1, 720.0, {"a": 1.0})
    quick = rounds.Job(0.0, 1, 36.0, {"a": 1.0})
    rounds.simulate([slow, quick], {"a": 1}, rounds.shortest)
    assert quick.finish_s == 36
    assert slow.finish_s == 36 + 720


def test_the_length_blind_peer_serves_who_got_least() -> None:
    first = rounds.Job(0.0, 1, 720.0, {"a": 1.0})
    second = rounds.Job(360.0, 1, 360.0, {"a": 1.0})
    rounds.simulate([first, second], {"a": 1}, rounds.least_served)
    assert second.finish_s == 720
    assert first.finish_s == 1080


def test_the_last_of_two_equal_jobs_on_one_device_is_as_unfair_as_can_be_worked_out() -> None:
    """The first ends at 100 s, the last at 200 s with 1.5 active on average: alone 100 / (2 / 3) = 150 s."""
    world = a_run([a_work("a"), a_work("b")], a_cluster(nodes=1, devices=1))
    assert worst_ftf(list(world.records.values()), {FAST: 1}) == pytest.approx(200 / 150, rel=0.01)


def test_best_fit_takes_the_tightest_leaf_and_else_the_roomiest_first() -> None:
    assert best_fit({"a": 8, "b": 4, "c": 6}, 4) == {"b": 4}
    assert best_fit({"a": 8, "b": 4, "c": 6}, 10) == {"a": 8, "b": 2}
    assert best_fit({"a": 2}, 3) is None
    assert fewest({"a": 8, "b": 4, "c": 6}, 14) == 2
    gangs = [HostGang(0, 10, 4), HostGang(1, 10, 14)]
    assert leaves.simulate({"a": 8, "b": 4, "c": 6}, gangs) == [1, 2]


def test_the_linear_program_gives_each_job_the_model_on_which_it_matters() -> None:
    """One device each of two models; the first job does not care, the second runs only on `a`."""
    jobs = [(1, {"a": 1.0, "b": 1.0}), (1, {"a": 1.0, "b": 0.0})]
    assert best_throughput(jobs, {"a": 1, "b": 1}) == pytest.approx(2.0)
    assert best_throughput(jobs, {"a": 1, "b": 0}) == pytest.approx(1.0)
    assert best_throughput([(2, {"a": 1.0})], {"a": 1}) == pytest.approx(0.5)
