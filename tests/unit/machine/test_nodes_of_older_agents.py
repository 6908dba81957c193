"""Nodes whose agents are older than what a job asks for: they are not chosen, and the job is told so."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from scheduler.catalogue import load_catalogue
from scheduler.domain.allocations import Phase
from scheduler.domain.features import needs_of, node_features
from scheduler.domain.gangs import Share
from scheduler.domain.ids import JobId
from scheduler.domain.jobs import Input, JobSpec, Output
from scheduler.domain.reasons import Reason
from scheduler.machine import take_snapshot
from scheduler.planner import JobPlacement, Plan, TaskPlacement
from scheduler.planner.feasibility import ever_fits
from scheduler.planner.plan_checks import check_plan
from tests.builders.cluster import Controller, a_node, a_queue, inventory_of
from tests.builders.jobs import MODEL, a_spec

OLD: tuple[str, ...] = ()
STORES = ("object_stores",)
NEW = ("object_stores", "output_patterns", "what nobody knows yet")
FROM_STORE = {"inputs": (Input("corpus", object="s3://wudao/raw"),)}
PATTERNS = {"outputs": (Output("out/**/*.bin"),)}


def a_fleet(*agents: Sequence[str]) -> Controller:
    """Nodes n1, n2, ... whose agents understand these."""
    controller = Controller([a_node(f"n{number}") for number in range(1, len(agents) + 1)], connected=False)
    for number, understands in enumerate(agents, 1):
        controller.connect(f"n{number}", understands=tuple(understands))
    return controller


def asking(asked: dict[str, object], **gang: object) -> JobSpec:
    return replace(a_spec(**gang), **asked)  # type: ignore[arg-type]


def told(controller: Controller, job_id: str) -> list[tuple[Reason, str]]:
    report = controller.report.of(JobId(job_id))
    assert report is not None
    return [(reason.reason, reason.sentence) for reason in report.reasons]


@pytest.mark.parametrize(
    ("asked", "nodes"),
    [({}, ["n1"]), (FROM_STORE, ["n2"]), (PATTERNS, ["n3"]), (FROM_STORE | PATTERNS, ["n3"])],
)
def test_a_job_goes_only_where_the_agent_knows_all_that_it_asks_for(
    asked: dict[str, object], nodes: list[str]
) -> None:
    controller = a_fleet(OLD, STORES, NEW)
    job = controller.submit("j", asking(asked, devices=8))
    assert controller.plan() == ["j"]
    assert [task.node_id for task in controller.tasks(job)] == nodes


def test_a_gang_waits_for_newer_agents_is_told_so_and_starts_when_one_has_come() -> None:
    controller = a_fleet(STORES, NEW, OLD)
    job = controller.submit("j", asking(FROM_STORE | PATTERNS, devices=16, per_node=8))
    assert controller.plan() == []
    sentence = f"asks for 2 x 8 {MODEL}; the agents of 2 nodes of pool pool-a with room are older than output patterns"
    assert told(controller, "j") == [(Reason.AGENT_TOO_OLD, sentence)]
    controller.now_ms += 1
    controller.connect("n3", boot="boot-2", understands=NEW)
    assert controller.plan() == ["j"]
    assert [task.node_id for task in controller.tasks(job)] == ["n2", "n3"]


def test_a_part_of_a_device_is_not_taken_from_an_older_agent_either() -> None:
    controller = a_fleet(OLD)
    controller.submit("j", asking({**FROM_STORE, "share": Share(250_000)}))
    assert controller.plan() == []
    ((reason, sentence),) = told(controller, "j")
    assert reason is Reason.AGENT_TOO_OLD
    assert sentence.endswith("the agents of 1 node of pool pool-a with room are older than object stores")


def test_a_node_that_is_given_an_older_agent_is_not_chosen_again() -> None:
    controller = a_fleet(NEW)
    first = controller.submit("first", asking(FROM_STORE))
    assert controller.plan() == ["first"]
    controller.bring_to(first, Phase.RUNNING)
    controller.now_ms += 1
    controller.connect("n1", boot="boot-2", understands=OLD)
    controller.submit("second", asking(FROM_STORE))
    assert controller.plan() == []
    assert told(controller, "second")[0][0] is Reason.AGENT_TOO_OLD


def test_a_plan_that_puts_a_job_on_an_older_agent_is_no_plan() -> None:
    controller = a_fleet(OLD)
    controller.submit("j", asking(FROM_STORE))
    snapshot = take_snapshot(controller.state, controller.now_ms)
    node = snapshot.nodes[0]
    task = TaskPlacement(0, node.node_id, (node.devices[0].device_id,))
    bad = Plan((JobPlacement(JobId("j"), MODEL, node.pool, (task,)),), ())
    assert any(
        "has no object stores" in str(violation) for violation in check_plan(snapshot, bad, controller.now_ms)
    )


@pytest.mark.parametrize(
    ("understands", "older_than"), [(OLD, "object stores"), (STORES, "output patterns"), (NEW, None)]
)
def test_a_job_that_no_agent_could_do_is_refused_when_it_is_submitted(
    understands: tuple[str, ...], older_than: str | None
) -> None:
    inventory = inventory_of([a_node("n1")], understands=understands)
    refusal = ever_fits(asking(FROM_STORE | PATTERNS), a_queue(), inventory, load_catalogue())
    if older_than is None:
        assert refusal is None
        return
    assert refusal is not None
    assert refusal.reason is Reason.ALL_AGENTS_TOO_OLD
    assert refusal.sentence == (
        f"the agents of all nodes with {MODEL} in the queue's pools (pool-a) are older than {older_than}"
    )


def test_every_need_of_a_job_can_be_told_by_an_agent() -> None:
    spec = asking(FROM_STORE | PATTERNS)
    variant = replace(spec.variants[0], image="registry.example/train:1")
    assert needs_of(spec, variant) == node_features(NEW, runs_images=True)
