"""Processes are killed in the middle of jobs: work goes on, and the evidence says what was seen and what not."""

import itertools
import json
import os
import shlex
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from scheduler.demo.cluster import Host
from suanli.rating.attribution import CLOCK_TOLERANCE_MS
from tests.builders.e2e import PYTHON, WINDOW_MS, Site, now_ms, processes_naming, running_site, wait_until

pytestmark = pytest.mark.timeout(240)

# Says which process it is and goes on until the gate is there; ends by itself should the test be lost.
WAIT = """
import os, sys, time
print("pid", os.getpid(), flush=True)
until = time.monotonic() + 200
while not os.path.exists(sys.argv[1]):
    if time.monotonic() > until:
        sys.exit("the gate never opened")
    time.sleep(0.02)
print("done", os.getpid(), flush=True)
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A pool that gives a silent node up at once, and one that waits long."""
    hosts = (
        Host("ascend-01", "ascend", "ascend-910b3:2"),
        Host("ascend-02", "ascend", "ascend-910b3:2"),
        Host("mixed-01", "mixed", "mlu370-x8:4"),
    )
    with running_site(hosts, patience_seconds={"ascend": 1, "mixed": 120}) as running:
        yield running


def start(site: Site, name: str, model: str, **gang: int) -> str:
    """A job that runs until its gate opens."""
    command = [PYTHON, "-c", WAIT, str(site.gate(name))]
    return site.submit("yunhe", name=name, model=model, command=command, gang=gang)


def pids(site: Site, job_id: str, ranks: int, attempt: int = 1) -> list[int]:
    """The process of each rank, as it says itself."""
    lines = site.lines("yunhe", job_id, range(ranks), attempt)
    return [int(line.removeprefix("pid ")) for line in lines]


def finish(site: Site, name: str, job_id: str) -> dict[str, Any]:
    """Open the gate; the job must succeed."""
    site.gate(name).touch()
    job = site.ended("yunhe", job_id)
    assert job["state"] == "succeeded", (job, site.output("yunhe", job_id))
    return job


def assert_undisturbed(site: Site, job_id: str, before: list[int]) -> None:
    """The processes of the first attempt reached their end."""
    for rank, pid in enumerate(before):
        assert site.output("yunhe", job_id, attempt=1)[rank] == f"pid {pid}\ndone {pid}\n"


def test_a_killed_controller_comes_back_and_no_job_and_no_window_is_lost(site: Site) -> None:
    job_id = start(site, "controller", "mlu370-x8", devices=2)
    before = pids(site, job_id, 2)
    killed = int(site.cluster.announcement("controller")["pid"])
    os.kill(killed, signal.SIGKILL)

    def another() -> bool:
        said = site.cluster.announcement("controller")
        return bool(said) and int(said["pid"]) != killed

    wait_until(another, "the controller is started again")
    assert all(psutil.pid_exists(pid) for pid in before)
    job = finish(site, "controller", job_id)
    assert job["attempt"] == 1
    assert_undisturbed(site, job_id, before)
    node = site.node_id("mixed-01")
    windows = [w for w in site.verified().windows if w["node_id"] == node]
    assert [window["seq"] for window in windows] == list(range(1, len(windows) + 1))
    assert all(a["end_ms"] == b["start_ms"] for a, b in itertools.pairwise(windows))


def test_tasks_outlive_their_agent_and_the_next_one_adopts_them(site: Site) -> None:
    job_id = start(site, "adopted", "mlu370-x8", devices=2)
    before = pids(site, job_id, 2)
    site.cluster.processes.kill("mixed-01")
    killed_ms = now_ms()
    wait_until(lambda: site.node_state("mixed-01") == "silent", "the silence is noticed")
    wait_until(lambda: now_ms() > killed_ms + 2 * WINDOW_MS, "a whole window passes without an agent")
    assert all(psutil.pid_exists(pid) for pid in before)
    gap_ms = (killed_ms + now_ms()) // 2
    site.restart_agent("mixed-01")
    job = finish(site, "adopted", job_id)
    assert job["attempt"] == 1
    assert_undisturbed(site, job_id, before)
    verified = site.verified()
    node = site.node_id("mixed-01")
    held = site.people.researchers["yunhe"].attempts(job_id)[0]["tasks"][0]
    for index in range(4):
        (unseen,) = [s for s in verified.of_device(node, index) if s["start_ms"] <= gap_ms < s["end_ms"]]
        assert unseen["measured_by"] != "agent", unseen
        if index not in held["devices"]:
            assert unseen["observed"] == "unknown"
        elif unseen["observed"] == "in_use":
            assert (unseen["measured_by"], unseen["allocation_id"]) == ("shim", held["allocation_id"])
    assert any(w["node_id"] == node and w["closed_by"] == "recovery" for w in verified.windows)


def test_a_gang_that_lost_its_node_is_tried_again_on_a_healthy_one(site: Site) -> None:
    job_id = start(site, "lost", "ascend-910b3", devices=2)
    before = pids(site, job_id, 2)
    (lost,) = site.nodes_of("yunhe", job_id, 1)
    shims_and_tasks = [p for p in processes_naming(site.cluster.folder / lost) if "agents" not in p.cmdline()]
    assert set(before) <= {process.pid for process in shims_and_tasks}
    seen_ms = now_ms()
    wait_until(lambda: now_ms() > seen_ms + 2 * WINDOW_MS, "a window with it is closed")
    site.cluster.processes.kill(lost)
    for process in shims_and_tasks:
        process.kill()
    killed_ms = now_ms()
    after = pids(site, job_id, 2, attempt=2)
    assert not set(after) & set(before)
    (healthy,) = site.nodes_of("yunhe", job_id, 2)
    assert healthy != lost
    job = finish(site, "lost", job_id)
    assert job["attempt"] == 2
    gap_ms = (killed_ms + now_ms()) // 2
    site.restart_agent(lost)
    verified = site.verified()
    first = site.people.researchers["yunhe"].attempts(job_id)[0]["tasks"][0]
    for index in (0, 1):
        history = verified.of_device(site.node_id(lost), index)
        (unseen,) = [s for s in history if s["start_ms"] <= gap_ms < s["end_ms"]]
        assert (unseen["observed"], unseen["measured_by"]) == ("unknown", "nobody"), unseen
        used = [s for s in history if s["allocation_id"] == first["allocation_id"] and s["live_ms"]]
        assert used
        assert all(s["start_ms"] <= killed_ms for s in used), json.dumps(used[-1])
    second = site.people.researchers["yunhe"].attempts(job_id)[1]["tasks"][0]
    assert any(
        s["allocation_id"] == second["allocation_id"] and s["observed"] == "in_use"
        for s in verified.of_device(site.node_id(healthy), second["devices"][0])
    )


def test_a_gang_of_two_nodes_starts_again_as_a_whole(site: Site) -> None:
    """One of its tasks dies by itself: the other is ended too, and its exit code is the job's."""
    command = f"if [ $RANK = 1 ]; then exit 9; fi; exec {PYTHON} -c {shlex.quote(WAIT)} {site.gate('never')}"
    job_id = site.submit(
        "yunhe",
        name="half",
        model="ascend-910b3",
        command=command,
        gang={"devices": 2, "devices_per_node": 1},
    )
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["attempt"], job["exit_code"]) == ("failed", 1, 9)
    assert "done" not in site.output("yunhe", job_id).get(0, "")
    wait_until(
        lambda: not [p for p in processes_naming(site.gate("never")) if p.is_running()],
        "no task of it is left",
    )


def _kill_and_await_the_next(site: Site, process: str) -> None:
    killed = int(site.cluster.announcement(process)["pid"])
    os.kill(killed, signal.SIGKILL)

    def another() -> bool:
        said = site.cluster.announcement(process)
        return bool(said) and int(said["pid"]) != killed

    wait_until(another, f"the {process} is started again")


def _sample(url: str, name: str) -> float:
    lines = httpx.get(url).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.partition("{")[0].split()[0] == name)


def _counted(site: Site, name: str) -> float:
    """A counter of device time, as the ledger shows it."""
    url = str(site.cluster.announcement("ledger")["metrics"])
    return _sample(url, f"suanli_ledger_{name}_device_ms_total")


def test_work_that_goes_on_where_a_node_was_given_up_is_noticed_and_not_billed(site: Site) -> None:
    """The agent is away for longer than its pool's patience; its task goes on until it is back and is told."""
    before = {name: _counted(site, name) for name in ("unattributed", "after_loss")}
    job_id = start(site, "given-up", "ascend-910b3", devices=2)
    first = pids(site, job_id, 2)
    (lost,) = site.nodes_of("yunhe", job_id, 1)
    site.cluster.processes.kill(lost)
    pids(site, job_id, 2, attempt=2)
    given_up_ms = now_ms()
    wait_until(
        lambda: now_ms() > given_up_ms + CLOCK_TOLERANCE_MS + WINDOW_MS, "no clock explains it any more"
    )
    assert all(psutil.pid_exists(pid) for pid in first)
    site.restart_agent(lost)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in first), "the agent is told to end it")
    job = finish(site, "given-up", job_id)
    assert job["attempt"] == 2
    verified = site.verified()
    held = site.people.researchers["yunhe"].attempts(job_id)[0]["tasks"][0]
    used = [s for s in verified.segments if s["allocation_id"] == held["allocation_id"]]
    assert max(segment["end_ms"] for segment in used) > given_up_ms + CLOCK_TOLERANCE_MS
    said = [f for f in verified.verdict["findings"] if held["allocation_id"] in f["entity"]]
    assert [finding["code"] for finding in said] == ["attribution.after_loss"]
    wait_until(lambda: _counted(site, "after_loss") > before["after_loss"], "it is rated")
    assert _counted(site, "unattributed") == before["unattributed"]


def test_whatever_is_killed_every_millisecond_of_every_device_is_in_one_bucket(site: Site) -> None:
    job_id = start(site, "balance", "mlu370-x8", devices=2)
    pids(site, job_id, 2)
    for process in ("gateway", "ledger"):
        _kill_and_await_the_next(site, process)
    site.cluster.processes.kill("mixed-01")
    wait_until(lambda: site.node_state("mixed-01") == "silent", "the silence is noticed")
    site.restart_agent("mixed-01")
    finish(site, "balance", job_id)
    site.verified()
    answer = site.people.operator.balance()
    buckets = ("allocated", "idle", "reserved", "maintenance", "faulty", "unknown")
    for device in answer["devices"]:
        assert device["enrolled_ms"] == sum(device[f"{bucket}_ms"] for bucket in buckets), device
    assert sum(device["allocated_ms"] for device in answer["devices"]) > 0
    assert _counted(site, "unattributed") == 0
    assert _counted(site, "double_attributed") == 0
