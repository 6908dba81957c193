"""A real agent against a real gateway: windows, restarts, gaps, and a gateway that is away."""

import asyncio
import os
import signal
import sqlite3
import time

from protos.suanli.fleet.v1 import control_pb2
from suanli.evidence.windows import Segment
from tests.builders.agent_gateway import TestGateway, task
from tests.builders.agents import AgentProcess, alive, running_agent

SPIN = ["/usr/bin/python3", "-c", "while True: pass"]


async def stopped(agent: AgentProcess, gateway: TestGateway) -> list[Segment]:
    """End the agent in peace; all its segments, checked."""
    assert await agent.signal(signal.SIGTERM) == 0
    chain = gateway.checked()
    assert chain[-1][0].closed_by == "stop"
    return [segment for _, segments in chain for segment in segments]


def of_allocation(segments: list[Segment], allocation_id: str) -> list[Segment]:
    """In order of time, all devices."""
    return [segment for segment in segments if segment.allocation_id == allocation_id]


async def test_windows_are_whole_signed_and_show_idle_and_busy_time() -> None:
    async with TestGateway(window_ms=1_000).serving() as gateway, running_agent(gateway) as agent:
        work = task(SPIN, device_indices=[1, 2])
        running = await gateway.run_task(work)
        await gateway.until(
            lambda: sum(s.live_ms for s in of_allocation(gateway.segments(), work.allocation_id)) > 3_000,
            "it was metered",
        )
        gateway.want(work.allocation_id, control_pb2.TASK_GOAL_STOP)
        over = await gateway.ended(work.allocation_id)
        segments = await stopped(agent, gateway)
        used = of_allocation(segments, work.allocation_id)
        assert {segment.device.index for segment in used} == {1, 2}
        assert {segment.observed for segment in used} == {"in_use"}
        assert {segment.measured_by for segment in used} == {"agent"}
        lived = over.ended_ms - running.started_ms
        for index in (1, 2):
            live = sum(s.live_ms for s in used if s.device.index == index)
            assert abs(live - lived) < 100
            busy = sum(s.busy_ms for s in used if s.device.index == index)
            assert 0 < busy <= live  # how much of a processor it gets is for the host to say
        assert all((s.memory_max_bytes or 0) > 0 for s in used if s.live_ms > 200)
        assert all(s.energy_method == "none" and s.device.simulated for s in segments)
        idle = [s for s in segments if s.device.index == 0]
        assert {s.observed for s in idle if s.start_ms > running.started_ms} == {"free"}
        assert all(s.samples_taken >= s.samples_expected - 1 for s in idle if s.observed == "free")


async def test_a_killed_agent_finds_its_task_again_and_the_gap_was_measured_by_the_shim() -> None:
    async with TestGateway(window_ms=1_000).serving() as gateway, running_agent(gateway) as agent:
        work = task(SPIN, device_indices=[0])
        before = await gateway.run_task(work)
        await gateway.until(lambda: len(gateway.windows) >= 2, "windows arrive")
        assert await agent.signal(signal.SIGKILL) == -signal.SIGKILL
        await asyncio.to_thread(_wait_for_cpu, before.process_ids[0], 100)
        gateway.observed = None
        await agent.start()
        await agent.connected()
        await gateway.until(
            lambda: gateway.in_phase(work.allocation_id, control_pb2.TASK_PHASE_RUNNING), "it is found"
        )
        after = gateway.task(work.allocation_id)
        assert after is not None
        assert list(after.process_ids) == list(before.process_ids)
        assert after.started_ms == before.started_ms
        segments = await stopped(agent, gateway)
        used = of_allocation(segments, work.allocation_id)
        gap = [segment for segment in used if segment.measured_by == "shim"]
        assert sum(s.end_ms - s.start_ms for s in gap) > 900
        assert sum(s.busy_ms for s in gap) > 300
        assert all(s.live_ms == s.end_ms - s.start_ms for s in gap)
        starts = sorted(s.start_ms for s in used)
        whole = max(s.end_ms for s in used) - starts[0]
        assert sum(s.end_ms - s.start_ms for s in used) == whole, "no hole in the task's time"
        others = [s for s in segments if s.device.index == 3 and s.observed == "unknown"]
        assert sum(s.end_ms - s.start_ms for s in others) >= sum(s.end_ms - s.start_ms for s in gap)


def _wait_for_cpu(pid: int, ticks: int) -> None:
    """Wait until a process has used so many clock ticks more."""

    def used() -> int:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return int(file.read().rpartition(")")[2].split()[11])

    goal = used() + ticks
    deadline = time.monotonic() + 30
    while used() < goal:
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_a_task_that_ends_while_no_agent_is_there_keeps_its_exit_code_and_output() -> None:
    async with TestGateway(window_ms=1_000).serving() as gateway, running_agent(gateway) as agent:
        flag = agent.folder / "go"
        work = task(["/bin/sh", "-c", f"while [ ! -e {flag} ]; do sleep 0.05; done; echo done; exit 5"])
        await gateway.run_task(work)
        await agent.signal(signal.SIGKILL)
        flag.touch()
        async with asyncio.timeout(10):
            while agent.shims():
                await asyncio.sleep(0.05)
        await agent.start()
        over = await gateway.ended(work.allocation_id)
        assert (over.exit_code, over.end_reason) == (5, "exited")
        assert await gateway.all_output(work.allocation_id) == b"done\n"


async def test_a_task_whose_shim_was_killed_is_lost_and_leaves_nothing_behind() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway) as agent:
        work = task(["/bin/sh", "-c", "setsid sleep 600 & exec sleep 600"])
        running = await gateway.run_task(work)
        (shim,) = agent.shims()
        os.kill(shim, signal.SIGKILL)
        over = await gateway.ended(work.allocation_id)
        assert over.end_reason == "lost"
        assert not over.HasField("exit_code")
        assert not alive(running.process_ids[0])


async def test_an_agent_that_ends_leaves_its_tasks_running_unless_told_otherwise() -> None:
    async with TestGateway().serving() as gateway, running_agent(gateway) as agent:
        await gateway.run_task(task(["/bin/sleep", "600"]))
        assert await agent.signal(signal.SIGTERM) == 0
        assert len(agent.shims()) == 1
    async with TestGateway().serving() as gateway, running_agent(gateway, "--stop-tasks-on-exit") as agent:
        await gateway.run_task(task(["/bin/sleep", "600"]))
        assert await agent.signal(signal.SIGTERM) == 0
        assert agent.shims() == []
        assert gateway.observed is not None
        assert gateway.observed.tasks[0].end_reason == "stopped"


async def test_windows_and_output_survive_a_gateway_that_is_away() -> None:
    gateway = TestGateway(window_ms=1_000)
    async with gateway.serving() as _:
        port = gateway.fleet_port
        agent_context = running_agent(gateway)
        agent = await agent_context.__aenter__()
        work = task(["/bin/sh", "-c", "i=0; while [ $i -lt 60 ]; do echo $i; i=$((i+1)); sleep 0.05; done"])
        await gateway.run_task(work)
    try:
        async with asyncio.timeout(20):
            while agent.shims():
                await asyncio.sleep(0.1)
        gateway.queues.clear()
        async with gateway.serving(port):
            over = await gateway.ended(work.allocation_id)
            assert over.exit_code == 0
            out = await gateway.all_output(work.allocation_id)
            assert out == b"".join(b"%d\n" % n for n in range(60))
            segments = await stopped(agent, gateway)
            assert not [s for s in segments if s.measured_by == "nobody" and s.start_ms > over.started_ms]
    finally:
        await agent_context.__aexit__(None, None, None)


async def test_a_window_is_kept_until_the_log_has_it() -> None:
    gateway = TestGateway(window_ms=1_000, acknowledge=False)
    async with gateway.serving(), running_agent(gateway) as agent:
        await gateway.until(lambda: len(gateway.windows) >= 2, "windows arrive")

        def kept() -> int:
            with sqlite3.connect(agent.state / "spool.db") as spool:
                count: int = spool.execute("SELECT count(*) FROM windows").fetchone()[0]
            spool.close()
            return count

        assert kept() >= 2
        gateway.acknowledge = True
        count = len(gateway.windows)
        await gateway.until(lambda: len(gateway.windows) > count, "another window arrives")
        async with asyncio.timeout(10):
            while kept():
                await asyncio.sleep(0.02)


async def test_the_obeyed_fence_survives_a_restart() -> None:
    async with TestGateway(term=4, generation=9).serving() as gateway, running_agent(gateway) as agent:
        await gateway.until(
            lambda: gateway.observed is not None and gateway.observed.generation == 9, "it is obeyed"
        )
        seq = gateway.observations[-1].report_seq
        await agent.signal(signal.SIGKILL)
        gateway.term, gateway.generation = 3, 50
        await agent.start()
        await agent.connected()
        assert (gateway.hellos[-1].leader_term, gateway.hellos[-1].generation) == (4, 9)
        count = len(gateway.observations)
        await gateway.until(lambda: len(gateway.observations) > count, "it reports")
        assert gateway.observations[-1].report_seq > seq
        assert gateway.observations[-1].leader_term == 4
