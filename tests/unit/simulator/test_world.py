"""The event loop: work is conserved, time is right, and a seed gives one run."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.ids import JobId, NodeId
from scheduler.simulator.cluster import NotPossible
from scheduler.simulator.jobs import Work
from scheduler.simulator.summary import summarise
from scheduler.simulator.world import Options, Outage, World
from tests.builders.virtual import FAST, SLOW, a_cluster, a_run, a_work


def finish_s(world: World, name: str) -> float:
    """When a job ended."""
    ended_ms = world.records[JobId(name)].finish_ms
    assert ended_ms is not None
    return ended_ms / 1000


def test_a_job_that_has_room_starts_at_once_and_ends_when_its_work_is_done() -> None:
    world = a_run([a_work("a", at_s=5, steps=100)])
    record = world.records[JobId("a")]
    assert record.wait_ms == 0
    assert record.jct_ms == 100_000
    assert record.held_device_ms == {FAST: 100_000}


def test_a_job_waits_for_the_devices_of_another() -> None:
    works = [a_work("a", steps=50, devices=4), a_work("b", at_s=1, steps=10, devices=4)]
    world = a_run(works, a_cluster(nodes=1))
    assert world.records[JobId("b")].wait_ms == 49_000
    assert finish_s(world, "b") == 60


def test_a_job_on_a_slower_model_takes_longer() -> None:
    world = a_run([a_work("a", rates={FAST: 2.0, SLOW: 0.5})], a_cluster(nodes=0, slow_nodes=1))
    assert finish_s(world, "a") == 200


def test_a_node_that_fails_costs_the_work_since_the_newest_model_checkpoint() -> None:
    works = [a_work("a", steps=100, checkpoint_s=40, restart_s=5, resumable=True)]
    outage = Outage(70_000, 80_000, NodeId("f0"))
    world = a_run(works, a_cluster(nodes=1), outages=[outage])
    record = world.records[JobId("a")]
    assert record.lost_steps == pytest.approx(30)
    assert record.lost_to == {"node_failed": 30_000}
    assert record.starts == 2
    assert finish_s(world, "a") == 80 + 5 + 60
    assert world.measured.stops == {"node_failed": 1}
    assert record.overhead_device_ms == 5_000
    assert summarise(world).lost_to == {"node_failed": pytest.approx(30 / (70 + 65))}


def test_a_job_without_model_checkpoints_begins_anew() -> None:
    outage = Outage(70_000, 80_000, NodeId("f0"))
    world = a_run([a_work("a", checkpoint_s=None)], a_cluster(nodes=1), outages=[outage])
    assert finish_s(world, "a") == 180


def test_in_rounds_a_job_does_whole_steps_and_the_next_round_begins_when_the_slowest_is_through() -> None:
    """360 s at 0.7 steps a second are 252 steps, which take 360 s; 25 steps at 0.07 take 357.14 s."""
    works = [a_work("a", steps=504, rates={FAST: 0.7}), a_work("b", at_s=1, steps=7, rates={FAST: 0.7})]
    world = a_run(works, rounds=True)
    assert finish_s(world, "a") == pytest.approx(720, abs=0.002)
    assert finish_s(world, "b") == pytest.approx(360 + 10, abs=0.002)
    assert world.records[JobId("b")].wait_ms == 359_000
    slow = a_run([a_work("a", steps=26, rates={FAST: 0.07})], rounds=True)
    assert finish_s(slow, "a") == pytest.approx(25 / 0.07 + 1 / 0.07, abs=0.002)


def test_a_job_that_nothing_can_run_is_not_waited_for_without_end() -> None:
    with pytest.raises(NotPossible, match="1 jobs wait, nothing runs"):
        a_run([a_work("a", devices=9, per_node=9)], rounds=True)


_jobs = st.lists(
    st.tuples(
        st.integers(0, 500),
        st.integers(1, 400),
        st.sampled_from([(1, 1), (2, 2), (4, 4), (8, 4), (3, 3)]),
        st.sampled_from(["firm-a", "firm-b"]),
        st.sampled_from([None, 1.0, 2.5]),
    ),
    min_size=1,
    max_size=12,
)


def works_of(rows: list[tuple[int, int, tuple[int, int], str, float | None]]) -> list[Work]:
    """Jobs from drawn numbers."""
    return [
        a_work(
            f"j{number}",
            at_s=at_s,
            steps=steps,
            devices=devices,
            per_node=per_node,
            firm=firm,
            rates={FAST: 1.0, SLOW: 0.5},
            limit_s=None if slack is None else steps * slack,
            checkpoint_s=30,
            restart_s=7,
            resumable=True,
        )
        for number, (at_s, steps, (devices, per_node), firm, slack) in enumerate(rows)
    ]


@settings(deadline=None, max_examples=40)
@given(_jobs, st.booleans(), st.integers(0, 300))
def test_every_job_ends_and_the_devices_held_are_the_work_done_the_work_lost_and_the_starts(
    rows: list[tuple[int, int, tuple[int, int], str, float | None]], rounds: bool, fails_s: int
) -> None:
    works = works_of(rows)
    outages = [] if rounds else [Outage(fails_s * 1000, fails_s * 1000 + 90_000, NodeId("f0"))]
    cluster = a_cluster(slow_nodes=2, firms=("firm-a", "firm-b"))
    world = a_run(works, cluster, outages=outages, rounds=rounds)
    for record in world.records.values():
        assert record.finish_ms is not None
        work = record.work
        held = sum(ms / 1000 * work.rates[model] for model, ms in record.held_device_ms.items())
        overhead = record.overhead_device_ms / 1000
        done = (work.steps + record.lost_steps) * work.shape.devices
        slack = 360 * work.shape.devices if rounds else 0.01 * work.shape.devices * (record.starts + 1)
        # Starts cost device-time at the rate of the model they were on: between the slowest and the fastest.
        assert done + 0.5 * overhead - 0.01 * work.shape.devices <= held <= done + overhead + slack
    assert not world.cluster.holdings
    assert not world.cluster.waiting
    assert all(device.free for view in world.cluster.views for device in view.devices)
    measured = world.measured
    total = sum(sum(record.held_device_ms.values()) for record in world.records.values())
    assert measured.held == pytest.approx(total, abs=20)
    assert 0 <= measured.fragmented <= measured.idle_while_waiting + 1e-6


@settings(deadline=None, max_examples=10)
@given(_jobs)
def test_the_same_jobs_give_the_same_run(
    rows: list[tuple[int, int, tuple[int, int], str, float | None]],
) -> None:
    runs = [
        a_run(
            works_of(rows),
            a_cluster(slow_nodes=2, firms=("firm-a", "firm-b")),
            options=Options(keep_gantt=True),
        )
        for _ in range(2)
    ]
    assert runs[0].stretches == runs[1].stretches


def test_the_summary_counts_what_happened() -> None:
    works = [
        a_work("a", steps=3600, devices=4, firm="firm-a"),
        a_work("b", at_s=0, steps=3600, devices=4, firm="firm-b"),
    ]
    found = summarise(a_run(works, a_cluster(nodes=1, firms=("firm-a", "firm-b"))), {FAST: 2_500_000_000})
    assert found.jobs == 2
    assert found.makespan_s == 7200
    assert found.utilisation == pytest.approx(1.0)
    assert found.cost_cny == pytest.approx(2 * 4 * 2.5)
    assert sorted(firm.wait.mean_s for firm in found.firms.values()) == [0, 3600]
    assert found.firms["firm-b"].device_hours == pytest.approx(4)
    assert found.lost_share == 0
    assert found.unfinished == 0
