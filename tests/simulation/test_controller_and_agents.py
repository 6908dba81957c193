"""The controller's machine against the agents' machines, from one seed, with everything that can go wrong."""

import os
from collections import Counter
from dataclasses import replace

import pytest

from scheduler.domain.gangs import Elastic, Gang
from scheduler.domain.jobs import FINAL_STATES, JobState
from tests.builders.jobs import OTHER_MODEL, a_spec
from tests.simulation.simulated_installation import FIRMS, NO_FAULTS, Faults, Installation

SEEDS = [int(os.environ["SUANLI_SIMULATION_SEED"])] if "SUANLI_SIMULATION_SEED" in os.environ else range(6)
STEPS = int(os.environ.get("SUANLI_SIMULATION_STEPS", "1200"))
MOST_STEPS_TO_QUIET = 6_000


def run(seed: int, faults: Faults) -> Installation:
    """Random work under faults, then peace: everything must come to an end."""
    print(f"seed {seed}: SUANLI_SIMULATION_SEED={seed}")
    world = Installation(seed, faults)
    jobs = 0
    for step in range(STEPS):
        if world.rng.random() < 0.05:
            world.random_job(jobs)
            jobs += 1
        if jobs and world.rng.random() < 0.01:
            world.cancel(world.rng.choice(list(world.store.submitted)))
        if world.rng.random() < 0.03:
            world.meddle()
        world.step()
        if step % 50 == 0:
            world.check_reload()
    world.faults = NO_FAULTS
    world.release_all()
    for job_id in world.store.submitted:  # tasks that run until they are told to stop
        if world.rng.random() < 0.5:
            world.cancel(job_id)
    steps = 0
    while not world.quiet:
        steps += 1
        assert steps < MOST_STEPS_TO_QUIET, f"never quiet: {list(world.state.jobs.values())[:3]}"
        if steps % 500 == 0:
            for job_id in list(world.state.jobs):
                world.cancel(job_id)
        world.step()
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_goes_wrong_every_job_ends_and_every_device_comes_back(seed: int) -> None:
    world = run(seed, Faults())
    states = {job_id: world.store.state_of(job_id) for job_id in world.store.submitted}
    assert set(states.values()) <= FINAL_STATES
    for host in world.hosts.values():
        assert host.running_on() == {}
    for allocation_id, facts in world.store.evidence.items():
        events = [fact.event for fact in facts]
        assert events in (["granted", "started", "ended"], ["granted", "ended"]), (allocation_id, events)
    assert not any(row["live"] for row in world.store.allocations.values())
    world.check_reload()


def test_without_faults_every_job_that_ends_by_itself_ends_as_its_processes_did() -> None:
    world = run(99, NO_FAULTS)
    outcomes = Counter(world.store.state_of(job_id) for job_id in world.store.submitted)
    assert outcomes[JobState.SUCCEEDED] > 0
    reasons = {row["reason"] for row in world.store.attempts.values()}
    assert not reasons & {"node_lost", "task_lost"}


def test_the_same_seed_gives_the_same_history() -> None:
    histories = []
    for _ in range(2):
        world = Installation(7, Faults())
        for number in range(20):
            world.random_job(number)
        for _ in range(300):
            world.step()
        histories.append(world.store.events)
    assert histories[0] == histories[1]
    assert len(histories[0]) > 50


def test_an_elastic_gang_takes_what_is_free_once_nobody_waits_for_it() -> None:
    world = Installation(3, NO_FAULTS, nodes=3)  # two of them of the model asked for, eight devices each
    for host in world.hosts.values():
        host.lifetime_ms = lambda: (None, 0)
    world.submit("filler", a_spec("filler", devices=8, per_node=8), FIRMS[0])
    elastic = replace(
        a_spec("elastic", devices=16, per_node=8, estimate_seconds=10 * 86_400),
        gang=Gang(16, 8, elastic=Elastic(8, 16)),
    )

    def until(devices: int, steps: int) -> None:
        for _ in range(steps):
            world.step()
            live = [a for a in world.store.allocations.values() if a["live"] and a["job_id"] == "elastic"]
            held = sum(len(world.store.devices[a["allocation_id"]]) for a in live)
            if held == devices and all(a["goal"] == "run" for a in live):
                return
        raise AssertionError(f"it never ran with {devices} devices")

    for _ in range(20):
        world.step()
    world.submit("elastic", elastic, FIRMS[0])
    until(8, 100)
    world.cancel("filler")
    for _ in range(5 * 600 + 50):  # a young job is left alone
        world.step()
    # Something happens, and so there is a plan: only a real controller plans every ten seconds, too.
    world.submit("tiny", a_spec("tiny", models=(OTHER_MODEL,)), FIRMS[0])
    until(16, 600)
    attempts = [row for (job_id, _), row in world.store.attempts.items() if job_id == "elastic"]
    assert [row["attempt"] for row in attempts] == [1, 2]
    assert attempts[0]["reason"] == "preempted"
