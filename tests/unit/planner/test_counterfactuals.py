"""What would let a job start: each sentence comes true when one does what it says."""

from dataclasses import replace
from typing import Any

import pytest

from scheduler.domain.ids import FirmId, JobId, NodeId
from scheduler.domain.jobs import Priority
from scheduler.domain.queues import COMPUTE, Queue, QueueKey
from scheduler.domain.reasons import Reason
from scheduler.planner import JobClass, PlannerConfig, Shape, Snapshot, Topology, WaitingJob
from scheduler.planner.cycle import plan
from scheduler.planner.snapshot import Hole
from scheduler.simulator.cluster import NodeSpec, VirtualCluster
from scheduler.simulator.models import catalogue_of

MODEL, POOL = "device", "pool"
QUEUE = QueueKey(FirmId("firm"), "default")
HOUR_MS = 3_600_000
NOW_MS = 10 * HOUR_MS
SHAPE = Shape(QUEUE, Priority.NORMAL, 16, 8, (MODEL,), time_limit_ms=8 * HOUR_MS)


def a_snapshot(shape: Shape, nominal: int | None = None, key: str = MODEL, **what: Any) -> Snapshot:
    """Two idle nodes on two leaf switches, and one job that waits."""
    specs = [NodeSpec(f"node-{n}", MODEL, 8, POOL, domains=(None, None, f"leaf-{n}")) for n in range(2)]
    quota = {} if nominal is None else {key: nominal}
    cluster = VirtualCluster(catalogue_of({MODEL: 1_000}), specs, [Queue(QUEUE, (POOL,), quota)])
    classes = (JobClass(shape, (WaitingJob(NOW_MS - HOUR_MS, JobId("job")),)),)
    return replace(cluster.snapshot(), classes=classes, **what)


def told(snapshot: Snapshot) -> tuple[Reason, str | None] | None:
    """Why the job waits, and what would let it start; None: it starts."""
    decided, report = plan(snapshot, NOW_MS, PlannerConfig())
    if decided.placements:
        return None
    waits = report.of(JobId("job"))
    assert waits is not None
    return waits.reasons[0].reason, waits.counterfactual


def out_of_use(snapshot: Snapshot, *names: str) -> Snapshot:
    """The same with these nodes cordoned, or silent."""
    nodes = tuple(replace(node, usable=node.name not in names) for node in snapshot.nodes)
    return replace(snapshot, nodes=nodes)


BOOKED = Hole(NOW_MS + 2 * HOUR_MS, NOW_MS + 3 * HOUR_MS, frozenset({NodeId("node-1")}))
CASES = [
    (
        out_of_use(a_snapshot(SHAPE._replace(devices=8)), "node-0", "node-1"),
        (Reason.DEVICES_UNAVAILABLE, f"when 1 node more of pool {POOL} with 8 free {MODEL} can be used"),
        out_of_use(a_snapshot(SHAPE._replace(devices=8)), "node-1"),
    ),
    (
        out_of_use(a_snapshot(SHAPE), "node-0", "node-1"),
        (Reason.DEVICES_UNAVAILABLE, f"when 2 nodes more of pool {POOL} with 8 free {MODEL} can be used"),
        a_snapshot(SHAPE),
    ),
    (
        a_snapshot(SHAPE._replace(topology=Topology("leaf", required=True))),
        (Reason.DEVICES_APART, f"now, if it need not be inside one leaf: pool {POOL}, {MODEL}"),
        a_snapshot(SHAPE._replace(topology=Topology("leaf"))),
    ),
    (
        a_snapshot(SHAPE._replace(devices=8, devices_per_node=4), calendar=(BOOKED,)),
        (Reason.MAINTENANCE, f"now, with 4 devices instead of 8: pool {POOL}, {MODEL}"),
        a_snapshot(SHAPE._replace(devices=4, devices_per_node=4), calendar=(BOOKED,)),
    ),
    (
        a_snapshot(
            SHAPE._replace(devices=8),
            calendar=(replace(BOOKED, nodes=frozenset({NodeId("node-0"), NodeId("node-1")})),),
        ),
        (Reason.MAINTENANCE, f"now, with a time limit of at most 119 min: pool {POOL}, {MODEL}"),
        a_snapshot(
            SHAPE._replace(devices=8, time_limit_ms=119 * 60_000),
            calendar=(replace(BOOKED, nodes=frozenset({NodeId("node-0"), NodeId("node-1")})),),
        ),
    ),
    (
        a_snapshot(SHAPE._replace(devices_per_node=16)),
        (Reason.GANG_TOO_LARGE, f"now, with 8 devices instead of 16: pool {POOL}, {MODEL}"),
        a_snapshot(SHAPE._replace(devices=8)),
    ),
    (
        a_snapshot(SHAPE, nominal=16, held={QUEUE: {MODEL: 3}}),
        (Reason.QUOTA_REACHED, f"now, if the queue had 3 {MODEL} more of its quota left"),
        a_snapshot(SHAPE, nominal=19, held={QUEUE: {MODEL: 3}}),
    ),
    (
        a_snapshot(SHAPE, nominal=16_000, key=COMPUTE, held={QUEUE: {MODEL: 3}}),
        (Reason.QUOTA_REACHED, "now, if the queue had 3 TFLOPS more of its quota left"),
        a_snapshot(SHAPE, nominal=19_000, key=COMPUTE, held={QUEUE: {MODEL: 3}}),
    ),
    (
        out_of_use(a_snapshot(SHAPE, nominal=16, held={QUEUE: {MODEL: 3}}), "node-1"),
        (
            Reason.QUOTA_REACHED,
            f"when the queue has 3 {MODEL} more of its quota left and 1 node more of pool {POOL} with 8 free"
            f" {MODEL} can be used",
        ),
        a_snapshot(SHAPE, nominal=19, held={QUEUE: {MODEL: 3}}),
    ),
    (
        out_of_use(
            a_snapshot(SHAPE, nominal=16_000, key=COMPUTE, held={QUEUE: {MODEL: 3}}), "node-0", "node-1"
        ),
        (
            Reason.QUOTA_REACHED,
            f"when the queue has 3 TFLOPS more of its quota left and 2 nodes more of pool {POOL} with 8 free"
            f" {MODEL} can be used",
        ),
        a_snapshot(SHAPE, nominal=19_000, key=COMPUTE, held={QUEUE: {MODEL: 3}}),
    ),
    (
        a_snapshot(SHAPE._replace(left_nano=1_000), prices={MODEL: 1_000}),
        (
            Reason.BUDGET_EXHAUSTED,
            f"now on {MODEL}, with a shorter time limit or more money: its devices are free",
        ),
        a_snapshot(SHAPE._replace(left_nano=1_000, time_limit_ms=60_000), prices={MODEL: 1_000}),
    ),
]


@pytest.mark.parametrize(("before", "expected", "after"), CASES, ids=[case[1][0].value for case in CASES])
def test_a_job_is_told_what_would_let_it_start_and_then_it_does(
    before: Snapshot, expected: tuple[Reason, str], after: Snapshot
) -> None:
    assert told(before) == expected
    assert told(after) is None


def test_of_a_job_that_two_quotas_refuse_nothing_is_said_of_one_of_them_and_of_devices() -> None:
    snapshot = a_snapshot(SHAPE, nominal=16, held={QUEUE: {MODEL: 3}})
    (queue,) = snapshot.queues.values()
    twice = replace(snapshot, queues={QUEUE: replace(queue, nominal={MODEL: 16, COMPUTE: 16_000})})
    assert told(out_of_use(twice, "node-1")) == (Reason.QUOTA_REACHED, None)


def test_of_a_job_that_takes_no_devices_no_number_of_nodes_is_said() -> None:
    none = SHAPE._replace(devices=0, devices_per_node=0)
    assert told(out_of_use(a_snapshot(none), "node-0", "node-1")) == (Reason.DEVICES_UNAVAILABLE, None)


def test_of_another_model_no_devices_are_offered_of_nodes_that_serve_another_firm_alone() -> None:
    other = a_snapshot(SHAPE._replace(devices=8, models=("other",)))
    theirs = replace(other.nodes[0], one_firm=True, firm_id=FirmId("others"))
    snapshot = replace(other, nodes=(theirs, *other.nodes[1:]))
    said = f"now, with a variant for {MODEL}: 8 are free in pool {POOL}"
    assert told(snapshot) == (Reason.UNKNOWN_MODEL, said)
