"""Gangs that keep a node beside them, that run with fewer nodes, and whose tasks differ: on real nodes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.demo.cluster import Host
from suanli.client import Refused
from tests.builders.e2e import PYTHON, Site, processes_naming, running_site, wait_until

pytestmark = pytest.mark.timeout(240)

# Says who it is, then works until its gate opens or it is told to stop.
WORK = """
import json, os, sys, time
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SUANLI_GROUP", "SUANLI_GROUP_RANK", "SUANLI_GROUPS", "SUANLI_DEVICES")
print(json.dumps({"role": sys.argv[1:2], **{name: os.environ.get(name) for name in names}}), flush=True)
until = time.monotonic() + 200
while not os.path.exists(GATE) and time.monotonic() < until:
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Three nodes of a pool that gives a silent node up at once, and a planner that lets nobody run in for long."""
    hosts = [Host(f"ascend-0{n}", "ascend", "ascend-910b3:2") for n in (1, 2, 3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUANLI_PLANNER_MIN_RUN_SECONDS", "1")
        with running_site(hosts, patience_seconds={"ascend": 1}) as running:
            yield running


def command(site: Site, name: str) -> list[str]:
    """Works until the gate of this name opens."""
    return [PYTHON, "-c", f"GATE = {str(site.gate(name))!r}\n{WORK}"]


def start(site: Site, name: str, **gang: Any) -> str:
    """A job that runs until its gate opens."""
    return site.submit("yunhe", name=name, model="ascend-910b3", command=command(site, name), gang=gang)


def said(site: Site, job_id: str, ranks: int, attempt: int = 1) -> list[dict[str, Any]]:
    """What the process of each rank said of itself."""
    return [json.loads(line) for line in site.lines("yunhe", job_id, range(ranks), attempt)]


def tasks(site: Site, job_id: str, attempt: int) -> list[dict[str, Any]]:
    """Tasks of an attempt and what is kept beside them, by rank."""
    attempts = site.people.researchers["yunhe"].attempts(job_id)
    found = next(a["tasks"] for a in attempts if a["attempt"] == attempt)
    return sorted(found, key=lambda task: task["rank"])


def lose(site: Site, node: str) -> None:
    """The node's agent dies with all that it had started, as if its host had."""
    dying = [p for p in processes_naming(site.cluster.folder / node) if "agents" not in p.cmdline()]
    site.cluster.processes.kill(node)
    for process in dying:
        process.kill()


def test_a_gang_that_loses_a_node_goes_on_with_the_one_that_was_kept_for_it(site: Site) -> None:
    job_id = start(site, "spare", devices=4, devices_per_node=2, spare_nodes=1)
    assert [one["WORLD_SIZE"] for one in said(site, job_id, 4)] == ["4"] * 4
    first, second, spare = tasks(site, job_id, 1)
    assert (spare["goal"], spare["started_at"], len(spare["devices"])) == ("reserve", None, 2)
    waits = site.submit("yunhe", name="waits", model="ascend-910b3", command="true")
    lose(site, first["node"])
    assert [one["RANK"] for one in said(site, job_id, 4, attempt=2)] == ["0", "1", "2", "3"]
    assert [task["node"] for task in tasks(site, job_id, 2)] == [spare["node"], second["node"]]
    assert site.job("yunhe", waits)["state"] == "queued"
    site.gate("spare").touch()
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert site.ended("yunhe", waits)["state"] == "succeeded"
    site.restart_agent(first["node"])
    verified = site.verified()
    kept = [s for i in (0, 1) for s in verified.of_device(site.node_id(spare["node"]), i)]
    assert not [s for s in kept if s["allocation_id"] == spare["allocation_id"]]  # nothing of it was in use
    reserved = [
        device["reserved_ms"]
        for device in site.people.operator.balance()["devices"]
        if device["device_id"] in {s["device"]["device_id"] for s in kept}
    ]
    assert len(reserved) == 2
    assert all(ms > 0 for ms in reserved), reserved


def test_an_elastic_gang_starts_smaller_shrinks_when_it_loses_a_node_and_takes_all_when_alone(
    site: Site,
) -> None:
    filler = start(site, "filler", devices=2)
    said(site, filler, 1)
    asked = {"devices": 6, "devices_per_node": 2, "elastic": {"min_devices": 2, "max_devices": 6}}
    job_id = start(site, "elastic", **asked)
    assert [one["WORLD_SIZE"] for one in said(site, job_id, 4)] == ["4"] * 4
    first, second = tasks(site, job_id, 1)
    site.gate("filler").touch()
    site.ended("yunhe", filler)
    other = start(site, "other", devices=2)
    said(site, other, 1)
    lose(site, second["node"])
    assert [one["WORLD_SIZE"] for one in said(site, job_id, 2, attempt=2)] == ["2"] * 2
    assert [task["node"] for task in tasks(site, job_id, 2)] == [first["node"]]
    for name in ("elastic", "other"):
        site.gate(name).touch()
    assert site.ended("yunhe", job_id)["state"] == "succeeded"
    site.ended("yunhe", other)
    site.restart_agent(second["node"])
    alone = start(site, "alone", **{**asked, "devices": 2})
    assert [one["WORLD_SIZE"] for one in said(site, alone, 6)] == ["6"] * 6
    site.gate("alone").touch()
    assert site.ended("yunhe", alone)["state"] == "succeeded"


def test_an_elastic_gang_goes_on_larger_when_devices_come_free_and_nobody_waits(site: Site) -> None:
    filler = start(site, "fills", devices=2)
    said(site, filler, 1)
    # By its own account it has hours to go, so that a restart pays.
    told = "import os; open(os.environ['SUANLI_STEP_REPORT'], 'w').write('{\"step\": 1, \"of\": 100000}')\n"
    python, flag, work = command(site, "grows")
    variant = {"model": "ascend-910b3", "command": [python, flag, told + work], "steps_per_hour": 3600}
    job_id = site.submit(
        "yunhe", name="grows", variants=[variant], model_checkpoint={"grace_seconds": 5},
        gang={"devices": 2, "devices_per_node": 2, "elastic": {"min_devices": 2, "max_devices": 6}},
    )  # fmt: skip
    client = site.people.researchers["yunhe"]
    assert [one["WORLD_SIZE"] for one in said(site, job_id, 4)] == ["4"] * 4
    before = {task["node"] for task in tasks(site, job_id, 1)}
    wait_until(lambda: client.job(job_id)["step_report"], "it has told how far it is")
    site.gate("fills").touch()
    assert [one["WORLD_SIZE"] for one in said(site, job_id, 6, attempt=2)] == ["6"] * 6
    now = {task["node"] for task in tasks(site, job_id, 2)}
    assert before < now
    (stop,) = [e["data"] for e in client.events(job_id=job_id, follow=False) if e["kind"] == "JobPreempted"]
    assert (stop["cause"], stop["detail"]) == ("grow", "grow: goes on with 6 devices instead of 4")
    site.gate("grows").touch()
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)


def test_groups_start_together_know_their_own_and_end_together(site: Site) -> None:
    work = command(site, "groups")
    groups = [
        {"name": "actor", "tasks": 2, "command": [*work, "acts"]},
        {"name": "learner", "devices_per_task": 2, "command": [*work, "learns"]},
    ]
    job_id = start(site, "groups", groups=groups)
    told = said(site, job_id, 4)
    assert [(one["role"], one["SUANLI_GROUP"], one["SUANLI_GROUP_RANK"]) for one in told] == [
        (["acts"], "actor", "0"),
        (["acts"], "actor", "1"),
        (["learns"], "learner", "0"),
        (["learns"], "learner", "0"),
    ]
    assert [one["RANK"] for one in told] == ["0", "1", "2", "3"]
    assert {(one["WORLD_SIZE"], one["SUANLI_GROUPS"]) for one in told} == {("4", "actor:2,learner:1")}
    assert [len(task["devices"]) for task in tasks(site, job_id, 1)] == [1, 1, 2]
    assert len(set(site.nodes_of("yunhe", job_id, 1))) == 3
    site.gate("groups").touch()
    assert site.ended("yunhe", job_id)["state"] == "succeeded"
    groups[0]["command"] = "exit 7"
    job_id = start(site, "never", groups=groups)
    job = site.ended("yunhe", job_id)
    assert (job["state"], job["exit_code"]) == ("failed", 7)


def test_what_cannot_be_of_groups_is_refused_and_told_why(site: Site) -> None:
    for gang, told in (
        ({"groups": [{"name": "a"}], "spare_nodes": 1}, "gang.spare_nodes"),
        ({"groups": [{"name": "a"}], "elastic": {"min_devices": 1}}, "gang.elastic"),
        ({"groups": [{"name": "a", "tasks": 4}]}, "asks for 4 nodes"),
    ):
        with pytest.raises(Refused) as refused:
            start(site, "refused", **gang)
        assert told in str(refused.value)
