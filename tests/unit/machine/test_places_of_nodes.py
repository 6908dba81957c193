"""Where nodes hang in the network, whom they serve, and what that means for gangs."""

from dataclasses import replace

import pytest

from scheduler.catalogue import load_catalogue
from scheduler.domain.gangs import Domain, Gang, TaskGroup, Topology
from scheduler.domain.ids import FirmId, JobId, NodeId
from scheduler.domain.jobs import JobSpec
from scheduler.domain.nodes import Place
from scheduler.domain.reasons import Reason
from scheduler.machine import take_snapshot
from scheduler.machine.messages import ConfigurationChanged
from scheduler.planner import Plan, PlannerConfig
from scheduler.planner.cycle import plan
from scheduler.planner.feasibility import ever_fits
from scheduler.planner.plan_checks import check_plan
from tests.builders.cluster import FIRM, Controller, a_node, a_queue, inventory_of
from tests.builders.jobs import MODEL, OTHER_MODEL, a_spec


def together(domain: Domain, *, devices: int = 16, per_node: int = 8, required: bool = True) -> JobSpec:
    """A gang that wants to be inside one domain."""
    asked = Topology(required=domain) if required else Topology(preferred=domain)
    return replace(a_spec(devices=devices, per_node=per_node), topology=asked)


def racks(*leaves: str) -> Controller:
    """Nodes n1, n2 ... of eight devices in these leaves, as their agents say."""
    controller = Controller([a_node(f"n{n}") for n in range(1, len(leaves) + 1)], connected=False)
    for n, leaf in enumerate(leaves, start=1):
        controller.connect(f"n{n}", place=Place(leaf=leaf or None, position=n))
    return controller


def nodes(controller: Controller, job_id: str) -> list[str]:
    """Nodes of a job by rank."""
    return [task.node_id for task in controller.tasks(controller.state.jobs[JobId(job_id)])]


def first_reason(controller: Controller, job_id: str) -> tuple[Reason, str]:
    """Why a job waits."""
    report = controller.report.of(JobId(job_id))
    assert report is not None
    return report.reasons[0].reason, report.reasons[0].sentence


def test_a_gang_is_in_the_domain_that_it_requires() -> None:
    controller = racks("a", "b", "b")
    controller.submit("gang", together(Domain.LEAF))
    assert controller.plan() == ["gang"]
    assert nodes(controller, "gang") == ["n2", "n3"]


def test_nodes_with_room_in_two_domains_are_apart() -> None:
    controller = racks("a", "b")
    controller.submit("gang", together(Domain.LEAF))
    assert controller.plan() == []
    assert first_reason(controller, "gang") == (
        Reason.DEVICES_APART,
        "asks for 2 x 8 ascend-910b3 in one leaf; 2 nodes of pool pool-a have room, at most 1 in one",
    )
    controller.submit("easy", together(Domain.LEAF, required=False))
    assert controller.plan() == ["easy"]


def test_a_gang_does_not_start_where_nobody_said_how_nodes_hang_together() -> None:
    controller = racks("", "")
    controller.submit("gang", together(Domain.LEAF))
    assert controller.plan() == []
    assert first_reason(controller, "gang")[0] is Reason.DEVICES_APART


@pytest.mark.parametrize("groups", [(), (TaskGroup("a", 1, 8), TaskGroup("b", 1, 4))])
def test_a_rack_of_which_nobody_said_in_which_supernode_it_is_is_in_none(
    groups: tuple[TaskGroup, ...],
) -> None:
    controller = Controller([a_node(f"n{n}") for n in range(4)], connected=False)
    for n, supernode in enumerate([None, None, "s", "s"]):
        controller.connect(f"n{n}", place=Place(supernode=supernode, leaf="rack", position=n))
    spec = together(Domain.SUPERNODE)
    if groups:
        spec = replace(spec, gang=Gang(12, 8, 8, groups=groups))
    controller.submit("gang", spec)
    controller.submit("blocked", spec)
    assert controller.plan() == ["gang"]
    assert nodes(controller, "gang") == ["n2", "n3"]


def test_racks_of_the_same_name_in_two_zones_are_two() -> None:
    controller = Controller([a_node("n1"), a_node("n2")], connected=False)
    for name, zone in (("n1", "bj"), ("n2", "sh")):
        controller.connect(name, place=Place(zone=zone, leaf="rack-1"))
    controller.submit("gang", together(Domain.LEAF))
    assert controller.plan() == []


def test_the_operators_word_on_a_place_goes_before_the_agents() -> None:
    controller = racks("a", "b")
    controller.submit("gang", together(Domain.LEAF))
    assert controller.plan() == []
    state = controller.state
    queues = tuple(state.queues.values())
    controller.tell(ConfigurationChanged(state.pools, queues, places={"n2": Place(leaf="a")}))
    assert controller.plan() == ["gang"]


def test_a_task_that_requires_it_has_devices_joined_by_fast_links() -> None:
    controller = Controller([a_node("n1", group=4)])
    controller.submit("filler", a_spec(devices=2))
    controller.submit("one", together(Domain.FAST_LINK_GROUP, devices=4, per_node=4))
    controller.submit("two", together(Domain.FAST_LINK_GROUP, devices=2, per_node=2))
    assert controller.plan() == ["filler", "one", "two"]
    for job_id in ("one", "two"):
        [task] = controller.tasks(controller.state.jobs[JobId(job_id)])
        assert len({int(device.split("/")[1]) // 4 for device in task.device_ids}) == 1


def test_running_work_that_is_in_the_way_stops_inside_one_domain() -> None:
    controller = racks("a", "a", "b", "b")
    for n in range(4):
        controller.submit(f"low-{n}", a_spec(devices=8, priority="low"))
    controller.plan()
    controller.wait(1_800_000)
    controller.submit("gang", replace(together(Domain.LEAF), priority=a_spec(priority="high").priority))
    controller.plan()
    stopping = [job_id for job_id, job in controller.state.jobs.items() if job.state.value == "stopping"]
    at = {nodes(controller, job_id)[0] for job_id in stopping}
    assert at in ({"n1", "n2"}, {"n3", "n4"})


def test_a_gang_that_no_domain_could_ever_hold_is_refused_at_once() -> None:
    enrolled = [a_node("n1"), a_node("n2")]
    apart = inventory_of(enrolled, {NodeId("n1"): Place(leaf="a"), NodeId("n2"): Place(leaf="b")})
    refusal = ever_fits(together(Domain.LEAF), a_queue(), apart, load_catalogue())
    assert refusal is not None
    assert refusal.reason is Reason.GANG_TOO_LARGE
    assert refusal.sentence.endswith("the largest leaf of the queue's pools has 1 such")
    near = inventory_of(enrolled, {NodeId(n): Place(leaf="a") for n in ("n1", "n2")})
    assert ever_fits(together(Domain.LEAF), a_queue(), near, load_catalogue()) is None


def test_one_task_alone_is_inside_any_domain() -> None:
    alone = together(Domain.LEAF, devices=8)
    assert ever_fits(alone, a_queue(), inventory_of([a_node("n1")]), load_catalogue()) is None
    controller = Controller([a_node("n1")])
    controller.submit("j", alone)
    assert controller.plan() == ["j"]


def test_a_plan_with_a_gang_apart_is_refused() -> None:
    controller = racks("a", "a", "b")
    controller.submit("gang", together(Domain.LEAF))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    good, _ = plan(snapshot, controller.now_ms, controller.config)
    assert check_plan(snapshot, good, controller.now_ms) == []
    [placed] = good.placements
    ids = tuple(device.device_id for device in snapshot.nodes[2].devices)
    moved = placed.tasks[1]._replace(node_id=NodeId("n3"), device_ids=ids)
    bad = Plan((placed._replace(tasks=(placed.tasks[0], moved)),))
    assert [violation.what for violation in check_plan(snapshot, bad, controller.now_ms)] == [
        "the gang is not inside one leaf"
    ]


# --- nodes of one firm -------------------------------------------------------------------------------


def one_firm_nodes(*names: str) -> Controller:
    """Nodes whose agents keep no firms apart, and two firms."""
    queues = [a_queue(), a_queue(firm="firm-b")]
    controller = Controller([a_node(name) for name in names], queues, connected=False)
    for name in names:
        controller.connect(name, one_firm=True)
    return controller


def test_a_node_without_root_takes_no_second_firm_also_within_one_plan() -> None:
    controller = one_firm_nodes("n1")
    controller.submit("ours", a_spec(devices=1))
    controller.submit("theirs", a_spec(devices=1), firm="firm-b")
    assert controller.plan() == ["ours"]
    assert controller.node("n1").firm_id == FIRM
    assert first_reason(controller, "theirs") == (
        Reason.ONE_FIRM_NODES,
        "asks for 1 ascend-910b3; 1 node of pool pool-a with room serve another firm alone",
    )
    assert controller.plan() == []  # and it stays so in the next plan
    controller.submit("more", a_spec(devices=1))
    assert controller.plan() == ["more"]


def test_each_firm_finds_a_node_of_its_own() -> None:
    controller = one_firm_nodes("n1", "n2")
    controller.submit("ours", a_spec(devices=1))
    controller.submit("theirs", a_spec(devices=1), firm="firm-b")
    assert sorted(controller.plan()) == ["ours", "theirs"]
    assert nodes(controller, "ours") != nodes(controller, "theirs")


def test_what_the_agent_says_of_its_firm_counts_and_a_node_with_root_is_for_all() -> None:
    controller = one_firm_nodes("n1")
    controller.wait(1)
    controller.connect("n1", boot="boot-2", one_firm=True, firm_id=FirmId("firm-b"))
    controller.submit("ours", a_spec(devices=1))
    assert controller.plan() == []
    controller.wait(1)
    controller.connect("n1", boot="boot-3")
    assert controller.plan() == ["ours"]


def test_a_plan_that_brings_a_second_firm_to_such_a_node_is_refused() -> None:
    controller = one_firm_nodes("n1")
    controller.submit("ours", a_spec(devices=1))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    good, _ = plan(snapshot, controller.now_ms, controller.config)
    served = replace(snapshot, nodes=(replace(snapshot.nodes[0], firm_id=FirmId("firm-b")),))
    assert [violation.what for violation in check_plan(served, good, controller.now_ms)] == [
        "node n1 serves another firm alone"
    ]


def test_devices_that_serve_another_firm_alone_are_none_that_a_firm_shares_out_among_its_jobs() -> None:
    # With nine devices there would be one for each, and whoever came first would start first.
    names = [a_node("ours", devices=1), a_node("theirs")]
    queues = [a_queue(), a_queue(firm="firm-b")]
    config = PlannerConfig(profile="throughput")
    controller = Controller(names, queues, config=config, connected=False)
    controller.connect("ours")
    controller.connect("theirs", one_firm=True, firm_id=FirmId("firm-b"))
    first = controller.submit("first", a_spec(devices=1))  # of which the planner learns that jobs end
    assert controller.plan() == ["first"]
    controller.run(first)
    controller.wait(20 * 60_000)
    controller.end(controller.tasks(first)[0])
    for name, estimate_s in (("long", 80_000), ("short", 600)):
        controller.submit(name, a_spec(name, models=[MODEL, OTHER_MODEL], estimate_seconds=estimate_s))
    assert controller.plan() == ["short"]
