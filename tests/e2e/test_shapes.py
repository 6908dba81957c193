"""Shapes of work on real nodes: gangs in one domain."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from scheduler.demo.cluster import Host
from suanli.client import Refused
from tests.builders.e2e import PYTHON, Site, read_windows, running_site, wait_until

pytestmark = pytest.mark.timeout(240)

LEAF = {"topology": {"required": "leaf"}}
GANG = {"devices": 2, "devices_per_node": 1}


@pytest.fixture(scope="module")
def racks() -> Iterator[Site]:
    """Three nodes: one in a leaf of its own, as its agent was told, and two of which nobody has said it yet."""
    hosts = [Host(f"ascend-0{n}", "ascend", "ascend-910b3:4") for n in (1, 2, 3)]
    hosts[0] = replace(hosts[0], place="zone=bj,leaf=rack-1,position=1")
    with running_site(hosts) as site:
        places = [{"name": f"ascend-0{n}", "zone": "bj", "leaf": "rack-2", "position": n} for n in (2, 3)]
        applied = site.people.operator.apply({"nodes": places})
        assert [change["outcome"] for change in applied["changes"]] == ["created", "created"]
        yield site


def test_a_gang_starts_in_the_leaf_that_it_requires(racks: Site) -> None:
    known = {node["name"]: node["place"] for node in racks.people.operator.nodes()["nodes"]}
    assert known["ascend-01"] == {"zone": "bj", "supernode": None, "leaf": "rack-1", "position": 1}
    assert known["ascend-03"]["leaf"] == "rack-2"
    spec = {"model": "ascend-910b3", "command": "true", "gang": GANG}
    with pytest.raises(Refused) as refused:
        racks.submit("yunhe", name="nowhere", **spec, topology={"required": "supernode"})
    assert "the largest supernode of the queue's pools has 0 such" in str(refused.value)
    for _ in range(2):
        job_id = racks.submit("yunhe", name="together", **spec, topology={"required": "leaf"})
        assert racks.ended("yunhe", job_id)["state"] == "succeeded"
        assert racks.nodes_of("yunhe", job_id, 1) == ["ascend-02", "ascend-03"]


def test_a_gang_waits_for_its_leaf_and_is_told_what_it_waits_for(racks: Site) -> None:
    gate = racks.gate("apart")
    hold = f"while [ ! -e {gate} ]; do sleep 0.1; done"
    spec = {"model": "ascend-910b3", "command": hold}
    busy = racks.submit("yunhe", name="busy", **spec, gang={"devices": 8, "devices_per_node": 4}, **LEAF)
    wait_until(lambda: racks.job("yunhe", busy)["state"] == "running", "the leaf is busy")
    assert racks.nodes_of("yunhe", busy, 1) == ["ascend-02", "ascend-03"]
    waits = racks.submit("yunhe", name="waits", **spec, gang=GANG, **LEAF)
    researcher = racks.people.researchers["yunhe"]
    wait_until(
        lambda: researcher.explain(waits)["reasons"][0]["reason"] != "not_planned_yet", "it is planned"
    )
    explained = researcher.explain(waits)
    assert explained["reasons"][0]["reason"] == "devices_fragmented", explained
    gate.touch()
    assert racks.ended("yunhe", waits)["state"] == "succeeded"
    assert racks.ended("yunhe", busy)["state"] == "succeeded"
    assert racks.nodes_of("yunhe", waits, 1) == ["ascend-02", "ascend-03"]


# Says what it was given and where, then works until its gate opens.
PART = """
import json, os, time
names = ("SUANLI_SHARE_PPM", "SUANLI_SHARE_MEMORY_BYTES", "SUANLI_DEVICES", "ASCEND_RT_VISIBLE_DEVICES")
print(json.dumps({name: os.environ.get(name) for name in names}), flush=True)
while not os.path.exists(GATE):
    time.sleep(0.05)
"""


def test_jobs_share_a_device_and_each_pays_for_its_part(racks: Site) -> None:
    gate = racks.gate("parts")
    hold = {"model": "ascend-910b3", "command": f"while [ ! -e {gate} ]; do sleep 0.1; done"}
    fillers = [  # all devices but one
        racks.submit("yunhe", name="filler", **hold, gang={"devices": 8, "devices_per_node": 4}),
        racks.submit("yunhe", name="filler", **hold, gang={"devices": 3}),
    ]
    wait_until(
        lambda: all(racks.job("yunhe", job_id)["state"] == "running" for job_id in fillers),
        "all other devices are taken",
    )
    command = [PYTHON, "-c", f"GATE = {str(gate)!r}\n{PART}"]
    shares = ({"ppm": 250_000}, {"memory_bytes": 32 << 30})
    jobs = [
        racks.submit("yunhe", name="part", model="ascend-910b3", command=command, share=share)
        for share in shares
    ]
    said = [json.loads(racks.lines("yunhe", job_id, [0])[0]) for job_id in jobs]
    assert [one["SUANLI_SHARE_PPM"] for one in said] == ["250000", "500000"]
    assert [one["SUANLI_SHARE_MEMORY_BYTES"] for one in said] == [str(16 << 30), str(32 << 30)]
    assert {one["ASCEND_RT_VISIBLE_DEVICES"] for one in said} == {said[0]["SUANLI_DEVICES"]}
    held = [
        d for n in racks.people.operator.nodes()["nodes"] for d in n["devices"] if len(d["shared_by"]) == 2
    ]
    assert [(t["job_id"], t["share_ppm"]) for t in held[0]["shared_by"]] == [
        (jobs[0], 250_000),
        (jobs[1], 500_000),
    ]
    wait_until(lambda: _windows_with(racks, held[0]["device_id"]), "a window tells of both")
    gate.touch()
    for job_id in jobs:
        assert racks.ended("yunhe", job_id)["state"] == "succeeded"
    verified = racks.verified()
    parts = [s for s in verified.segments if s["device"]["device_id"] == held[0]["device_id"]]
    assert {s["share_ppm"] for s in parts if s["allocation_id"]} == {250_000, 500_000}
    assert {s["share_ppm"] for s in parts if not s["allocation_id"]} >= {250_000, 1_000_000}
    lines = {
        line["job_id"]: line
        for firm in racks.people.administrators["yunhe"].usage()["firms"]
        for line in firm["lines"]
    }
    attempts = [racks.people.researchers["yunhe"].attempts(job_id)[0]["tasks"][0] for job_id in jobs]
    for job_id, ppm in zip(jobs, (250_000, 500_000), strict=True):
        own = {t["allocation_id"] for t in attempts if t}
        used_ms = sum(
            s["end_ms"] - s["start_ms"] for s in parts if s["allocation_id"] in own and s["share_ppm"] == ppm
        )
        assert 0 < lines[job_id]["live_ms"] <= used_ms * ppm // 1_000_000 + 1


def _windows_with(site: Site, device_id: str) -> bool:
    """Whether the evidence tells of two allocations on the device at once."""
    told = [
        s
        for s in read_windows(site.bundle(site.people.auditor))[1]
        if s["device"]["device_id"] == device_id and s["observed"] == "in_use"
    ]
    return any(a["seq"] == b["seq"] and a["share_ppm"] < b["share_ppm"] for a in told for b in told)


def test_what_is_no_part_of_a_device_is_refused_with_the_fields_name(racks: Site) -> None:
    spec = {"name": "part", "model": "ascend-910b3", "command": "true"}
    for more, field in (
        ({"share": {"memory_bytes": 65 << 30}}, "share.memory_bytes"),
        ({"share": {"ppm": 5}, "gang": {"devices": 2}}, "gang.devices_per_node"),
    ):
        with pytest.raises(Refused) as refused:
            racks.submit("yunhe", **spec, **more)
        assert field in str(refused.value)
