"""Plans and reports as text that people can review: a change of a decision shows as a change of a file.

Each case is a file: a cluster and its work in YAML, a line of dashes, and what the planner says to it.
To accept new decisions: SUANLI_UPDATE_GOLDEN=1 pytest tests/golden/planner, then read the difference.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.domain.gangs import Domain, Topology
from scheduler.domain.ids import FirmId, JobId, NodeId
from scheduler.domain.jobs import JobState
from scheduler.domain.nodes import Place
from scheduler.domain.pools import Pool
from scheduler.domain.queues import Cohort, QueueKey
from scheduler.domain.time import to_rfc3339
from scheduler.machine import take_snapshot
from scheduler.machine.messages import ConfigurationChanged, CordonRequested
from scheduler.planner import PlannerConfig
from scheduler.planner.cycle import plan
from scheduler.planner.snapshot import Hole
from tests.builders.cluster import Controller, a_node, a_queue
from tests.builders.jobs import a_spec

CASES = sorted(Path(__file__).parent.glob("*.golden"))
LINE = "-" * 100 + "\n"


def build(case: dict[str, Any]) -> Controller:
    """The case's cluster with its running jobs, just before the cycle that is judged."""
    queues = [
        replace(
            a_queue(
                firm=queue["firm"],
                pools=queue.get("pools", ["pool-a"]),
                nominal=queue.get("nominal", {}),
                weight=queue.get("weight", 1),
            ),
            cohort=queue.get("cohort"),
        )
        for queue in case.get("queues", [{"firm": "firm-a"}])
    ]
    nodes = [
        a_node(f"{group['name']}{number}", model=group["model"], pool=group.get("pool", "pool-a"),
               devices=group.get("devices", 8))
        for group in case["nodes"]
        for number in range(1, group["count"] + 1)
    ]  # fmt: skip
    pools = [Pool(name) for name in sorted({node.pool for node in nodes})]
    config = PlannerConfig(**case.get("config", {}))
    controller = Controller(nodes, queues, pools=pools, config=config, connected=False)
    leaves = [leaf for group in case["nodes"] for leaf in group.get("leaves", [None] * group["count"])]
    for node, leaf in zip(nodes, leaves, strict=True):
        controller.connect(node.node_id, place=Place(leaf=leaf))
    cohorts = tuple(Cohort(name) for name in case.get("cohorts", []))
    calendar = tuple(a_hole(controller.now_ms, hole) for hole in case.get("calendar", []))
    configured = ConfigurationChanged({pool.name: pool for pool in pools}, tuple(queues), cohorts, calendar)
    controller.tell(configured)
    for job in case.get("running", []):
        submit(controller, job)
        assert controller.plan() == [job["name"]], f"{job['name']} must be able to start"
        controller.run(controller.state.jobs[JobId(job["name"])])
    controller.now_ms += case.get("after_ms", 0)
    for name in case.get("cordoned", []):
        controller.tell(CordonRequested(NodeId(name), True))
    for job in case["waiting"]:
        submit(controller, job)
        controller.now_ms += job.get("then_wait_ms", 1_000)
    return controller


def a_hole(now_ms: int, hole: dict[str, Any]) -> Hole:
    """A stretch of the calendar, so many minutes after the beginning."""
    from_ms, until_ms = (now_ms + hole[key] * 60_000 for key in ("from_min", "until_min"))
    queue = QueueKey(FirmId(hole["firm"]), "default") if "firm" in hole else None
    return Hole(from_ms, until_ms, frozenset(map(NodeId, hole["nodes"])), queue, hole.get("why", ""))


def submit(controller: Controller, job: dict[str, Any]) -> None:
    """A job of the case."""
    known = {"devices", "per_node", "models", "priority", "time_limit_s", "estimate_seconds"}
    spec = a_spec(job["name"], **{key: value for key, value in job.items() if key in known})
    if "prefers" in job:
        spec = replace(spec, topology=Topology(preferred=Domain(job["prefers"])))
    controller.submit(job["name"], spec, firm=job.get("firm", "firm-a"))


def render(controller: Controller) -> str:
    """What a cycle decides, in words."""
    lines = []
    decided, _ = plan(
        take_snapshot(controller.state, controller.now_ms), controller.now_ms, controller.config
    )
    for stop in decided.stops:
        lines.append(f"stop {stop.job_id} for {stop.for_job}: {stop.cause.value}, {stop.sentence}")
    before = {job.job_id for job in controller.state.jobs.values() if job.state is not JobState.QUEUED}
    for job_id in controller.plan():
        assert job_id not in before
        job = controller.state.jobs[JobId(job_id)]
        attempt = job.attempt
        assert attempt is not None
        lines.append(f"start {job_id} on {attempt.device_model} in {attempt.why_here['pool']}")
        for node in attempt.why_here["nodes"]:
            devices = ",".join(str(index) for index in node["devices"])
            lines.append(
                f"  task {node['rank']}: {node['node']} devices {devices}"
                f" (of {node['free_before']} free, in {node['fast_link_groups']} fast-link group(s))"
            )
        for refused in attempt.why_here["model_choice"]["preferred_but_not_possible"]:
            lines.append(f"  not preferred {refused['device_model']}: {refused['sentence']}")
    for queue in sorted({item.shape.queue for item in controller.report.classes}):
        for position, job_, item in controller.report.in_order(queue):
            lines.append(f"{queue.firm_id} {queue.name} #{position}: {job_.job_id} waits")
            for reason in item.reasons:
                lines.append(f"  {reason.reason}: {reason.sentence} [{reason.asked}/{reason.available}]")
            if item.starts_by_ms is not None and job_ is item.jobs[0]:
                lines.append(f"  starts by {to_rfc3339(item.starts_by_ms)} at the latest")
            if item.counterfactual:
                lines.append(f"  would let it start: {item.counterfactual}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_plan_is_the_one_that_was_reviewed(path: Path) -> None:
    given, _, expected = path.read_text(encoding="utf-8").partition(LINE)
    got = render(build(yaml.safe_load(given)))
    if os.environ.get("SUANLI_UPDATE_GOLDEN") == "1":
        path.write_text(given + LINE + got, encoding="utf-8")
        expected = got
    assert got == expected
